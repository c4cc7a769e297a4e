#include "appliance/store/block_device.h"

#include <fcntl.h>
#include <glob.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <optional>

#include "appliance/base/fd.h"
#include "appliance/base/limits.h"
#include "appliance/store/aligned_buffer.h"

namespace stele::store {
namespace {

using limits::kSectorBytes;
constexpr std::size_t kPartBytes = limits::kMiB;  // of one read or write

std::uint64_t Floor(std::uint64_t bytes) { return bytes / kSectorBytes * kSectorBytes; }

class BlockDevice final : public Device {
 public:
  BlockDevice(UniqueFd fd, std::string name, std::uint64_t size_bytes, bool direct)
      : fd_(std::move(fd)), name_(std::move(name)), size_bytes_(size_bytes), direct_(direct) {}

  std::uint64_t size_bytes() const override { return size_bytes_; }

  Result<void> Write(std::uint64_t offset_bytes, ByteView data) override {
    STELE_CHECK(offset_bytes % kSectorBytes == 0);
    STELE_CHECK(data.size() % kSectorBytes == 0);
    if (offset_bytes + data.size() > size_bytes_) return Fail(Code::kInvalid, name_ + ": write beyond the partition");
    if (!bounce_) bounce_.emplace(kPartBytes);
    while (!data.empty()) {
      const ByteView part = data.first(std::min(data.size(), kPartBytes));
      std::copy(part.begin(), part.end(), bounce_->bytes().begin());
      STELE_TRY_VOID(WritePart(offset_bytes, ByteView(bounce_->bytes()).first(part.size())));
      offset_bytes += part.size();
      data = data.subspan(part.size());
    }
    return {};
  }

  Result<void> Zero(std::uint64_t offset_bytes, std::uint64_t size_bytes) override {
    if (offset_bytes > size_bytes_ || size_bytes > size_bytes_ - offset_bytes)
      return Fail(Code::kInvalid, name_ + ": zeros beyond the partition");
    const std::array<std::uint64_t, 2> range{offset_bytes, size_bytes};
    if (::ioctl(fd_.get(), BLKZEROOUT, range.data()) == 0) return {};
    if (errno == EIO || errno == ENOSPC) return FailErrno("zero " + name_);
    return Fail(Code::kUnavailable, name_ + ": zeros have to be written", static_cast<std::uint32_t>(errno));
  }

  Result<void> Sync() override {
    if (::fdatasync(fd_.get()) != 0) return FailErrno("fdatasync " + name_);
    return {};
  }

  Result<void> Read(std::uint64_t offset_bytes, MutableBytes out) override {
    if (offset_bytes + out.size() > size_bytes_) return Fail(Code::kCorrupt, name_ + ": read beyond the partition");
    if (!direct_) return ReadPart(offset_bytes, out);
    if (out.empty()) return {};
    const std::uint64_t begin = Floor(offset_bytes);
    const AlignedBuffer buffer(std::min<std::uint64_t>(kPartBytes, Floor(offset_bytes + out.size() - begin + kSectorBytes - 1)));
    for (std::uint64_t at = begin; !out.empty(); at += buffer.bytes().size()) {
      const MutableBytes part = buffer.bytes().first(std::min<std::uint64_t>(buffer.bytes().size(), size_bytes_ - at));
      STELE_TRY_VOID(ReadPart(at, part));
      const std::size_t skip = offset_bytes - at;
      const std::size_t count = std::min(out.size(), part.size() - skip);
      std::copy_n(part.begin() + static_cast<std::ptrdiff_t>(skip), count, out.begin());
      offset_bytes += count;
      out = out.subspan(count);
    }
    return {};
  }

  // Under the write-once guard the command itself seals; the kernel's own flag, which it sets as well, takes CAP_SYS_ADMIN, and the
  // ledger has none. So the answer of the command says little: whether writing is refused now is asked by writing nothing.
  Result<void> MakeReadOnly() override {
    const int read_only = 1;
    const bool done = ::ioctl(fd_.get(), BLKROSET, &read_only) == 0;
    if (!done && errno != EACCES && errno != EPERM) return FailErrno("seal " + name_);
    if (::pwrite(fd_.get(), nullptr, 0, 0) < 0 && errno == EPERM) return {};
    return Fail(Code::kUnavailable, name_ + ": the kernel does not keep it from being written");
  }

 private:
  Result<void> WritePart(std::uint64_t offset_bytes, ByteView data) {
    while (!data.empty()) {
      const ssize_t n = ::pwrite(fd_.get(), data.data(), data.size(), static_cast<off_t>(offset_bytes));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return FailErrno("write " + name_);
      if (static_cast<std::size_t>(n) % kSectorBytes != 0) return Fail(Code::kIo, name_ + ": a block was written in part", EIO);
      offset_bytes += static_cast<std::uint64_t>(n);
      data = data.subspan(static_cast<std::size_t>(n));
    }
    return {};
  }

  Result<void> ReadPart(std::uint64_t offset_bytes, MutableBytes out) {
    while (!out.empty()) {
      const ssize_t n = ::pread(fd_.get(), out.data(), out.size(), static_cast<off_t>(offset_bytes));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return FailErrno("read " + name_);
      if (n == 0 || (direct_ && static_cast<std::size_t>(n) % kSectorBytes != 0)) {
        return Fail(Code::kIo, name_ + ": it became shorter", EIO);
      }
      offset_bytes += static_cast<std::uint64_t>(n);
      out = out.subspan(static_cast<std::size_t>(n));
    }
    return {};
  }

  UniqueFd fd_;
  std::string name_;
  std::uint64_t size_bytes_;
  bool direct_;
  std::optional<AlignedBuffer> bounce_;  // of writes, whose memory is not aligned
};

// The nodes that a pattern names; natural order.
Result<std::vector<std::string>> NodesOf(const std::string& pattern) {
  glob_t found{};
  const int status = ::glob(pattern.c_str(), GLOB_ERR | GLOB_NOSORT, nullptr, &found);
  const std::unique_ptr<glob_t, decltype(&::globfree)> owned(&found, &::globfree);
  if (status == GLOB_NOMATCH) return Fail(Code::kNotFound, "store.partitions: there is no " + pattern, ENOENT);
  if (status != 0) return FailErrno("store.partitions: look for " + pattern);
  std::vector<std::string> nodes(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  std::sort(nodes.begin(), nodes.end(),
            [](const std::string& a, const std::string& b) { return ::strverscmp(a.c_str(), b.c_str()) < 0; });
  return nodes;
}

struct OpenedNode {
  UniqueFd fd;
  bool writable = false;
};

// What the guard, the node's owner or the kernel lets nobody write holds a full unit: it is read.
Result<OpenedNode> OpenNode(const std::string& node, MediumUse use) {
  const int direct = use == MediumUse::kRead ? 0 : O_DIRECT;
  OpenedNode opened;
  if (use == MediumUse::kAppend) {
    opened.fd.reset(::open(node.c_str(), O_RDWR | O_EXCL | O_DIRECT | O_CLOEXEC));
    if (!opened.fd.valid() && errno == EBUSY) {
      return Fail(Code::kDenied, node + " is in use: it is mounted, or another process writes it", EBUSY);
    }
    int read_only = 0;
    opened.writable = opened.fd.valid() && ::ioctl(opened.fd.get(), BLKROGET, &read_only) == 0 && read_only == 0;
    if (!opened.fd.valid() && errno != EPERM && errno != EACCES && errno != EROFS) return FailErrno("open " + node);
  }
  if (!opened.fd.valid()) opened.fd.reset(::open(node.c_str(), O_RDONLY | direct | O_CLOEXEC));
  if (!opened.fd.valid()) return FailErrno("open " + node);
  return opened;
}

Result<Partition> OpenPartition(const std::string& node, MediumUse use) {
  STELE_TRY(OpenedNode opened, OpenNode(node, use));
  int logical_bytes = 0;
  std::uint64_t size_bytes = 0;
  if (::ioctl(opened.fd.get(), BLKSSZGET, &logical_bytes) != 0) return FailErrno("ask for the sectors of " + node);
  if (::ioctl(opened.fd.get(), BLKGETSIZE64, &size_bytes) != 0) return FailErrno("ask for the size of " + node);
  if (logical_bytes <= 0 || kSectorBytes % static_cast<std::size_t>(logical_bytes) != 0) {
    return Fail(Code::kInvalid, node + " has sectors of " + std::to_string(logical_bytes) + " bytes; blocks of 4096 do not fit them");
  }
  return Partition{node,
                   std::make_shared<BlockDevice>(std::move(opened.fd), node, Floor(size_bytes), use != MediumUse::kRead),
                   opened.writable};
}

}  // namespace

Result<std::vector<Partition>> OpenPartitions(const std::vector<std::string>& patterns, MediumUse use) {
  std::vector<std::string> nodes;
  std::map<dev_t, std::string> names;
  for (const std::string& pattern : patterns) {
    STELE_TRY(const std::vector<std::string> some, NodesOf(pattern));
    for (const std::string& node : some) {
      struct stat status {};
      if (::stat(node.c_str(), &status) != 0) return FailErrno("look at " + node);
      if (!S_ISBLK(status.st_mode)) return Fail(Code::kDenied, node + " is not a block device");
      const auto [at, fresh] = names.emplace(status.st_rdev, node);
      if (!fresh) return Fail(Code::kDenied, "store.partitions: " + at->second + " and " + node + " are the same device");
      nodes.push_back(node);
    }
  }
  if (nodes.size() > kPartitionsMax) {
    return Fail(Code::kInvalid, "store.partitions: more than " + std::to_string(kPartitionsMax) + " partitions");
  }
  std::vector<Partition> partitions;
  for (const std::string& node : nodes) {
    STELE_TRY(Partition partition, OpenPartition(node, use));
    partitions.push_back(std::move(partition));
  }
  return partitions;
}

}  // namespace stele::store
