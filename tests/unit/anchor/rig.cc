#include "tests/unit/anchor/rig.h"

#include <gtest/gtest.h>

namespace stele::anchor {
namespace {

constexpr std::string_view kOrigin = "stele.invalid/log/test";

AnchorKeys TestKeys() {
  auto keys = DeriveKeys(Secret(Sha256Of(AsBytes("a seed for tests"))), kOrigin);
  EXPECT_TRUE(keys.has_value());
  return std::move(*keys);
}

}  // namespace

void TestLog::Append(int count) {
  for (int i = 0; i < count; ++i) {
    Bytes raw;
    Writer writer(raw);
    writer.Int(salt);
    writer.Int(static_cast<std::uint64_t>(leaves.size()));
    leaves.push_back(LeafHash(raw));
  }
}

void TestLog::AppendIntent(const std::string& payload) {
  leaves.push_back(LeafHash(AsBytes(payload)));
  intents.push_back(payload);
}

void TestLog::AppendReceipt(const std::string& payload) {
  leaves.push_back(LeafHash(AsBytes(payload)));
  receipts.push_back(payload);
}

channel::LogState TestLog::State() const {
  channel::LogState state;
  state.log_id = log_id;
  state.size = leaves.size();
  ledger::CompactRange range(0);
  for (const Hash& leaf : leaves) range.Push(leaf);
  state.root = range.Root();
  state.frontier = range.Hashes();
  if (!receipts.empty()) state.last_receipt = receipts.back();
  const std::size_t newest_two = intents.size() - std::min<std::size_t>(2, intents.size());
  for (std::size_t i = intents.size(); i-- > 0;) {
    if (intents[i].find("\"anchor\":0,") != std::string::npos) continue;
    if (i < newest_two) state.intents.push_back(intents[i]);
    break;
  }
  for (std::size_t i = newest_two; i < intents.size(); ++i) state.intents.push_back(intents[i]);
  return state;
}

channel::CheckpointRequest TestLog::Request(std::uint64_t range_begin, bool want_anchor) const {
  channel::CheckpointRequest request;
  ledger::CompactRange all(0);
  ledger::CompactRange range(range_begin);
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    all.Push(leaves[i]);
    if (i >= range_begin) range.Push(leaves[i]);
  }
  request.size = leaves.size();
  request.root = all.Root();
  request.range_begin = range_begin;
  request.range_hashes = range.Hashes();
  request.want_anchor = want_anchor;
  return request;
}

Pins PinsFor(const sim::SimTpm& tpm, const Hash& log_id) {
  Pins pins;
  pins.identity = tpm.PinnedIdentity();
  pins.receipt = {
      log_id, tpm.AkPublicPem(), 14, pins.identity.counter_name, pins.identity.index_name, sim::SimTpm::kCounterStart};
  pins.index_start = tpm.IndexStart();
  pins.reset_count = 1;
  pins.software_tpm = true;
  return pins;
}

Rig::Rig(std::uint64_t seed) : tpm(seed) {
  log.log_id = Sha256Of(AsBytes("a provisioning record"));
  log.Append(1);
  config.origin = kOrigin;
  config.log_id = log.log_id;
  config.pins = PinsFor(tpm, log.log_id);
}

channel::Verdict Rig::Start() {
  anchor = std::make_unique<Anchor>(tpm, clock, slots[0], slots[1], TestKeys(), config);
  channel::Verdict verdict = anchor->Recover(log.State());
  TakeReceipt(verdict.late_receipt);
  return verdict;
}

Result<channel::Intent> Rig::Sign(bool want_anchor, int records) {
  log.Append(records);
  clock.Advance(500);
  auto intent = anchor->Sign(log.Request(anchor->signed_size(), want_anchor));
  if (!intent) last_refusal = intent.error();
  return intent;
}

std::optional<channel::Extended> Rig::Confirm(const channel::Intent& intent) {
  log.AppendIntent(intent.payload);
  auto extended = anchor->Confirm(intent.number);
  if (!extended) {
    last_refusal = extended.error();
    return std::nullopt;
  }
  TakeReceipt(extended->receipt);
  return std::move(*extended);
}

void Rig::TakeReceipt(const std::optional<std::string>& receipt) {
  if (!receipt) return;
  log.AppendReceipt(*receipt);
  EXPECT_TRUE(anchor->ReceiptDurable().has_value());
}

std::optional<channel::Extended> Rig::Checkpoint(bool want_anchor, int records) {
  const auto intent = Sign(want_anchor, records);
  if (!intent) return std::nullopt;
  return Confirm(*intent);
}

}  // namespace stele::anchor
