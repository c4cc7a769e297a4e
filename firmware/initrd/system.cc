#include "firmware/initrd/system.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "appliance/base/fd.h"

namespace stele::initrd {

void Say(std::string_view line) {
  const UniqueFd log(::open("/dev/kmsg", O_WRONLY | O_CLOEXEC));
  const std::string text = "<5>stele-init: " + std::string(line) + "\n";
  (void)!::write(log.get(), text.data(), text.size());  // there is nobody else to tell
}

Result<std::vector<std::byte>> ReadAll(const std::string& path, std::size_t size_bytes_max) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!file.valid()) return FailErrno("open " + path);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return FailErrno("look at " + path);
  if (!S_ISREG(status.st_mode)) return Fail(Code::kInvalid, path + " is not a plain file");
  std::vector<std::byte> bytes;
  constexpr std::size_t kPiece = 16384;
  for (;;) {
    const std::size_t at = bytes.size();
    bytes.resize(at + kPiece);
    const ssize_t got = ::read(file.get(), bytes.data() + at, kPiece);
    if (got < 0) return FailErrno("read " + path);
    bytes.resize(at + static_cast<std::size_t>(got));
    if (got == 0) return bytes;
    if (bytes.size() > size_bytes_max) return Fail(Code::kInvalid, path + " is too long");
  }
}

Result<std::string> ReadText(const std::string& path) {
  STELE_TRY(const auto bytes, ReadAll(path, 65536));
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

Result<void> WriteText(const std::string& path, std::string_view text) {
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!file.valid()) return FailErrno("open " + path);
  if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return FailErrno("write " + path);
  return {};
}

Result<void> Mount(const std::string& what, const std::string& where, const char* type, unsigned long flags,
                   const char* options) {
  (void)::mkdir(where.c_str(), 0755);  // on a read-only file system it is there, or the next call says what is wrong
  if (::mount(what.c_str(), where.c_str(), type, flags, options) != 0)
    return FailErrno("mount " + what + " on " + where);
  return {};
}

Result<int> Run(const std::vector<std::string>& command, const std::string& words) {
  std::vector<char*> arguments;
  for (const std::string& each : command) arguments.push_back(const_cast<char*>(each.c_str()));
  arguments.push_back(nullptr);
  const pid_t child = ::fork();
  if (child < 0) return FailErrno("fork");
  if (child == 0) {
    const int output = ::open(words.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (output < 0 || ::dup2(output, STDOUT_FILENO) < 0) ::_exit(126);
    ::execv(arguments.front(), arguments.data());
    ::_exit(127);
  }
  int status = 0;
  if (::waitpid(child, &status, 0) != child) return FailErrno("wait for " + command.front());
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::vector<std::string> Names(const std::string& folder) {
  std::vector<std::string> names;
  DIR* entries = ::opendir(folder.c_str());
  if (entries == nullptr) return names;
  while (const dirent* entry = ::readdir(entries)) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  (void)::closedir(entries);  // only read from
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace stele::initrd
