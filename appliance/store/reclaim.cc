#include "appliance/store/reclaim.h"

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <map>
#include <set>
#include <utility>

#include "appliance/ledger/spine.h"
#include "appliance/store/lookup.h"
#include "appliance/store/unit_scan.h"

namespace stele::store {
namespace {

using nlohmann::json;
using record::Kind;
constexpr std::size_t kOrdersMax = 65'536;
constexpr std::int64_t kNsPerSecond = 1'000'000'000;
constexpr std::uint64_t kMsPerSecond = 1'000;

// What is read once for all orders. A unit that goes takes nothing of it along but its own facts: what it gave up
// stays in its spine.
struct Survey {
  std::vector<ledger::Abandon> abandons;
  std::vector<UnitFacts> facts;
  std::map<std::pair<std::uint64_t, std::uint64_t>, Hash> roots;  // recomputed; by where the unit begins and the size
};
Result<Survey> SurveyOf(DeviceShelf& shelf) {
  Survey survey;
  STELE_TRY(survey.abandons, AbandonsInAll(shelf));
  STELE_TRY(const std::vector<std::uint32_t> units, shelf.List());
  for (const std::uint32_t unit : units) {
    if (auto read = FactsOf(shelf, unit)) survey.facts.push_back(std::move(*read));
  }
  return survey;
}

// A number that was given up before anything of it reached a medium has no room.
bool HoldsSomething(DeviceShelf& shelf, std::uint32_t unit) {
  const auto device = shelf.Open(unit, false);
  return device && (*device)->size_bytes() > 0;
}

// The data blocks of a unit, in order, until `visit` says false.
Result<void> VisitUnit(DeviceShelf& shelf, std::uint32_t unit, const std::vector<ledger::Abandon>& abandons,
                       const std::function<Result<bool>(const ledger::DecodedBlock&)>& visit) {
  STELE_TRY(const auto device, shelf.Open(unit, false));
  UnitScan scan(*device, unit, abandons);
  while (true) {
    STELE_TRY(const ScanStep step, scan.Next());
    if (step.what != ScanStep::What::kBlock) return {};
    if (step.header.type != ledger::BlockType::kData) continue;
    STELE_TRY(const ledger::DecodedBlock block, ledger::DecodeBlock(step.bytes));
    STELE_TRY(const bool more, visit(block));
    if (!more) return {};
  }
}

// The first unit behind `unit` that has records: there, or as a spine.
struct Behind {
  std::uint32_t unit = 0;
  std::optional<ledger::Spine> spine;  // it has expired; a unit that is there counts, whatever spine lies beside it
  std::optional<Superblock> superblock;
};
Result<Behind> UnitBehind(DeviceShelf& shelf, std::uint32_t unit) {
  STELE_TRY(const std::vector<std::uint32_t> there, shelf.List());
  const std::vector<std::uint32_t> expired = shelf.Expired();
  std::set<std::uint32_t> all(there.begin(), there.end());
  all.insert(expired.begin(), expired.end());
  for (auto at = all.upper_bound(unit); at != all.end(); ++at) {
    if (std::binary_search(there.begin(), there.end(), *at)) {
      STELE_TRY(const auto device, shelf.Open(*at, false));
      auto superblock = ReadSuperblock(*device);
      if (superblock) return Behind{*at, std::nullopt, std::move(*superblock)};
      continue;
    }
    STELE_TRY(const Bytes bytes, shelf.Spine(*at));
    STELE_TRY(ledger::Spine spine, ledger::DecodeSpine(bytes));
    return Behind{*at, std::move(spine), std::nullopt};
  }
  return Fail(Code::kNotFound, "unit " + std::to_string(unit) + " is the last one");
}

// Sizes below `end` that a checkpoint of a later unit is about: its entry comes after the records it covers, under load
// far behind them.
Result<void> KeepLaterBorders(DeviceShelf& shelf, const Tombstone& tombstone, const std::vector<ledger::Abandon>& abandons,
                              ledger::SpineMaker& maker) {
  std::uint32_t unit = tombstone.unit;
  const std::uint64_t end = tombstone.end_sequence;
  bool more = true;
  const auto take = [&](ByteView payload) {  // sizes only grow
    const auto size = ledger::SizeOfIntent(payload);
    if (size && *size < end) maker.KeepBorder(*size);
    more = !size || *size < end;
  };
  while (more) {
    const auto behind = UnitBehind(shelf, unit);
    if (!behind && behind.error().code == Code::kNotFound) return {};
    if (!behind) return tl::unexpected(behind.error());
    unit = behind->unit;
    if (behind->spine) {
      for (const auto& [sequence, kept] : behind->spine->entries) {
        if (more && kept.Decoded().kind == Kind::kCheckpoint) take(kept.payload);
      }
      continue;
    }
    STELE_TRY_VOID(VisitUnit(shelf, unit, abandons, [&](const ledger::DecodedBlock& block) -> Result<bool> {
      for (std::size_t i = 0; more && i < block.kinds.size(); ++i) {
        if (block.kinds[i] == static_cast<std::uint8_t>(Kind::kCheckpoint)) take(block.Payload(i));
      }
      return more;
    }));
  }
  return {};
}

// The root of the first `size` records, recomputed from those of the unit that holds `sequence` on, equals the signed
// one: the entry at `sequence` is one that was signed.
Result<void> CheckSigned(DeviceShelf& shelf, Survey& survey, std::uint64_t sequence,
                         const ReclaimJudge::Anchored& anchored) {
  if (sequence >= anchored.size) return Fail(Code::kDenied, "no anchored checkpoint covers it");
  STELE_TRY(const std::vector<std::uint32_t> units, shelf.List());
  for (auto unit = units.rbegin(); unit != units.rend(); ++unit) {
    STELE_TRY(const auto device, shelf.Open(*unit, false));
    const auto superblock = ReadSuperblock(*device);
    if (!superblock || superblock->first_sequence > sequence) continue;
    const std::pair key{superblock->first_sequence, anchored.size};
    auto known = survey.roots.find(key);
    if (known == survey.roots.end()) {
      STELE_TRY(ledger::Frontier frontier,
                ledger::Frontier::FromHashes(0, superblock->first_sequence, superblock->frontier));
      STELE_TRY(const ledger::CompactRange range, RangeOf(shelf, superblock->first_sequence, anchored.size));
      STELE_TRY_VOID(frontier.Extend(range));
      known = survey.roots.emplace(key, frontier.Root()).first;
    }
    if (known->second != anchored.root) return Fail(Code::kDenied, "the signed root is not that of the records");
    return {};
  }
  return Fail(Code::kNotFound, "the tombstone is not there");
}

Result<Bytes> PayloadOf(DeviceShelf& shelf, std::uint64_t sequence, Kind kind) {
  STELE_TRY(FoundEntry found, EntryAt(shelf, sequence));
  if (found.kind == kind) return std::move(found.payload);
  return Fail(Code::kDenied, "entry " + std::to_string(sequence) + " is no " + std::string(record::KindName(kind)));
}

// The units that are there say themselves when they began and what was promised.
Result<void> CountAgain(DeviceShelf& shelf, const Survey& survey, const Tombstone& tombstone, const ReclaimJudge& judge,
                        const ReclaimJudge::Anchored& anchored) {
  const RetentionNow now{anchored.wall_ns,  anchored.clock_ms, anchored.epoch,
                         judge.retention_s, judge.holds,       anchored.size};
  const auto end_of = [&](std::uint32_t unit) -> Result<UnitEnd> {
    if (unit == tombstone.unit) return EndOf(shelf, unit);
    return Fail(Code::kUnavailable, "not asked for");  // reading a unit whole takes long
  };
  for (const Tombstone& one : WhatExpired(survey.facts, now, end_of)) {
    if (one.unit != tombstone.unit) continue;
    if (one.end_sequence == tombstone.end_sequence && one.head == tombstone.head && one.root == tombstone.root)
      return {};
    return Fail(Code::kDenied, "the unit behind it does not go on where the tombstone says");
  }
  return Fail(Code::kDenied, "its retention is not over");
}

// The log says that the unit goes, signed and anchored, and nothing of today speaks against it.
struct CheckedOrder {
  Tombstone tombstone;
  ReclaimJudge::Anchored anchored;
};
Result<CheckedOrder> CheckOrder(DeviceShelf& shelf, Survey& survey, const ReclaimOrder& order,
                                const ReclaimJudge& judge) {
  STELE_TRY(const Bytes payload, PayloadOf(shelf, order.tombstone, Kind::kTombstone));
  STELE_TRY(const Tombstone tombstone, DecodeTombstone(payload));
  if (tombstone.unit != order.unit) return Fail(Code::kDenied, "the tombstone is of another unit");
  STELE_TRY(const Bytes checkpoint, PayloadOf(shelf, order.checkpoint, Kind::kCheckpoint));
  STELE_TRY(const Bytes receipt, PayloadOf(shelf, order.receipt, Kind::kAnchor));
  STELE_TRY(const ReclaimJudge::Anchored anchored, judge.anchored(checkpoint, receipt));
  STELE_TRY_VOID(CheckSigned(shelf, survey, order.tombstone, anchored));
  if (tombstone.end_sequence > order.tombstone) return Fail(Code::kDenied, "the tombstone is older than its unit");
  if (judge.retention_s <= 0) return Fail(Code::kDenied, "no retention is configured any more");
  const Hold* hold = HeldBy(judge.holds, tombstone.begun_wall_ns, tombstone.ended_wall_ns);
  if (hold != nullptr) return Fail(Code::kDenied, "held by " + hold->name);
  STELE_TRY_VOID(CountAgain(shelf, survey, tombstone, judge, anchored));
  return CheckedOrder{tombstone, anchored};
}

// The tombstone is bound to the log that is there: the next unit goes on where it says.
Result<void> CheckSuccessor(DeviceShelf& shelf, const Tombstone& tombstone) {
  STELE_TRY(const Behind behind, UnitBehind(shelf, tombstone.unit));
  const std::uint64_t first = behind.spine ? behind.spine->first_sequence : behind.superblock->first_sequence;
  const Hash& head = behind.spine ? behind.spine->previous_head : behind.superblock->head;
  const std::vector<Hash>& hashes = behind.spine ? behind.spine->frontier : behind.superblock->frontier;
  STELE_TRY(const auto frontier, ledger::Frontier::FromHashes(0, first, hashes));
  const bool same = first == tombstone.end_sequence && head == tombstone.head && frontier.Root() == tombstone.root;
  if (!same) return Fail(Code::kDenied, "the unit behind it does not go on where the tombstone says");
  return {};
}

// What was promised when later units were begun that have expired since: their spines keep it.
Result<std::int64_t> PromisedByExpired(DeviceShelf& shelf, std::uint32_t unit) {
  std::int64_t promised_s = 0;
  for (const std::uint32_t later : shelf.Expired()) {
    if (later <= unit) continue;
    STELE_TRY(const Bytes bytes, shelf.Spine(later));
    STELE_TRY(const ledger::Spine spine, ledger::DecodeSpine(bytes));
    for (const auto& [sequence, kept] : spine.entries) {
      const auto declared = DecodeRetention(kept.payload);
      const bool promise = kept.Decoded().kind == Kind::kPolicy && declared && declared->begins && declared->unit == later;
      if (promise) promised_s = std::max(promised_s, declared->retention_s);
    }
  }
  return promised_s;
}

// By its own records: they are in the tree, which superblocks and declarations of other units are not, or not yet.
Result<void> CheckAge(DeviceShelf& shelf, const ledger::Spine& spine, const CheckedOrder& order, const ReclaimJudge& judge) {
  const Hold* hold = HeldBy(judge.holds, spine.wall_ns_min, spine.wall_ns_max + 1);
  if (hold != nullptr) return Fail(Code::kDenied, "held by " + hold->name);
  STELE_TRY(const std::int64_t promised_s, PromisedByExpired(shelf, spine.unit));
  const std::int64_t retention_s = std::max({judge.retention_s, order.tombstone.retention_s, promised_s});
  if (std::min(order.tombstone.age_s, order.tombstone.aged_s) < promised_s) return Fail(Code::kDenied, "its retention is not over");
  if ((order.anchored.wall_ns - spine.wall_ns_max) / kNsPerSecond < retention_s)
    return Fail(Code::kUnavailable, "its newest record is too young");
  const ledger::KeptEntry* receipt = spine.LastOfKind(Kind::kAnchor, spine.end_sequence);
  if (receipt == nullptr) return {};
  const json object = json::parse(AsText(receipt->payload), nullptr, false);
  const json clock_ms = object.is_object() ? object.value("clock_ms", json()) : json();
  const bool same_tpm = object.is_object() && object.value("epoch", json(0U)) == order.anchored.epoch;
  if (!same_tpm || !clock_ms.is_number_unsigned()) return {};
  const auto then_ms = clock_ms.get<std::uint64_t>();
  const bool aged = order.anchored.clock_ms >= then_ms &&
                    (order.anchored.clock_ms - then_ms) / kMsPerSecond >= static_cast<std::uint64_t>(retention_s);
  if (!aged) return Fail(Code::kUnavailable, "by the TPM's time its newest receipt is too young");
  return {};
}

// Numbers that were given up before anything of them reached a medium, as this unit's superblock says: somebody must go
// on saying it.
Result<void> KeepGivenUp(DeviceShelf& shelf, const ledger::Spine& spine) {
  STELE_TRY(const std::vector<std::uint32_t> there, shelf.List());
  for (const ledger::Abandon& abandon : spine.abandons) {
    const bool here = std::binary_search(there.begin(), there.end(), abandon.unit);
    if (abandon.from != 0 || abandon.unit >= spine.unit || (here && HoldsSomething(shelf, abandon.unit))) continue;
    ledger::Spine empty;
    empty.unit = abandon.unit;
    empty.log_id = spine.log_id;
    empty.first_sequence = spine.first_sequence;
    empty.end_sequence = spine.first_sequence;
    empty.previous_head = spine.previous_head;
    empty.head = spine.previous_head;
    empty.frontier = spine.frontier;
    STELE_TRY_VOID(shelf.KeepSpine(abandon.unit, ledger::EncodeSpine(empty)));
  }
  return {};
}

Result<ledger::Spine> SpineFor(DeviceShelf& shelf, const Hash& log_id, const Tombstone& tombstone,
                               const std::vector<ledger::Abandon>& abandons) {
  STELE_TRY(const auto device, shelf.Open(tombstone.unit, false));
  STELE_TRY(const Superblock superblock, ReadSuperblock(*device));
  if (superblock.log_id != log_id || superblock.unit != tombstone.unit ||
      superblock.first_sequence != tombstone.first_sequence) {
    return Fail(Code::kCorrupt, "its superblock is not that of the tombstone");
  }
  ledger::SpineMaker maker(superblock.unit, log_id, superblock.first_sequence, superblock.head, superblock.frontier);
  STELE_TRY(std::vector<ledger::Abandon> own, AbandonsIn(*device, tombstone.unit));
  maker.KeepAbandons(std::move(own));
  STELE_TRY_VOID(VisitUnit(shelf, tombstone.unit, abandons, [&](const ledger::DecodedBlock& block) -> Result<bool> {
    maker.Look(block);
    return true;
  }));
  STELE_TRY_VOID(KeepLaterBorders(shelf, tombstone, abandons, maker));
  const auto take = [&maker](const ledger::DecodedBlock& block) -> Result<bool> {
    STELE_TRY_VOID(maker.Take(block));
    return true;
  };
  STELE_TRY_VOID(VisitUnit(shelf, tombstone.unit, abandons, take));
  STELE_TRY(ledger::Spine spine, maker.Finish());
  STELE_TRY(const ledger::Frontier frontier, ledger::CheckSpine(spine));
  if (spine.end_sequence != tombstone.end_sequence || spine.head != tombstone.head ||
      frontier.Root() != tombstone.root) {
    return Fail(Code::kCorrupt, "its records are not those that the tombstone is about: it is evidence and stays");
  }
  return spine;
}

Result<void> ReclaimOne(DeviceShelf& shelf, const Hash& log_id, Survey& survey, const ReclaimOrder& order,
                        const ReclaimJudge& judge) {
  STELE_TRY(const CheckedOrder checked, CheckOrder(shelf, survey, order, judge));
  STELE_TRY_VOID(CheckSuccessor(shelf, checked.tombstone));
  STELE_TRY_VOID(shelf.MayClear(order.unit));
  STELE_TRY(const ledger::Spine spine, SpineFor(shelf, log_id, checked.tombstone, survey.abandons));
  STELE_TRY_VOID(CheckAge(shelf, spine, checked, judge));
  STELE_TRY_VOID(KeepGivenUp(shelf, spine));
  STELE_TRY_VOID(shelf.KeepSpine(order.unit, ledger::EncodeSpine(spine)));
  STELE_TRY(const Bytes written, shelf.Spine(order.unit));
  if (!SameBytes(written, ledger::EncodeSpine(spine))) return Fail(Code::kIo, "its spine reads back differently");
  return shelf.Clear(order.unit);
}

}  // namespace

std::vector<std::uint32_t> UnitsOf(const std::vector<ReclaimOrder>& orders) {
  std::vector<std::uint32_t> units;
  units.reserve(orders.size());
  for (const ReclaimOrder& order : orders) units.push_back(order.unit);
  return units;
}

std::string EncodeOrders(const std::vector<ReclaimOrder>& orders) {
  json list = json::array();
  for (const ReclaimOrder& order : orders) {
    list.push_back({{"unit", order.unit},
                    {"tombstone", order.tombstone},
                    {"checkpoint", order.checkpoint},
                    {"receipt", order.receipt}});
    if (order.done) list.back()["done"] = true;
  }
  return json{{"stele", "reclaim"}, {"version", 1}, {"orders", std::move(list)}}.dump();
}

Result<std::vector<ReclaimOrder>> DecodeOrders(ByteView text) {
  const json object = json::parse(AsText(text), nullptr, false);
  const json list =
      object.is_object() && object.value("stele", json()) == "reclaim" && object.value("version", json()) == 1
          ? object.value("orders", json())
          : json();
  if (!list.is_array() || list.size() > kOrdersMax) return Fail(Code::kCorrupt, "reclaim orders: not a list of them");
  std::vector<ReclaimOrder> orders;
  for (const json& one : list) {
    const auto number = [&one](const char* name) { return one.is_object() ? one.value(name, json()) : json(); };
    const json unit = number("unit");
    for (const char* name : {"unit", "tombstone", "checkpoint", "receipt"}) {
      if (!number(name).is_number_unsigned()) return Fail(Code::kCorrupt, "reclaim orders: one without a number");
    }
    if (unit.get<std::uint64_t>() > 0xffffffffU) return Fail(Code::kCorrupt, "reclaim orders: a unit that is none");
    orders.push_back({unit.get<std::uint32_t>(), number("tombstone").get<std::uint64_t>(),
                      number("checkpoint").get<std::uint64_t>(), number("receipt").get<std::uint64_t>(),
                      number("done") == true});
  }
  return orders;
}

Result<ledger::Spine> MakeSpine(DeviceShelf& shelf, const Hash& log_id, const Tombstone& tombstone) {
  STELE_TRY(const std::vector<ledger::Abandon> abandons, AbandonsInAll(shelf));
  return SpineFor(shelf, log_id, tombstone, abandons);
}

Result<Reclaimed> Reclaim(DeviceShelf& shelf, const Hash& log_id, const std::vector<ReclaimOrder>& orders,
                          const ReclaimJudge& judge) {
  Reclaimed reclaimed;
  if (const auto finished = shelf.FinishClearing(); !finished) reclaimed.refused.push_back(Describe(finished.error()));
  std::optional<Result<Survey>> survey;
  for (const ReclaimOrder& order : orders) {
    STELE_TRY(const std::vector<std::uint32_t> units, shelf.List());
    if (std::find(units.begin(), units.end(), order.unit) == units.end()) continue;  // done already
    if (!survey) survey = SurveyOf(shelf);
    const auto done = *survey ? ReclaimOne(shelf, log_id, **survey, order, judge) : tl::unexpected(survey->error());
    if (*survey && !FactsOf(shelf, order.unit))  // gone, perhaps not whole
      std::erase_if((*survey)->facts, [&order](const UnitFacts& facts) { return facts.unit == order.unit; });
    if (done) {
      reclaimed.units.push_back(order.unit);
    } else {
      const Error& error = done.error();
      const bool later = error.detail == EROFS || error.code == Code::kUnavailable || error.code == Code::kIo;
      if (later) reclaimed.waiting.push_back(order);
      reclaimed.refused.push_back("unit " + std::to_string(order.unit) + (later ? " waits: " : " is not reclaimed: ") +
                                  Describe(error));
    }
  }
  return reclaimed;
}

}  // namespace stele::store
