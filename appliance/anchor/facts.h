// From what was read to what it means: the log's checkpoint and anchor entries, the TPM's registers and the anchor's
// own slot become the RecoveryFacts that recovery.h decides on. All pure but ReadRegisters.
#pragma once

#include <optional>
#include <vector>

#include "appliance/anchor/entries.h"
#include "appliance/anchor/recovery.h"
#include "appliance/anchor/slots.h"
#include "appliance/channel/anchor_messages.h"

namespace stele::anchor {

// What the provisioning record promises about the TPM.
struct Pins {
  TpmIdentity identity;
  ReceiptPins receipt;
  Hash index_start{};             // X0
  Hash pcr_baseline{};            // zero, unless the host's firmware is known to extend the anchor's PCR
  std::uint32_t reset_count = 0;  // when provisioned
  bool software_tpm = false;
};

// The entries of a LogState, decoded and checked against each other.
struct LogView {
  std::vector<IntentEntry> intents;  // oldest first, no duplicates: the newest anchored one and the newest two
  std::optional<ReceiptEntry> receipt;
  std::string fault;  // empty: every entry is this anchor's and they follow one another

  [[nodiscard]] const IntentEntry* newest() const { return intents.empty() ? nullptr : &intents.back(); }
  [[nodiscard]] const IntentEntry* anchored() const;  // the newest with an anchor number
  [[nodiscard]] std::uint64_t anchors_intended() const { return anchored() == nullptr ? 0 : anchored()->anchor; }
  [[nodiscard]] std::uint64_t anchors_receipted() const { return receipt ? receipt->number : 0; }
  [[nodiscard]] bool anchor_pending() const { return anchors_intended() > anchors_receipted(); }
};
[[nodiscard]] LogView ViewOf(const channel::LogState& state, const ledger::VerifyKey& key, const Pins& pins);
// Adds an intent and forgets those recovery no longer needs.
void Remember(LogView& view, IntentEntry intent);

struct Registers {
  TpmIdentity identity;
  TpmClock clock;
  Hash pcr{};
  std::uint64_t counter = 0;
  Hash index{};
};
// kUnavailable, kTpm, kIo: cannot tell. Behind a foreign identity only the identity is read.
[[nodiscard]] Result<Registers> ReadRegisters(Tpm& tpm, const Pins& pins);

[[nodiscard]] RecoveryFacts FactsOf(const channel::LogState& state, const LogView& view, const Registers& registers,
                                    const std::optional<SlotState>& slot, const Pins& pins);

// Whether an earlier tree may be the beginning of the log's: the aligned subtrees that both begin with are the same if
// the larger one continues the smaller. Sound, not complete (the next checkpoint request must bring the full proof).
[[nodiscard]] bool FrontiersAgree(std::uint64_t size, const Hash& root, const std::vector<Hash>& frontier,
                                  const channel::LogState& state);

// X after the newest receipted anchor.
[[nodiscard]] Hash IndexAtReceipt(const LogView& view, const Pins& pins);

}  // namespace stele::anchor
