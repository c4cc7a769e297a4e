#include "appliance/store/spine_folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>

#include "appliance/base/limits.h"

namespace stele::store {
namespace {

constexpr std::string_view kPrefix = "spine-";
constexpr std::size_t kDigits = 8;
constexpr std::size_t kSpineBytesMax = 1024 * limits::kMiB;

}  // namespace

std::string SpineFolder::NameOf(std::uint32_t unit) {
  const std::string digits = std::to_string(unit);
  return std::string(kPrefix) + std::string(kDigits - std::min(kDigits, digits.size()), '0') + digits;
}

SpineFolder::SpineFolder(const std::filesystem::path& folder)
    : folder_(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(kPrefix)) continue;
    std::uint32_t unit = 0;
    const char* end = name.data() + name.size();
    const auto [at, problem] = std::from_chars(name.data() + kPrefix.size(), end, unit);
    if (problem == std::errc() && at == end && name == NameOf(unit)) units_.insert(unit);
  }
}

Result<Bytes> SpineFolder::Read(std::uint32_t unit) const {
  const std::string name = NameOf(unit);
  if (!folder_.valid()) return Fail(Code::kNotFound, name + " is missing");
  const UniqueFd file(::openat(folder_.get(), name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!file.valid()) {
    if (errno == ENOENT) return Fail(Code::kNotFound, name + " is missing", ENOENT);
    return FailErrno("open " + name);
  }
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return FailErrno("fstat " + name);
  if (!S_ISREG(status.st_mode) || static_cast<std::uint64_t>(status.st_size) > kSpineBytesMax) {
    return Fail(Code::kCorrupt, name + " is not a spine");
  }
  Bytes bytes(static_cast<std::size_t>(status.st_size));
  std::size_t have = 0;
  while (have < bytes.size()) {
    const ssize_t n = ::read(file.get(), bytes.data() + have, bytes.size() - have);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FailErrno("read " + name);
    if (n == 0) return Fail(Code::kCorrupt, name + " became shorter");
    have += static_cast<std::size_t>(n);
  }
  return bytes;
}

Result<void> SpineFolder::Write(std::uint32_t unit, ByteView spine) {
  const std::string name = NameOf(unit);
  const std::string fresh = name + ".new";
  if (!folder_.valid()) return Fail(Code::kNotFound, "the folder of the spines is missing");
  const UniqueFd file(
      ::openat(folder_.get(), fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.valid()) return FailErrno("create " + fresh);
  while (!spine.empty()) {
    const ssize_t n = ::write(file.get(), spine.data(), spine.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FailErrno("write " + fresh);
    spine = spine.subspan(static_cast<std::size_t>(n));
  }
  if (::fsync(file.get()) != 0) return FailErrno("fsync " + fresh);
  if (::renameat(folder_.get(), fresh.c_str(), folder_.get(), name.c_str()) != 0) return FailErrno("rename " + fresh);
  if (::fsync(folder_.get()) != 0) return FailErrno("fsync of the folder of the spines");
  units_.insert(unit);
  return {};
}

}  // namespace stele::store
