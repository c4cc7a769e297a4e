// The records of a log's epochs as they lie in its state directory: provisioning.json (genesis) and epoch-<n>.json, each
// as provisioning_record.h has it. Nothing that an earlier epoch needs is overwritten by a later one: what belongs to
// one carries its number in its name.
#pragma once

#include <filesystem>

#include "appliance/anchor/epochs.h"

namespace stele::anchor {

[[nodiscard]] std::filesystem::path RecordPath(const std::filesystem::path& state_dir, std::uint64_t epoch);
[[nodiscard]] std::filesystem::path SlotPath(const std::filesystem::path& state_dir, std::uint64_t epoch, int slot);

// All of them, up to the newest or to `last`. kNotFound: there is no provisioning.json; kDenied: a record does not continue the log.
[[nodiscard]] Result<EpochChain> LoadEpochs(const std::filesystem::path& state_dir, std::uint64_t last = kEpochsMax);

}  // namespace stele::anchor
