// What `stele verify` finds: the store byte by byte, the epochs, and what the TPM and the anchor's slots say of the newest.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "appliance/daemons/cli/commands.h"
#include "appliance/daemons/cli/epoch_history.h"
#include "appliance/daemons/cli/tpm_check.h"
#include "appliance/store/medium.h"
#include "appliance/store/verify.h"

namespace stele::daemons::cli {

struct Verification {
  store::VerifyReport store;
  TpmCheck tpm;
  std::optional<EpochHistory> epochs;  // absent: no provisioning record
  bool epoch_begins = false;           // the newest epoch's entry is the next start's to write
  std::string word;
  std::string detail;
  std::vector<std::string> qualifiers;
  std::vector<std::string> unchecked;
  std::int64_t duration_ms = 0;
};

// The store of a directory, as its stele.toml says; `devices` instead of that.
[[nodiscard]] Result<store::OpenedShelf> OpenStore(const Home& home, const std::vector<std::string>& devices, store::MediumUse use, const std::optional<Hash>& log_id);

[[nodiscard]] bool IsGood(const std::string& word);

// kDenied: the pin of `options` is not the log's key.
[[nodiscard]] Result<Verification> VerifyLog(const Home& home, const VerifyOptions& options, bool show_progress);

}  // namespace stele::daemons::cli
