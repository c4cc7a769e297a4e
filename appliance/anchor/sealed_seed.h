// The seed as it is kept when the TPM guards it (`key: tpm-sealed`): a file that is of no use without that TPM in that
// state.
//
//   keys/seed.sealed := {"stele":"sealed-seed","version":1,"registers":{"14":"<64 hex>",..},"public_b64","private_b64"}
//   public: TPM2B_PUBLIC, private: TPM2B_PRIVATE (TPM 2.0 Library, Part 2, sections 12.2.5 and 12.3.7)
//
// And the seed in memory, unsealed once per boot: a sealed memfd that the supervisor holds and hands to every start of
// stele-anchor, its page locked in RAM and left out of core dumps.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "appliance/anchor/keys.h"
#include "appliance/base/fd.h"
#include "tpm/seal_policy.h"

namespace stele::anchor {

[[nodiscard]] std::string EncodeSealedSeed(const tpm::SealedSecret& sealed);
// Total. kCorrupt: not such a file; kInvalid: its policy is not the one its public area carries.
[[nodiscard]] Result<tpm::SealedSecret> DecodeSealedSeed(std::string_view text);

// Holds the seed for processes to come. Move-only; the page is unlocked and unmapped at the end.
class SeedMemory {
 public:
  [[nodiscard]] static Result<SeedMemory> Make(const Secret& seed);
  SeedMemory() = default;
  SeedMemory(SeedMemory&& other) noexcept;
  SeedMemory& operator=(SeedMemory&& other) noexcept;
  SeedMemory(const SeedMemory&) = delete;
  SeedMemory& operator=(const SeedMemory&) = delete;
  ~SeedMemory();
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] bool locked() const { return locked_; }  // false: RLIMIT_MEMLOCK did not allow it

 private:
  UniqueFd fd_;
  void* page_ = nullptr;
  bool locked_ = false;
};
// What a process was handed. kCorrupt: not 32 bytes, or not sealed against writing.
[[nodiscard]] Result<Secret> ReadSeedMemory(int fd);

}  // namespace stele::anchor
