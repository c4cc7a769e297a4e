#include "firmware/state/site_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "appliance/base/fd.h"
#include "appliance/base/system.h"

namespace stele::state {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kFilesMax = 1024;
constexpr std::uintmax_t kFileBytesMax = std::uintmax_t{1} << 20U;
constexpr std::array<std::string_view, 2> kPassedOver{"lost+found", "recovery.key"};
constexpr std::array<std::string_view, 4> kOwnFolders{"store", "state", "tpm", "run"};
constexpr std::array<std::string_view, 2> kReplacedFolders{"network", "time"};  // and read by other users
constexpr std::array<std::string_view, 3> kOwnKeys{"seed", "tpm-auths", "alerts.seed"};

template <std::size_t N>
bool IsOneOf(const std::array<std::string_view, N>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool IsOwnKey(const fs::path& inside) {
  if (!inside.has_parent_path() || inside.parent_path() != "keys") return false;
  const std::string name = inside.filename().string();
  return std::any_of(kOwnKeys.begin(), kOwnKeys.end(), [&](std::string_view own) { return name.starts_with(own); });
}

tl::unexpected<Error> Refuse(const fs::path& inside, const std::string& why) {
  return Fail(Code::kDenied, "a site may not bring " + inside.string() + ": " + why);
}

Result<void> AddFile(const fs::directory_entry& entry, const fs::path& inside, std::vector<fs::path>& files) {
  if (!entry.is_regular_file() || entry.is_symlink()) return Refuse(inside, "it is not a plain file");
  if (entry.file_size() > kFileBytesMax) return Refuse(inside, "it has more than 1 MiB");
  if (IsOwnKey(inside)) return Refuse(inside, "it is the appliance's own secret");
  if (files.size() == kFilesMax) return Refuse(inside, "there are more than 1,024 files");
  files.push_back(inside);
  return {};
}

// Paths below `from`, a folder's files in one run.
Result<std::vector<fs::path>> FilesOf(const fs::path& from) {
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(from)) {
    const fs::path name = entry.path().filename();
    if (IsOneOf(kPassedOver, name.string())) continue;
    if (IsOneOf(kOwnFolders, name.string())) return Refuse(name, "it is the appliance's own");
    if (!entry.is_directory() || entry.is_symlink()) {
      STELE_TRY_VOID(AddFile(entry, name, files));
      continue;
    }
    for (const fs::directory_entry& inner : fs::directory_iterator(entry.path()))
      STELE_TRY_VOID(AddFile(inner, name / inner.path().filename(), files));
  }
  std::sort(files.begin(), files.end());
  return files;
}

bool IsForEverybody(const fs::path& inside) {
  return inside.has_parent_path() && IsOneOf(kReplacedFolders, inside.parent_path().string());
}

// What is there already may have been put there by a process of the appliance: no link is followed.
Result<void> MakeFolder(const fs::path& folder, mode_t mode, SiteOwner owner) {
  if (::mkdir(folder.c_str(), mode) != 0 && errno != EEXIST) return FailErrno("make " + folder.string());
  const UniqueFd open(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!open.valid()) return FailErrno("enter " + folder.string());
  if (::fchown(open.get(), owner.user, owner.group) != 0 || ::fchmod(open.get(), mode) != 0)
    return FailErrno("give " + folder.string() + " to its owner");
  return {};
}

Result<void> CopyFile(const fs::path& from, const fs::path& to, mode_t mode, SiteOwner owner) {
  STELE_TRY(const Bytes bytes, ReadFile(from, kFileBytesMax));
  STELE_TRY_VOID(WriteFileDurably(to, bytes, mode));
  if (::lchown(to.c_str(), owner.user, owner.group) != 0) return FailErrno("give " + to.string() + " to its owner");
  return {};
}

Result<void> Sync(const fs::path& to) {
  const UniqueFd open(::open(to.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!open.valid() || ::syncfs(open.get()) != 0) return FailErrno("keep the files of the site");
  return {};
}

Result<std::size_t> Copy(const fs::path& from, const fs::path& to, SiteOwner owner) {
  STELE_TRY(const std::vector<fs::path> files, FilesOf(from));
  for (const std::string_view name : kReplacedFolders) {
    if (fs::is_directory(from / name)) fs::remove_all(to / name);
  }
  for (const fs::path& inside : files) {
    const bool open = IsForEverybody(inside);
    if (inside.has_parent_path()) STELE_TRY_VOID(MakeFolder(to / inside.parent_path(), open ? 0755 : 0700, owner));
    STELE_TRY_VOID(CopyFile(from / inside, to / inside, open ? 0644 : 0600, owner));
  }
  STELE_TRY_VOID(Sync(to));
  return files.size();
}

}  // namespace

Result<std::size_t> CopySiteFiles(const fs::path& from, const fs::path& to, SiteOwner owner) {
  try {
    return Copy(from, to, owner);
  } catch (const fs::filesystem_error& error) {
    return Fail(Code::kIo, error.what());
  }
}

}  // namespace stele::state
