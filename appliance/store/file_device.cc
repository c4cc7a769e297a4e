#include "appliance/store/file_device.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <optional>

#include "appliance/base/limits.h"
#include "appliance/store/aligned_buffer.h"

namespace stele::store {
namespace {

constexpr std::string_view kPrefix = "seg-";
constexpr std::size_t kDigits = 8;
constexpr std::uint64_t kZeroStepBytes = 8 * limits::kMiB;  // how far zeros are written ahead of the data
constexpr std::size_t kDirectPartBytes = limits::kMiB;      // of one read or write with O_DIRECT

struct FileDescriptors {
  UniqueFd cached;  // through the page cache
  UniqueFd direct;  // around it, where the file system can; else invalid
};

class FileDevice final : public Device {
 public:
  FileDevice(FileDescriptors fds, std::string name, std::uint64_t size_bytes, const FileShelf::Options& options)
      : fd_(std::move(fds.cached)), direct_(std::move(fds.direct)), name_(std::move(name)), size_bytes_(size_bytes),
        immutable_(options.immutable_when_sealed), direct_reads_(options.direct_reads) {}

  std::uint64_t size_bytes() const override { return size_bytes_; }

  Result<void> Write(std::uint64_t offset_bytes, ByteView data) override {
    if (offset_bytes + data.size() > size_bytes_) return Fail(Code::kInvalid, name_ + ": write beyond the unit");
    (void)ZeroAhead(offset_bytes + data.size());  // only a matter of speed; a full disk shows at the data itself
    return WriteAt(offset_bytes, data);
  }

  Result<void> Sync() override {
    if (::fdatasync(fd_.get()) != 0) return FailErrno("fdatasync " + name_);
    return {};
  }

  Result<void> Read(std::uint64_t offset_bytes, MutableBytes out) override {
    // O_DIRECT wants aligned memory; where it is not to be had (tmpfs) the page cache answers.
    if (direct_reads_ && direct_.valid() && offset_bytes % limits::kSectorBytes == 0 && out.size() % limits::kSectorBytes == 0) {
      return ReadDirect(offset_bytes, out);
    }
    return ReadCached(offset_bytes, out);
  }

  Result<void> MakeReadOnly() override {
    if (::fchmod(fd_.get(), 0400) != 0) return FailErrno("fchmod " + name_);
    if (!immutable_) return {};
    int flags = 0;
    if (::ioctl(fd_.get(), FS_IOC_GETFLAGS, &flags) != 0) return Fail(Code::kUnavailable, name_ + ": no inode flags here");
    flags |= FS_IMMUTABLE_FL;
    if (::ioctl(fd_.get(), FS_IOC_SETFLAGS, &flags) != 0) return Fail(Code::kUnavailable, name_ + ": cannot set immutable");
    return {};
  }

 private:
  // Around the page cache, where possible: what is written is read by others at most once, and the copy into the cache would cost more
  // than the compression of what is copied.
  Result<void> WriteAt(std::uint64_t offset_bytes, ByteView data) {
    while (!data.empty()) {
      ByteView part = data;
      if (direct_.valid()) {
        if (!bounce_) bounce_.emplace(kDirectPartBytes);
        part = data.first(std::min(data.size(), kDirectPartBytes));
        std::copy(part.begin(), part.end(), bounce_->bytes().begin());
        part = ByteView(bounce_->bytes()).first(part.size());
      }
      STELE_TRY_VOID(WritePart(offset_bytes, part));
      offset_bytes += part.size();
      data = data.subspan(part.size());
    }
    return {};
  }

  Result<void> WritePart(std::uint64_t offset_bytes, ByteView data) {
    while (!data.empty()) {
      const int fd = direct_.valid() && data.size() % limits::kSectorBytes == 0 ? direct_.get() : fd_.get();
      const ssize_t n = ::pwrite(fd, data.data(), data.size(), static_cast<off_t>(offset_bytes));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EINVAL && direct_.valid()) {
        direct_.reset();  // not on this file system, after all
        continue;
      }
      if (n < 0) return FailErrno("pwrite " + name_);
      offset_bytes += static_cast<std::uint64_t>(n);
      data = data.subspan(static_cast<std::size_t>(n));
    }
    return {};
  }

  // Zeros beyond the data so that a later fdatasync finds allocated, written blocks. Only ever ahead of the write position.
  Result<void> ZeroAhead(std::uint64_t end_bytes) {
    static const AlignedBuffer kZeros = [] {
      AlignedBuffer zeros(kDirectPartBytes);
      std::fill(zeros.bytes().begin(), zeros.bytes().end(), std::byte{0});
      return zeros;
    }();
    if (zeroed_to_ < end_bytes) zeroed_to_ = end_bytes;  // the data itself covers it
    const std::uint64_t target = std::min(size_bytes_, (end_bytes / kZeroStepBytes + 1) * kZeroStepBytes);
    if (target - zeroed_to_ < kZeroStepBytes / 2 && target != size_bytes_) return {};
    while (zeroed_to_ < target) {
      const std::uint64_t part = std::min<std::uint64_t>(kZeros.bytes().size(), target - zeroed_to_);
      STELE_TRY_VOID(WritePart(zeroed_to_, ByteView(kZeros.bytes()).first(part)));
      zeroed_to_ += part;
    }
    return {};
  }

  Result<void> ReadCached(std::uint64_t offset_bytes, MutableBytes out) {
    while (!out.empty()) {
      const ssize_t n = ::pread(fd_.get(), out.data(), out.size(), static_cast<off_t>(offset_bytes));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return FailErrno("pread " + name_);
      if (n == 0) return Fail(Code::kCorrupt, name_ + ": shorter than its superblock says");
      offset_bytes += static_cast<std::uint64_t>(n);
      out = out.subspan(static_cast<std::size_t>(n));
    }
    return {};
  }

  Result<void> ReadDirect(std::uint64_t offset_bytes, MutableBytes out) {
    const AlignedBuffer buffer(std::min(kDirectPartBytes, out.size()));
    while (!out.empty()) {
      const std::size_t want = std::min(buffer.bytes().size(), out.size());
      const ssize_t n = ::pread(direct_.get(), buffer.bytes().data(), want, static_cast<off_t>(offset_bytes));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EINVAL) return ReadCached(offset_bytes, out);
      if (n < 0) return FailErrno("pread " + name_);
      const auto got = static_cast<std::size_t>(n) / limits::kSectorBytes * limits::kSectorBytes;
      if (got == 0) return ReadCached(offset_bytes, out);
      std::copy_n(buffer.bytes().begin(), got, out.begin());
      offset_bytes += got;
      out = out.subspan(got);
    }
    return {};
  }

  UniqueFd fd_;
  UniqueFd direct_;
  std::string name_;
  std::uint64_t size_bytes_;
  bool immutable_;
  bool direct_reads_;
  std::optional<AlignedBuffer> bounce_;  // of writes whose memory is not aligned
  std::uint64_t zeroed_to_ = 0;
};

// An existing file may be made anew only if nothing was ever written to it: a unit begins with its superblock.
Result<void> NeverBegun(int fd, const std::string& name) {
  Bytes sector(limits::kSectorBytes);
  const ssize_t n = ::pread(fd, sector.data(), sector.size(), 0);
  if (n < 0) return FailErrno("pread " + name);
  if (std::all_of(sector.begin(), sector.end(), [](std::byte b) { return b == std::byte{0}; })) return {};
  errno = EEXIST;
  return FailErrno("create " + name);
}

}  // namespace

std::string FileShelf::NameOf(std::uint32_t unit) {
  std::string digits = std::to_string(unit);
  return std::string(kPrefix) + std::string(kDigits - std::min(kDigits, digits.size()), '0') + digits;
}

// The directory is opened here, before any sandbox closes the file system; units are opened relative to it.
FileShelf::FileShelf(std::filesystem::path directory, Options options)
    : directory_(std::move(directory)), options_(options),
      directory_fd_(::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)), spines_(directory_) {}

Result<std::vector<std::uint32_t>> FileShelf::List() {
  std::vector<std::uint32_t> units;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory_, error)) {
    const std::string name = entry.path().filename().string();
    if (name.size() != kPrefix.size() + kDigits || !name.starts_with(kPrefix)) continue;
    std::uint32_t unit = 0;
    const char* end = name.data() + name.size();
    const auto [at, problem] = std::from_chars(name.data() + kPrefix.size(), end, unit);
    if (problem == std::errc() && at == end) units.push_back(unit);
  }
  if (error) return Fail(Code::kIo, "list " + directory_.string() + ": " + error.message());
  std::sort(units.begin(), units.end());
  return units;
}

Result<std::unique_ptr<Device>> FileShelf::Open(std::uint32_t unit, bool writable) {
  const std::string name = NameOf(unit);
  if (!directory_fd_.valid()) return Fail(Code::kIo, "open " + directory_.string() + ": no such directory");
  const int mode = (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC;
  FileDescriptors fds;
  fds.cached.reset(::openat(directory_fd_.get(), name.c_str(), mode));
  if (!fds.cached.valid()) {
    if (errno == ENOENT) return Fail(Code::kNotFound, "segment " + name + " is missing", ENOENT);
    return FailErrno("open " + name);
  }
  struct stat status {};
  if (::fstat(fds.cached.get(), &status) != 0) return FailErrno("fstat " + name);
  if (writable || options_.direct_reads) fds.direct.reset(::openat(directory_fd_.get(), name.c_str(), mode | O_DIRECT));
  const auto size_bytes = static_cast<std::uint64_t>(status.st_size) / limits::kSectorBytes * limits::kSectorBytes;
  return std::unique_ptr<Device>(std::make_unique<FileDevice>(std::move(fds), name, size_bytes, options_));
}

Result<std::unique_ptr<Device>> FileShelf::Create(std::uint32_t unit, std::uint64_t size_bytes) {
  const std::string name = NameOf(unit);
  if (!directory_fd_.valid()) return Fail(Code::kIo, "create in " + directory_.string() + ": no such directory");
  const UniqueFd fd(::openat(directory_fd_.get(), name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd.valid()) return FailErrno("create " + name);
  STELE_TRY_VOID(NeverBegun(fd.get(), name));
  if (::ftruncate(fd.get(), static_cast<off_t>(size_bytes)) != 0) return FailErrno("ftruncate " + name);
  if (::fallocate(fd.get(), 0, 0, static_cast<off_t>(size_bytes)) != 0 && errno != EOPNOTSUPP && errno != ENOSYS) {
    const auto failed = FailErrno("take the room of " + name);
    (void)!::ftruncate(fd.get(), 0);  // what was taken of it may be needed elsewhere; the name stays for the next try
    return failed;
  }
  if (::fsync(fd.get()) != 0) return FailErrno("fsync " + name);
  if (::fsync(directory_fd_.get()) != 0) return FailErrno("fsync of the store's directory");
  return Open(unit, true);
}

Result<void> FileShelf::Clear(std::uint32_t unit) {
  const std::string name = NameOf(unit);
  if (::unlinkat(directory_fd_.get(), name.c_str(), 0) != 0 && errno != ENOENT) return FailErrno("remove " + name);
  if (::fsync(directory_fd_.get()) != 0) return FailErrno("fsync of the store's directory");
  return {};
}

}  // namespace stele::store
