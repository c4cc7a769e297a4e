#include "firmware/update/efi_variables.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include <cerrno>

#include "appliance/base/fd.h"

namespace stele::update {
namespace {

constexpr std::size_t kAttributesBytes = 4;
constexpr std::uint32_t kNonVolatileBootRuntime = 7;
constexpr std::size_t kValueBytesMax = 4096;

// The kernel protects every variable but the well-known ones with this flag, so that nobody removes one by mistake.
void MakeMutable(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  int flags = 0;
  if (!file.valid() || ::ioctl(file.get(), FS_IOC_GETFLAGS, &flags) != 0 || (flags & FS_IMMUTABLE_FL) == 0) return;
  flags &= ~FS_IMMUTABLE_FL;
  (void)::ioctl(file.get(), FS_IOC_SETFLAGS, &flags);  // the write that follows says what is wrong
}

}  // namespace

Result<Bytes> EfiVariables::Read(const std::string& name) const {
  const UniqueFd file(::open(PathOf(name).c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid() && errno == ENOENT) return Fail(Code::kNotFound, "there is no variable " + name);
  if (!file.valid()) return FailErrno("open the variable " + name);
  Bytes bytes(kAttributesBytes + kValueBytesMax);
  const ssize_t got = ::read(file.get(), bytes.data(), bytes.size());  // in one piece, or another value could mix in
  if (got < 0) return FailErrno("read the variable " + name);
  if (static_cast<std::size_t>(got) < kAttributesBytes)
    return Fail(Code::kNotFound, "the variable " + name + " is empty");
  bytes.resize(static_cast<std::size_t>(got));
  bytes.erase(bytes.begin(), bytes.begin() + kAttributesBytes);
  return bytes;
}

Result<void> EfiVariables::Write(const std::string& name, ByteView value) const {
  const std::string path = PathOf(name);
  MakeMutable(path);
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  if (!file.valid()) return FailErrno("open the variable " + name);
  Bytes bytes;
  Writer writer(bytes);
  writer.Int(kNonVolatileBootRuntime);
  writer.Raw(value);
  if (::write(file.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
    return FailErrno("write the variable " + name);
  return {};
}

Result<void> EfiVariables::Remove(const std::string& name) const {
  const std::string path = PathOf(name);
  MakeMutable(path);
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return FailErrno("remove the variable " + name);
  return {};
}

BootState EfiVariables::ReadBootState() const {
  BootState boot;
  if (const auto current = Read(kBootCurrent)) {
    const auto entries = ParseEntries(*current);
    if (entries && entries->size() == 1) boot.current = entries->front();
  }
  if (const auto order = Read(kBootOrder)) boot.order = ParseEntries(*order).value_or(std::vector<EntryNumber>{});
  if (const auto note = Read(kNote)) {
    if (const auto parsed = ParseNote(*note)) boot.note = *parsed;
  }
  return boot;
}

}  // namespace stele::update
