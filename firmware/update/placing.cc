#include "firmware/update/placing.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <memory>

#include "appliance/base/fd.h"
#include "appliance/base/system.h"

namespace stele::update {
namespace {

constexpr const char* kEspFolder = "/run/stele-esp";
constexpr std::size_t kPieceBytes = std::size_t{1} << 20U;

// From the medium, not from the kernel's memory of what was written.
Result<void> Compare(int file, ByteView content, const std::string& name) {
  if (::fsync(file) != 0) return FailErrno("write " + name);
  (void)::ioctl(file, BLKFLSBUF, 0);                       // of a device
  (void)::posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);  // of a file
  Bytes piece(std::min(kPieceBytes, content.size()));
  for (std::size_t at = 0; at < content.size();) {
    const std::size_t wanted = std::min(piece.size(), content.size() - at);
    const ssize_t got = ::pread(file, piece.data(), wanted, static_cast<off_t>(at));
    if (got < 0) return FailErrno("read " + name + " back");
    const auto part = ByteView(piece).first(static_cast<std::size_t>(got));
    if (got == 0 || !SameBytes(part, content.subspan(at, part.size())))
      return Fail(Code::kCorrupt, name + " does not keep what is written to it");
    at += part.size();
  }
  return {};
}

}  // namespace

Result<void> HasRoomOnDevice(const std::string& device, std::uint64_t size_bytes) {
  const UniqueFd file(::open(device.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return FailErrno("open " + device);
  const off_t size = ::lseek(file.get(), 0, SEEK_END);
  if (size < 0) return FailErrno("look at " + device);
  if (static_cast<std::uint64_t>(size) >= size_bytes) return {};
  return Fail(Code::kInvalid, device + " is too small for " + std::to_string(size_bytes) + " bytes");
}

Result<void> HasRoomForFileTwice(const std::string& path, std::uint64_t size_bytes) {
  std::filesystem::path folder = std::filesystem::path(path).parent_path();
  std::error_code none;
  while (!std::filesystem::exists(folder, none) && folder.has_relative_path()) folder = folder.parent_path();
  const auto there = std::filesystem::file_size(path, none);
  const std::uint64_t given_back = none ? 0 : there;
  const auto space = std::filesystem::space(folder, none);
  if (none) return Fail(Code::kIo, "look at " + folder.string(), static_cast<std::uint32_t>(none.value()));
  // The old file goes when the new one is there; so the new one alone must fit beside it, and both in the end.
  if (space.available >= size_bytes && space.available + given_back >= 2 * size_bytes) return {};
  return Fail(Code::kInvalid, "the ESP has no room for an image of " + std::to_string(size_bytes) + " bytes");
}

Result<void> PlaceOnDevice(const std::string& device, ByteView content) {
  STELE_TRY_VOID(HasRoomOnDevice(device, content.size()));
  const UniqueFd file(::open(device.c_str(), O_RDWR | O_CLOEXEC));
  if (!file.valid()) return FailErrno("open " + device);
  for (std::size_t at = 0; at < content.size();) {
    const ByteView part = content.subspan(at, std::min(kPieceBytes, content.size() - at));
    const ssize_t put = ::pwrite(file.get(), part.data(), part.size(), static_cast<off_t>(at));
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return FailErrno("write " + device);
    at += static_cast<std::size_t>(put);
  }
  return Compare(file.get(), content, device);
}

Result<void> PlaceAsFile(const std::string& path, ByteView content) {
  std::error_code ignored;  // the next step says what is wrong
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ignored);
  STELE_TRY_VOID(WriteFileDurably(path, content, 0644));
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return FailErrno("open " + path);
  return Compare(file.get(), content, path);
}

Result<MountedEsp> MountedEsp::Mount(const std::string& device) {
  (void)::mkdir(kEspFolder, 0700);  // the mount says what is wrong
  if (::mount(device.c_str(), kEspFolder, "vfat", MS_NOSUID | MS_NODEV | MS_NOEXEC, "dmask=0077,fmask=0177") != 0)
    return FailErrno("mount the ESP " + device);
  return MountedEsp();
}

MountedEsp::~MountedEsp() {
  if (mounted_) (void)::umount(kEspFolder);  // every file was synced
}

std::string MountedEsp::PathOf(const std::string& name) const { return std::string(kEspFolder) + "/" + name; }

}  // namespace stele::update
