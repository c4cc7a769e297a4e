#include "appliance/anchor/epoch_files.h"

#include "appliance/base/system.h"

namespace stele::anchor {
namespace {

Result<SignedRecord> LoadRecord(const std::filesystem::path& path) {
  STELE_TRY(const Bytes text, ReadFile(path, 2 * kProvisioningBytesMax));
  return DecodeSignedRecord(AsText(text));
}

}  // namespace

std::filesystem::path RecordPath(const std::filesystem::path& state_dir, std::uint64_t epoch) {
  return state_dir / (epoch == 0 ? std::string("provisioning.json") : "epoch-" + std::to_string(epoch) + ".json");
}

std::filesystem::path SlotPath(const std::filesystem::path& state_dir, std::uint64_t epoch, int slot) {
  const std::string prefix = epoch == 0 ? std::string("anchor-slot-") : "anchor-epoch-" + std::to_string(epoch) + "-slot-";
  return state_dir / (prefix + std::to_string(slot));
}

Result<EpochChain> LoadEpochs(const std::filesystem::path& state_dir, std::uint64_t last) {
  STELE_TRY(SignedRecord genesis, LoadRecord(RecordPath(state_dir, 0)));
  STELE_TRY(EpochChain chain, EpochChain::Begin(std::move(genesis)));
  while (chain.number() < last) {
    auto next = LoadRecord(RecordPath(state_dir, chain.number() + 1));
    if (!next && next.error().code == Code::kNotFound) return chain;
    if (!next) return tl::unexpected(std::move(next.error()));
    STELE_TRY_VOID(chain.Continue(std::move(*next)));
  }
  return chain;
}

}  // namespace stele::anchor
