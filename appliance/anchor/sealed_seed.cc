#include "appliance/anchor/sealed_seed.h"

#include <fcntl.h>
#include <sodium.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "appliance/anchor/members.h"

namespace stele::anchor {
namespace {

using nlohmann::json;

constexpr std::size_t kAreaBytesMax = 2048;
constexpr int kSeals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

}  // namespace

std::string EncodeSealedSeed(const tpm::SealedSecret& sealed) {
  const json object = {{"stele", "sealed-seed"},
                       {"version", 1},
                       {"registers", RegistersJson(sealed.policy)},
                       {"public_b64", Base64Of(sealed.public_area)},
                       {"private_b64", Base64Of(sealed.private_area)}};
  return object.dump(2) + "\n";
}

Result<tpm::SealedSecret> DecodeSealedSeed(std::string_view text) {
  const json object = json::parse(text, nullptr, false);
  Members members(object);
  std::string what;
  std::uint32_t version = 0;
  tpm::SealedSecret sealed;
  members.Text("stele", true, what);
  members.Number("version", version);
  members.Base64("public_b64", true, sealed.public_area, kAreaBytesMax);
  members.Base64("private_b64", true, sealed.private_area, kAreaBytesMax);
  if (!members.fault().empty() || what != "sealed-seed" || version != 1) {
    return Fail(Code::kCorrupt, "sealed seed: not such a file, version 1; member " + members.fault());
  }
  const auto policy = object.contains("registers") ? PolicyOf(object["registers"]) : std::nullopt;
  if (!policy) return Fail(Code::kCorrupt, "sealed seed: member registers");
  sealed.policy = *policy;
  STELE_TRY_VOID(tpm::CheckSealed(sealed));
  return sealed;
}

Result<SeedMemory> SeedMemory::Make(const Secret& seed) {
  SeedMemory memory;
  memory.fd_ = UniqueFd(::memfd_create("stele-seed", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory.fd_.valid() || ::ftruncate(memory.fd_.get(), static_cast<off_t>(kHashBytes)) != 0) {
    return FailErrno("make memory for the seed");
  }
  // Locked before the seed is in it. Mapped through a descriptor that cannot write: a mapping that could would keep the
  // memory from being sealed.
  const UniqueFd reader(::open(("/proc/self/fd/" + std::to_string(memory.fd_.get())).c_str(), O_RDONLY | O_CLOEXEC));
  if (!reader.valid()) return FailErrno("open memory for the seed");
  memory.page_ = ::mmap(nullptr, kHashBytes, PROT_READ, MAP_SHARED, reader.get(), 0);
  if (memory.page_ == MAP_FAILED) {
    memory.page_ = nullptr;
    return FailErrno("map memory for the seed");
  }
  (void)::madvise(memory.page_, kHashBytes, MADV_DONTDUMP);  // advice
  memory.locked_ = ::mlock(memory.page_, kHashBytes) == 0;
  if (::pwrite(memory.fd_.get(), seed.view().data(), kHashBytes, 0) != static_cast<ssize_t>(kHashBytes)) {
    return FailErrno("keep the seed in memory");
  }
  if (::fcntl(memory.fd_.get(), F_ADD_SEALS, kSeals) != 0) return FailErrno("seal the seed's memory");
  return memory;
}

SeedMemory::SeedMemory(SeedMemory&& other) noexcept
    : fd_(std::move(other.fd_)),
      page_(std::exchange(other.page_, nullptr)),
      locked_(std::exchange(other.locked_, false)) {}

SeedMemory& SeedMemory::operator=(SeedMemory&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(page_, other.page_);
  std::swap(locked_, other.locked_);
  return *this;
}

SeedMemory::~SeedMemory() {
  if (page_ != nullptr) (void)::munmap(page_, kHashBytes);  // unlocks; cannot fail on our own mapping
}

Result<Secret> ReadSeedMemory(int fd) {
  struct stat status = {};
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & kSeals) != kSeals || ::fstat(fd, &status) != 0 ||
      status.st_size != static_cast<off_t>(kHashBytes)) {
    return Fail(Code::kCorrupt, "the seed that was handed over is not sealed memory of 32 bytes");
  }
  Hash value{};
  const bool whole = ::pread(fd, value.data(), value.size(), 0) == static_cast<ssize_t>(value.size());
  Secret seed(value);
  sodium_memzero(value.data(), value.size());
  if (!whole) return FailErrno("read the seed's memory");
  return seed;
}

}  // namespace stele::anchor
