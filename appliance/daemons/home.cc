#include "appliance/daemons/home.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

namespace stele::daemons {
namespace {

namespace fs = std::filesystem;

Result<void> MakeFolder(const fs::path& folder) {
  std::error_code error;
  if (folder.has_parent_path()) fs::create_directories(folder.parent_path(), error);  // judged by mkdir below
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) return FailErrno("make directory " + folder.string());
  struct stat status {};
  if (::stat(folder.c_str(), &status) != 0) return FailErrno("stat " + folder.string());
  if (!S_ISDIR(status.st_mode)) return Fail(Code::kDenied, folder.string() + " is not a directory");
  if (status.st_uid != ::geteuid()) return Fail(Code::kDenied, folder.string() + " belongs to another user");
  if ((status.st_mode & 077U) != 0) {
    return Fail(Code::kDenied, folder.string() + " is open to other users; chmod 700 it, or choose another --dir");
  }
  return {};
}

fs::path LockFile(const Home& home) { return home.dir / "lock"; }

std::string Suffix(std::uint64_t epoch) { return epoch == 0 ? std::string() : "-" + std::to_string(epoch); }

}  // namespace

fs::path Home::SeedFile(std::uint64_t epoch) const { return Keys() / ("seed" + Suffix(epoch)); }
fs::path Home::SealedSeedFile(std::uint64_t epoch) const { return Keys() / ("seed" + Suffix(epoch) + ".sealed"); }
fs::path Home::HierarchyAuths(std::uint64_t epoch) const { return Keys() / ("tpm-auths" + Suffix(epoch) + ".json"); }
fs::path Home::RetiredTpm(std::uint64_t epoch) const { return dir / ("tpm-of-epoch-" + std::to_string(epoch)); }

Result<fs::path> DefaultDir() {
  if (const char* data = std::getenv("XDG_DATA_HOME"); data != nullptr && data[0] == '/') return fs::path(data) / "stele";
  if (const char* user = std::getenv("HOME"); user != nullptr && user[0] == '/') {
    return fs::path(user) / ".local" / "share" / "stele";
  }
  return Fail(Code::kInvalid, "there is no HOME directory: name one with --dir");
}

Result<void> MakeHome(const Home& home) {
  for (const fs::path& folder : {home.dir, home.Store(), home.State(), home.Keys(), home.Tpm(), home.Run()}) {
    STELE_TRY_VOID(MakeFolder(folder));
  }
  return {};
}

Result<UniqueFd> LockHome(const Home& home) {
  UniqueFd lock(::open(LockFile(home).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock.valid()) return FailErrno("open " + LockFile(home).string());
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno == EWOULDBLOCK) return Fail(Code::kDenied, "another `stele up` already runs in " + home.dir.string());
  return FailErrno("lock " + LockFile(home).string());
}

bool IsRunning(const Home& home) {
  const UniqueFd lock(::open(LockFile(home).c_str(), O_RDONLY | O_CLOEXEC));
  if (!lock.valid()) return false;
  return ::flock(lock.get(), LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

}  // namespace stele::daemons
