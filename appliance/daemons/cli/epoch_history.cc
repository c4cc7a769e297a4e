#include "appliance/daemons/cli/epoch_history.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "appliance/anchor/facts.h"
#include "appliance/base/text.h"

namespace stele::daemons::cli {
namespace {

using nlohmann::json;

struct AnchoredView {
  std::uint64_t anchor = 0;  // 0: none, or not an intent at all
  Hash digest{};
};

// What of an intent the X-chain needs; whether it is the anchor's is judged elsewhere.
AnchoredView ViewOfIntent(std::string_view intent) {
  AnchoredView view;
  const json parsed = json::parse(intent, nullptr, false);
  if (!parsed.is_object()) return view;
  const auto anchor = parsed.find("anchor");
  const auto digest = parsed.find("digest");
  if (anchor == parsed.end() || !anchor->is_number_unsigned()) return view;
  const auto hash = digest != parsed.end() && digest->is_string() ? ParseHash(digest->get_ref<const std::string&>()) : std::nullopt;
  if (!hash) return view;
  return {anchor->get<std::uint64_t>(), *hash};
}

}  // namespace

void AnchorEntries::Add(record::Kind kind, ByteView payload) {
  std::string text(AsText(payload));
  if (kind == record::Kind::kAnchor) {
    receipt_ = std::move(text);
  } else if (kind == record::Kind::kCheckpoint) {
    if (const AnchoredView view = ViewOfIntent(text); view.anchor != 0) {
      anchored_ = text;
      if (view.anchor == anchors_ + 1) {
        anchors_ = view.anchor;
        index_before_ = index_;
        index_ = anchor::Extended(index_, view.digest);
      }
    }
    if (newest_.size() == 2) newest_.erase(newest_.begin());
    newest_.push_back(std::move(text));
  }
}

void AnchorEntries::Into(channel::LogState& state) const {
  state.last_receipt = receipt_;
  if (anchored_ && std::find(newest_.begin(), newest_.end(), *anchored_) == newest_.end()) state.intents.push_back(*anchored_);
  state.intents.insert(state.intents.end(), newest_.begin(), newest_.end());
}

bool AnchorEntries::LeadsTo(std::uint64_t number, const Hash& index) const {
  if (number == anchors_) return index == index_;
  return number + 1 == anchors_ && index == index_before_;  // the last anchor was never finished
}

EpochHistory::EpochHistory(anchor::EpochChain chain)
    : chain_(std::move(chain)), entries_(chain_.genesis().record.index_start) {}

ClosedEpoch EpochHistory::Newest(std::uint64_t size, const Hash& root) const {
  const anchor::ProvisioningRecord& record = chain_.current().record;
  ClosedEpoch out;
  out.number = chain_.number();
  out.end_sequence = size;
  const auto key = anchor::CheckpointKeyOf(record, chain_.Origin());
  if (!key) return out;  // of a log whose record pins none: its signatures go unchecked, and the report says so
  channel::LogState state;
  state.log_id = chain_.log_id();
  state.size = size;
  state.root = root;
  entries_.Into(state);
  const anchor::LogView view = anchor::ViewOf(state, *key, anchor::PinsOf(record, chain_.log_id()));
  out.fault = view.fault;
  if (const anchor::IntentEntry* newest = view.newest()) out.checkpoint_size = newest->size;
  if (view.receipt) {
    out.anchor = view.receipt->number;
    out.anchored_size = view.receipt->size;
    if (out.fault.empty() && !entries_.LeadsTo(out.anchor, view.receipt->index)) {
      out.fault = fmt::format("the anchored checkpoints up to {} do not lead to the X of the last receipt", out.anchor);
    }
  }
  return out;
}

Result<std::optional<ledger::VerifyKey>> EpochHistory::Take(std::uint64_t sequence, const Hash& root, ByteView payload) {
  ClosedEpoch closed = Newest(sequence, root);
  STELE_TRY_VOID(chain_.TakeEntry(sequence, root, AsText(payload)));
  const anchor::ProvisioningRecord& next = chain_.current().record;
  const anchor::EpochClaim& claim = *next.epoch;
  closed.word = claim.verdicts.back();
  closed.detail = claim.detail;
  closed.reason = claim.reason;
  closed.closed_wall_ns = next.created_ns;
  if (closed.fault.empty() && (claim.anchor != closed.anchor || claim.anchored_size != closed.anchored_size)) {
    closed.fault = fmt::format("the record that closed it says that its last anchor was {}, the log says {}", claim.anchor,
                               closed.anchor);
  }
  closed_.push_back(std::move(closed));
  entries_ = AnchorEntries(next.index_start);
  return anchor::CheckpointKeyOf(next, chain_.Origin());
}

std::string TextOf(const ClosedEpoch& epoch, std::string_view signer) {
  std::string text = fmt::format("epoch {}: {} after anchor {}, closed by epoch {} ({}, \"{}\") signed by {}", epoch.number,
                                 epoch.word, epoch.anchor, epoch.number + 1, FormatTime(epoch.closed_wall_ns), epoch.reason,
                                 signer.substr(0, 16));
  if (epoch.end_sequence > epoch.anchored_size) {
    text += fmt::format("; records {} to {} lie above its last anchor, {} of them above its last checkpoint",
                        epoch.anchored_size, epoch.end_sequence - 1, epoch.end_sequence - std::min(epoch.end_sequence, epoch.checkpoint_size));
  }
  if (!epoch.fault.empty()) text += "; its own evidence contradicts itself: " + epoch.fault;
  return text;
}

}  // namespace stele::daemons::cli
