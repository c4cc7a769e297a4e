#include "appliance/store/expiry.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "appliance/ledger/merkle.h"
#include "appliance/ledger/spine.h"
#include "appliance/store/unit_scan.h"

namespace stele::store {
namespace {

using nlohmann::json;
constexpr std::int64_t kNsPerSecond = 1'000'000'000;
constexpr std::uint64_t kMsPerSecond = 1'000;
constexpr std::size_t kUnitsThatStay = 2;
constexpr std::size_t kBlocksLookedAt = 16;  // the declaration is in one of the first commits of its unit

json HoldJson(const Hold& hold) {
  return {{"name", hold.name}, {"reason", hold.reason}, {"from_ns", hold.from_ns}, {"to_ns", hold.to_ns}};
}

template <typename T>
bool Number(const json& object, const char* name, T& out) {
  const auto at = object.find(name);
  if (at == object.end() || !at->is_number_integer()) return false;
  if (at->is_number_unsigned()) {
    const auto value = at->get<std::uint64_t>();
    if (!std::in_range<T>(value)) return false;
    out = static_cast<T>(value);
    return true;
  }
  const auto value = at->get<std::int64_t>();
  if (!std::in_range<T>(value)) return false;
  out = static_cast<T>(value);
  return true;
}

bool Digest(const json& object, const char* name, Hash& out) {
  const auto at = object.find(name);
  if (at == object.end() || !at->is_string()) return false;
  const auto hash = ParseHash(at->get_ref<const std::string&>());
  if (hash) out = *hash;
  return hash.has_value();
}

// By the clock that only power moves, since the first time it was read after the unit's end; nullopt: not known.
std::optional<std::int64_t> AgedS(const std::vector<UnitFacts>& units, std::size_t i, const RetentionNow& now) {
  for (std::size_t later = i + 1; later < units.size(); ++later) {
    const auto& declared = units[later].declared;
    if (!declared || declared->epoch != now.epoch || !declared->clock_ms) continue;
    if (*declared->clock_ms > *now.clock_ms) return std::nullopt;
    return static_cast<std::int64_t>((*now.clock_ms - *declared->clock_ms) / kMsPerSecond);
  }
  return std::nullopt;
}

std::int64_t PromisedS(const std::vector<UnitFacts>& units, std::size_t i, const RetentionNow& now) {
  std::int64_t promised_s = now.retention_s;
  for (; i < units.size(); ++i) {
    if (units[i].declared) promised_s = std::max(promised_s, units[i].declared->retention_s);
  }
  return promised_s;
}

}  // namespace

std::string EncodeRetention(const RetentionEntry& entry) {
  json holds = json::array();
  for (const Hold& hold : entry.holds) holds.push_back(HoldJson(hold));
  json object = {
      {"event", "retention"}, {"unit", entry.unit}, {"retention_s", entry.retention_s}, {"holds", std::move(holds)}};
  if (entry.epoch > 0) object["epoch"] = entry.epoch;
  if (entry.clock_ms) object["clock_ms"] = *entry.clock_ms;
  if (entry.begins) object["begins"] = true;
  return object.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::optional<RetentionEntry> DecodeRetention(ByteView payload) {
  const json object = json::parse(AsText(payload), nullptr, false);
  RetentionEntry entry;
  if (!object.is_object() || object.value("event", json()) != "retention") return std::nullopt;
  if (!Number(object, "unit", entry.unit) || !Number(object, "retention_s", entry.retention_s)) return std::nullopt;
  (void)Number(object, "epoch", entry.epoch);  // absent: 0
  std::uint64_t clock_ms = 0;
  if (Number(object, "clock_ms", clock_ms)) entry.clock_ms = clock_ms;
  entry.begins = object.value("begins", json()) == true;
  const auto holds = object.find("holds");
  if (holds == object.end() || !holds->is_array()) return std::nullopt;
  for (const json& one : *holds) {
    Hold hold;
    if (!one.is_object() || !Number(one, "from_ns", hold.from_ns) || !Number(one, "to_ns", hold.to_ns))
      return std::nullopt;
    const json name = one.value("name", json());
    const json reason = one.value("reason", json());
    hold.name = name.is_string() ? name.get<std::string>() : "";
    hold.reason = reason.is_string() ? reason.get<std::string>() : "";
    entry.holds.push_back(std::move(hold));
  }
  return entry;
}

std::string EncodeTombstone(const Tombstone& tombstone) {
  return json{{"unit", tombstone.unit},
              {"first", tombstone.first_sequence},
              {"end", tombstone.end_sequence},
              {"head", HexOf(tombstone.head)},
              {"root", HexOf(tombstone.root)},
              {"begun_ns", tombstone.begun_wall_ns},
              {"ended_ns", tombstone.ended_wall_ns},
              {"retention_s", tombstone.retention_s},
              {"age_s", tombstone.age_s},
              {"aged_s", tombstone.aged_s}}
      .dump();
}

Result<Tombstone> DecodeTombstone(ByteView payload) {
  const json object = json::parse(AsText(payload), nullptr, false);
  Tombstone tombstone;
  const bool good = object.is_object() && Number(object, "unit", tombstone.unit) &&
                    Number(object, "first", tombstone.first_sequence) &&
                    Number(object, "end", tombstone.end_sequence) && Digest(object, "head", tombstone.head) &&
                    Digest(object, "root", tombstone.root) && Number(object, "begun_ns", tombstone.begun_wall_ns) &&
                    Number(object, "ended_ns", tombstone.ended_wall_ns) &&
                    Number(object, "retention_s", tombstone.retention_s) && Number(object, "age_s", tombstone.age_s) &&
                    Number(object, "aged_s", tombstone.aged_s);
  if (!good || tombstone.first_sequence > tombstone.end_sequence)
    return Fail(Code::kCorrupt, "a tombstone that is none");
  return tombstone;
}

Result<UnitFacts> FactsOf(DeviceShelf& shelf, std::uint32_t unit) {
  STELE_TRY(const auto device, shelf.Open(unit, false));
  STELE_TRY(const Superblock superblock, ReadSuperblock(*device));
  UnitFacts facts{
      unit, superblock.first_sequence, superblock.head, superblock.frontier, superblock.created_wall_ns, std::nullopt};
  std::uint64_t at = limits::kSectorBytes;
  for (std::size_t i = 0; i < kBlocksLookedAt && !facts.declared; ++i) {
    const auto header = NextHeader(*device, unit, at);
    if (!header || header->size_bytes > device->size_bytes() - header->offset_bytes) break;
    at = header->offset_bytes + header->size_bytes;
    if (header->type != ledger::BlockType::kData) break;
    Bytes bytes(header->size_bytes);
    STELE_TRY_VOID(device->Read(header->offset_bytes, bytes));
    const auto block = ledger::DecodeBlock(bytes);
    for (std::size_t r = 0; block && r < block->kinds.size() && !facts.declared; ++r) {
      if (block->kinds[r] != static_cast<std::uint8_t>(record::Kind::kPolicy)) continue;
      facts.declared = DecodeRetention(block->Payload(r));
      if (facts.declared && (facts.declared->unit != unit || !facts.declared->begins)) facts.declared.reset();
    }
  }
  return facts;
}

Result<UnitEnd> EndOf(DeviceShelf& shelf, std::uint32_t unit) {
  STELE_TRY(const auto device, shelf.Open(unit, false));
  STELE_TRY(std::vector<ledger::Abandon> abandons, AbandonsIn(*device, unit));
  STELE_TRY(const std::vector<std::uint32_t> units, shelf.List());
  for (const std::uint32_t later : units) {  // a successor's superblock says what was given up here
    if (later <= unit) continue;
    STELE_TRY(const auto behind, shelf.Open(later, false));
    const auto superblock = ReadSuperblock(*behind);
    if (!superblock && superblock.error().code == Code::kIo) return tl::unexpected(superblock.error());
    if (superblock)
      abandons.insert(abandons.end(), superblock->abandons.begin(), superblock->abandons.end());
  }
  for (const std::uint32_t later : shelf.Expired()) {  // or its spine, where that can be read
    const auto bytes = later > unit ? shelf.Spine(later) : Fail(Code::kNotFound, "not asked for");
    const auto spine = bytes ? ledger::DecodeSpine(*bytes) : tl::unexpected(bytes.error());
    if (spine) abandons.insert(abandons.end(), spine->abandons.begin(), spine->abandons.end());
  }
  UnitScan scan(*device, unit, std::move(abandons));
  std::optional<UnitEnd> end;
  while (true) {
    STELE_TRY(const ScanStep step, scan.Next());
    if (step.what != ScanStep::What::kBlock) break;
    end = {step.header.end_sequence(), step.header.head, step.tables.frontier, step.header.commit_wall_ns};
    if (step.header.type == ledger::BlockType::kSeal) break;
  }
  if (end) return std::move(*end);
  STELE_TRY(const Superblock superblock, ReadSuperblock(*device));  // without a block it ends where it begins
  return UnitEnd{superblock.first_sequence, superblock.head, superblock.frontier, superblock.created_wall_ns};
}

const Hold* HeldBy(const std::vector<Hold>& holds, std::int64_t begun_wall_ns, std::int64_t ended_wall_ns) {
  const auto at = std::find_if(holds.begin(), holds.end(), [=](const Hold& hold) {
    return hold.from_ns <= ended_wall_ns && begun_wall_ns < hold.to_ns;
  });
  return at == holds.end() ? nullptr : &*at;
}

std::vector<Tombstone> WhatExpired(const std::vector<UnitFacts>& units, const RetentionNow& now,
                                   const std::function<Result<UnitEnd>(std::uint32_t unit)>& end_of) {
  std::vector<Tombstone> expired;
  if (now.retention_s <= 0 || !now.clock_ms) return expired;
  for (std::size_t i = 0; i + kUnitsThatStay < units.size(); ++i) {
    const UnitFacts& unit = units[i];
    const UnitFacts& next = units[i + 1];
    Tombstone tombstone;
    tombstone.unit = unit.unit;
    tombstone.first_sequence = unit.first_sequence;
    tombstone.begun_wall_ns = unit.begun_wall_ns;
    tombstone.ended_wall_ns = next.begun_wall_ns;
    tombstone.retention_s = PromisedS(units, i, now);
    tombstone.age_s = (now.wall_ns - next.begun_wall_ns) / kNsPerSecond;
    const auto aged_s = AgedS(units, i, now);
    if (!aged_s || *aged_s < tombstone.retention_s || tombstone.age_s < tombstone.retention_s) continue;
    tombstone.aged_s = *aged_s;
    if (HeldBy(now.holds, unit.begun_wall_ns, next.begun_wall_ns) != nullptr) continue;
    UnitEnd end{next.first_sequence, next.previous_head, next.frontier, next.begun_wall_ns};
    if (next.unit != unit.unit + 1) {
      auto found = end_of(unit.unit);
      if (!found) continue;  // not readable: what is damaged stays
      end = std::move(*found);
    }
    const auto frontier = ledger::Frontier::FromHashes(0, end.end_sequence, end.frontier);
    if (!frontier || end.end_sequence > now.anchored_size) continue;
    tombstone.end_sequence = end.end_sequence;
    tombstone.head = end.head;
    tombstone.root = frontier->Root();
    expired.push_back(tombstone);
  }
  return expired;
}

}  // namespace stele::store
