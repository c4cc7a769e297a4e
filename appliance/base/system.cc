#include "appliance/base/system.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <ctime>
#include <string>

#include "appliance/base/text.h"

namespace stele {
namespace {

constexpr std::int64_t kNsPerSecond = 1'000'000'000;

std::int64_t ReadClockNs(clockid_t id) {
  timespec now{};
  STELE_CHECK(clock_gettime(id, &now) == 0);
  return std::int64_t{now.tv_sec} * kNsPerSecond + now.tv_nsec;
}

std::string& LogName() {
  static std::string name = "stele";
  return name;
}

void LogLine(std::string_view level, std::string_view text) {
  const std::string line = LogName() + ": " + std::string(level) + ": " + EscapeForTerminal(AsBytes(text)) + "\n";
  (void)!::write(STDERR_FILENO, line.data(), line.size());  // nowhere to report a failing stderr
}

Result<void> WriteAll(int fd, ByteView data, const std::string& name) {
  while (!data.empty()) {
    const ssize_t n = ::write(fd, data.data(), data.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FailErrno("write " + name);
    data = data.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

}  // namespace

std::int64_t SystemClock::WallNs() { return ReadClockNs(CLOCK_REALTIME); }
std::int64_t SystemClock::BoottimeNs() { return ReadClockNs(CLOCK_BOOTTIME); }

void SystemEntropy::Fill(MutableBytes out) {
  while (!out.empty()) {
    const ssize_t n = ::getrandom(out.data(), out.size(), 0);
    if (n < 0) {
      STELE_CHECK(errno == EINTR);
      continue;
    }
    out = out.subspan(static_cast<std::size_t>(n));
  }
}

Result<Bytes> ReadFile(const std::filesystem::path& path, std::size_t size_bytes_max) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) {
    if (errno == ENOENT) return Fail(Code::kNotFound, "open " + path.string() + ": no such file", ENOENT);
    return FailErrno("open " + path.string());
  }
  Bytes data;
  std::array<std::byte, 65536> part;
  while (true) {
    const ssize_t n = ::read(fd.get(), part.data(), part.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FailErrno("read " + path.string());
    if (n == 0) return data;
    Append(data, ByteView(part).first(static_cast<std::size_t>(n)));
    if (data.size() > size_bytes_max) return Fail(Code::kInvalid, path.string() + " is larger than allowed");
  }
}

Result<void> WriteFileDurably(const std::filesystem::path& path, ByteView data, unsigned mode) {
  const std::string temporary = path.string() + ".new";
  (void)::unlink(temporary.c_str());  // of a write that was cut off; whatever else lies there is not followed
  {
    const UniqueFd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
    if (!fd.valid()) return FailErrno("create " + temporary);
    if (::fchmod(fd.get(), mode) != 0) return FailErrno("fchmod " + temporary);
    STELE_TRY_VOID(WriteAll(fd.get(), data, temporary));
    if (::fsync(fd.get()) != 0) return FailErrno("fsync " + temporary);
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) return FailErrno("rename to " + path.string());
  const UniqueFd directory(
      ::open(std::filesystem::absolute(path).parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid()) return FailErrno("open directory of " + path.string());
  if (::fsync(directory.get()) != 0) return FailErrno("fsync directory of " + path.string());
  return {};
}

void SetLogName(std::string_view program) { LogName() = std::string(program); }
void LogInfo(std::string_view text) { LogLine("info", text); }
void LogWarning(std::string_view text) { LogLine("warning", text); }
void LogError(std::string_view text) { LogLine("error", text); }

}  // namespace stele
