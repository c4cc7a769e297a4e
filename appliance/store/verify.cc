#include "appliance/store/verify.h"

#include <algorithm>
#include <deque>
#include <future>
#include <map>
#include <nlohmann/json.hpp>

#include "appliance/base/limits.h"
#include "appliance/ledger/spine.h"
#include "appliance/store/expiry.h"
#include "appliance/store/unit_scan.h"

namespace stele::store {
namespace {

using limits::kSectorBytes;
constexpr std::size_t kBlocksInFlight = 2;  // one a core

std::string RangeText(std::uint64_t first, std::uint64_t end) {
  if (end == first + 1) return "record " + std::to_string(first);
  return "records " + std::to_string(first) + " to " + std::to_string(end - 1);
}

// The signed note inside a checkpoint entry's payload (docs/entries.md); empty when there is none.
std::string NoteOfIntent(ByteView payload) {
  const auto json = nlohmann::json::parse(AsText(payload), nullptr, false);
  const auto note = json.is_object() ? json.find("note") : json.end();
  return json.is_object() && note != json.end() && note->is_string() ? note->get<std::string>() : std::string();
}

// What one block says of itself, recomputed from its payloads.
struct BlockCheck {
  ledger::BlockHeader header;
  ledger::BlockTables tables;
  std::vector<Hash> leaves;
  struct Landmark {
    record::Kind kind;
    std::uint64_t sequence = 0;
    std::int64_t wall_ns = 0;
    Bytes payload;
  };
  std::vector<Landmark> landmarks;
  std::uint64_t ordinary_records = 0;  // neither checkpoint nor anchor
  std::optional<Place> bad;
  std::string detail;
  bool tampered = false;  // checksums right, hashes wrong: no accident
};

Place PlaceOf(const ledger::BlockHeader& h, std::string what, std::uint64_t first, std::uint64_t end) {
  return {std::move(what), h.unit, h.offset_bytes, first, end};
}

// The first record whose leaf no longer begins with its stored hint, else the first frame that does not decompress.
void Localise(const ledger::DecodedBlock& block, const std::vector<Hash>& leaves, BlockCheck& check) {
  const std::uint64_t first = block.header.first_sequence;
  for (std::size_t f = 0; f < block.tables.frames.size(); ++f) {
    const ledger::BlockFrame& frame = block.tables.frames[f];
    const std::uint64_t begin = first + frame.first_record;
    if (block.frame_bad[f]) {
      check.bad = PlaceOf(block.header, "frame", begin, begin + frame.record_count);
      check.detail = "frame " + std::to_string(f) + " of its block does not decompress: " +
                     RangeText(begin, begin + frame.record_count);
      return;
    }
    for (std::size_t i = frame.first_record; i < frame.first_record + frame.record_count; ++i) {
      if (LoadLittle<std::uint32_t>(leaves[i].data()) == block.hints[i]) continue;
      check.bad = PlaceOf(block.header, "record", first + i, first + i + 1);
      check.detail = RangeText(first + i, first + i + 1) + " does not match its hash";
      return;
    }
    if (frame.head != leaves[frame.first_record + frame.record_count - 1]) {
      check.bad = PlaceOf(block.header, "frame", begin, begin + frame.record_count);
      check.detail = "frame " + std::to_string(f) + " does not end in its chain head";
      return;
    }
  }
}

BlockCheck CheckBlock(const ScanStep& step) {
  BlockCheck check;
  check.header = step.header;
  check.tables = step.tables;
  const std::uint64_t first = step.header.first_sequence;
  const std::uint64_t end = step.header.end_sequence();
  if (step.header.type == ledger::BlockType::kSeal) {
    // Everything after the tables must be zero, and the sectors must match.
    if (!step.bad_sectors.empty()) {
      check.bad = PlaceOf(step.header, "block", first, end);
      check.detail = "the seal does not match its checksums";
    }
    return check;
  }
  auto block = ledger::DecodeBlock(step.bytes, true);
  if (!block) {
    check.bad = PlaceOf(step.header, "block", first, end);
    check.detail = block.error().context;
    check.tampered = step.bad_sectors.empty();
    return check;
  }
  for (const record::EntryBytes& entry : block->Entries()) check.leaves.push_back(LeafHash(entry));
  const bool whole = step.bad_sectors.empty() && check.leaves.back() == step.header.head;
  Localise(*block, check.leaves, check);
  if (!check.bad && !whole) {
    const bool only_sectors = !step.bad_sectors.empty();
    check.bad = PlaceOf(step.header, only_sectors ? "padding" : "block", first, end);
    check.detail = only_sectors ? "sector " + std::to_string(step.bad_sectors[0]) + " of the block is altered outside its records"
                                : "the block does not end in its chain head";
  }
  if (check.bad) {
    check.tampered = step.bad_sectors.empty();
    return check;
  }
  for (std::size_t i = 0; i < block->kinds.size(); ++i) {
    const auto kind = static_cast<record::Kind>(block->kinds[i]);
    if (kind != record::Kind::kCheckpoint && kind != record::Kind::kAnchor) ++check.ordinary_records;
    const bool epoch = kind == record::Kind::kEpoch && first + i > 0;
    const bool of_retention = kind == record::Kind::kTombstone || kind == record::Kind::kPolicy;
    if (kind != record::Kind::kCheckpoint && kind != record::Kind::kAnchor && !epoch && !of_retention) continue;
    check.landmarks.push_back({kind, first + i, block->wall_ns[i], ToBytes(block->Payload(i))});
  }
  return check;
}

class Verifier {
 public:
  Verifier(DeviceShelf& shelf, const VerifyOptions& options)
      : shelf_(shelf), options_(options), checkpoint_key_(options.checkpoint_key) {}

  Result<VerifyReport> Run() {
    STELE_TRY(const std::vector<std::uint32_t> units, shelf_.List());
    STELE_TRY(abandons_, AbandonsInAll(shelf_));
    for (const ledger::Abandon& abandon : abandons_) report_.abandoned_bytes += abandon.to - abandon.from;
    for (const std::uint32_t unit : units) {
      while (next_unit_ < unit) {
        STELE_TRY(const bool taken, TakeSpine(next_unit_));
        if (!taken) break;
        ++next_unit_;
      }
      if (report_.first_bad) break;
      if (unit != next_unit_ && !Bad(Missing(next_unit_), "segment " + std::to_string(next_unit_) + " is missing", false)) break;
      next_unit_ = unit + 1;
      STELE_TRY(const bool last, NothingBehind(unit, units));
      STELE_TRY_VOID(CheckUnit(unit, last));
      if (report_.first_bad) break;
    }
    Finish(units.empty());
    return std::move(report_);
  }

 private:
  // No later unit was ever begun: what a crash or a full disk may leave behind the last block holds no superblock.
  Result<bool> NothingBehind(std::uint32_t unit, const std::vector<std::uint32_t>& units) {
    for (auto later = units.rbegin(); later != units.rend() && *later > unit; ++later) {
      STELE_TRY(const auto device, shelf_.Open(*later, false));
      const auto superblock = ReadSuperblock(*device);
      if (!superblock && superblock.error().code == Code::kIo) return tl::unexpected(superblock.error());
      if (superblock || superblock.error().code != Code::kNotFound) return false;
    }
    return true;
  }
  // Always false: there is nothing to go on with.
  bool Bad(Place place, std::string detail, bool tampered) {
    report_.word = tampered ? "TAMPERED" : "DAMAGED";
    report_.first_bad = std::move(place);
    report_.detail = std::move(detail);
    return false;
  }
  Place Missing(std::uint32_t unit) const { return {"segment", unit, 0, report_.records, report_.records}; }

  Result<void> CheckUnit(std::uint32_t unit, bool last);
  bool CheckSuperblock(Device& device, std::uint32_t unit, bool last, ByteView sector);
  bool Take(BlockCheck check);
  Result<bool> TakeSpine(std::uint32_t unit);
  bool TakeKept(const ledger::Spine& spine);
  bool TakeTombstone(const BlockCheck::Landmark& landmark);
  void TakeRetention(const BlockCheck::Landmark& landmark);
  void TakeReceipt(const BlockCheck::Landmark& landmark);
  std::string FaultOf(const Tombstone& tombstone, std::uint64_t sequence) const;
  void JudgeExpired();
  bool TakeCheckpoint(const BlockCheck::Landmark& landmark);
  bool TakeEpoch(const BlockCheck::Landmark& landmark);
  void Finish(bool empty);
  bool Drain(std::size_t leave);

  DeviceShelf& shelf_;
  const VerifyOptions& options_;
  std::optional<ledger::VerifyKey> checkpoint_key_;  // of the epoch
  VerifyReport report_;
  std::uint32_t next_unit_ = 0;
  bool have_log_id_ = false;
  bool torn_end_ = false;
  std::vector<ledger::Abandon> abandons_;
  struct Border {
    Hash root{};
    std::uint64_t ordinary_records = 0;  // below it
  };
  std::map<std::uint64_t, Border> borders_;  // ends of blocks, by tree size, from the newest checkpoint on
  std::map<std::uint64_t, Border>::iterator BorderAt(std::uint64_t size);
  std::deque<ledger::Spine> spines_;  // of expired units that reach above the newest checkpoint
  std::uint64_t ordinary_records_ = 0;
  ledger::Frontier whole_tiles_;
  ledger::CompactRange tile_;
  struct Gone {
    Place place;
    Hash head{};
    Hash root{};
  };
  std::vector<Gone> gone_;  // expired units
  struct Order {
    std::uint64_t sequence = 0;
    Tombstone tombstone;
  };
  std::vector<Order> orders_;
  struct Declared {
    std::uint64_t sequence = 0;
    RetentionEntry entry;
  };
  std::vector<Declared> declared_;
  std::uint64_t anchored_size_ = 0;  // of the newest receipt's checkpoint
  std::deque<std::future<BlockCheck>> in_flight_;
  std::optional<Place> last_block_;
};

bool Verifier::CheckSuperblock(Device& device, std::uint32_t unit, bool last, ByteView sector) {
  const auto superblock = DecodeSuperblock(sector);
  const Place place{"superblock", unit, 0, report_.records, report_.records};
  if (!superblock) {
    if (superblock.error().code == Code::kNotFound && last) return false;  // made and not begun: a spare
    return Bad(place, superblock.error().context, false);
  }
  if (superblock->unit != unit) return Bad(place, "superblock of unit " + std::to_string(superblock->unit), true);
  if (superblock->size_bytes != device.size_bytes()) return Bad(place, "the segment is not as large as its superblock says", false);
  const Hash wanted_id = have_log_id_ ? report_.log_id : options_.log_id.value_or(superblock->log_id);
  if (superblock->log_id != wanted_id) return Bad(place, "the segment belongs to another log", true);
  if (!have_log_id_) {
    report_.log_id = superblock->log_id;
    report_.head = superblock->log_id;
    have_log_id_ = true;
  }
  if (superblock->first_sequence != report_.records || superblock->head != report_.head ||
      superblock->frontier != report_.frontier.Hashes()) {
    const Place before = last_block_.value_or(place);
    return Bad(superblock->first_sequence == report_.records ? before : place,
               "the segment does not continue the log at record " + std::to_string(report_.records), true);
  }
  return true;
}

Result<void> Verifier::CheckUnit(std::uint32_t unit, bool last) {
  STELE_TRY(const auto device, shelf_.Open(unit, false));
  Bytes sector(kSectorBytes);
  if (device->size_bytes() >= kSectorBytes) STELE_TRY_VOID(device->Read(0, sector));
  if (AbandonedTo(abandons_, unit, 0)) return {};  // it never got its superblock; its successor says so
  if (!CheckSuperblock(*device, unit, last, sector)) return {};
  ++report_.units;
  UnitScan scan(*device, unit, abandons_);
  bool sealed = false;
  while (true) {
    STELE_TRY(ScanStep step, scan.Next());
    if (step.what == ScanStep::What::kBlock && !sealed) {
      sealed = step.header.type == ledger::BlockType::kSeal;
      in_flight_.push_back(std::async(std::launch::async, [s = std::move(step)] { return CheckBlock(s); }));
      if (!Drain(kBlocksInFlight)) return {};
      continue;
    }
    if (!Drain(0)) return {};
    if (step.what == ScanStep::What::kEnd) return {};
    const Place place{"block", unit, step.offset_bytes, report_.records, report_.records};
    if (step.what == ScanStep::What::kBlock) {
      Bad(place, "bytes behind the seal of the segment", true);
    } else if (step.what == ScanStep::What::kTorn && last) {
      torn_end_ = true;
      report_.abandoned_bytes += step.end_bytes - step.offset_bytes;
    } else if (step.header_good && step.header.first_sequence == report_.records) {
      Take(CheckBlock(step));
    } else {
      Bad(place, step.detail.empty() ? "bytes that are no block" : step.detail, false);
    }
    return {};
  }
}

bool Verifier::Drain(std::size_t leave) {
  while (in_flight_.size() > leave) {
    BlockCheck check = in_flight_.front().get();
    in_flight_.pop_front();
    if (report_.first_bad) continue;  // let the rest run out
    Take(std::move(check));
  }
  return !report_.first_bad.has_value();
}

// Links a block to what came before, extends the tree, judges its checkpoints.
bool Verifier::Take(BlockCheck check) {
  const ledger::BlockHeader& h = check.header;
  const Place place = PlaceOf(h, "block", h.first_sequence, h.end_sequence());
  if (h.first_sequence != report_.records) {
    return Bad(place, "the block begins at record " + std::to_string(h.first_sequence) + ", expected " +
                          std::to_string(report_.records), true);
  }
  if (h.previous_head != report_.head) {
    // This block names another past: the one before it was recomputed, or this one was put here.
    return Bad(last_block_.value_or(place), "the block is whole in itself but is not the one its successor follows", true);
  }
  if (check.bad) return Bad(*check.bad, check.detail, check.tampered);
  std::vector<Hash> tile_roots;
  ledger::CompactRange tile = tile_;
  for (const Hash& leaf : check.leaves) {
    tile.Push(leaf);
    if (tile.end() % limits::kTileLeaves != 0) continue;
    tile_roots.push_back(tile.Hashes().front());
    whole_tiles_.PushSubtree(8, tile_roots.back());
    tile = ledger::CompactRange(tile.end());
  }
  tile_ = std::move(tile);
  ledger::Frontier frontier = whole_tiles_;
  STELE_CHECK(frontier.Extend(tile_).has_value());
  if (frontier.Hashes() != check.tables.frontier || tile_roots != check.tables.tile_roots) {
    return Bad(place, "the block's tree nodes do not match its records", true);
  }
  report_.frontier = std::move(frontier);
  report_.records = h.end_sequence();
  report_.head = h.head;
  report_.payload_bytes += h.payload_bytes;
  if (h.type == ledger::BlockType::kData) ++report_.blocks;
  last_block_ = place;
  ordinary_records_ += check.ordinary_records;
  borders_[report_.records] = {report_.frontier.Root(), ordinary_records_};
  for (const BlockCheck::Landmark& landmark : check.landmarks) {
    if (landmark.kind == record::Kind::kEpoch) {
      if (!TakeEpoch(landmark)) return false;
      continue;
    }
    if (landmark.kind == record::Kind::kTombstone) {
      if (!TakeTombstone(landmark)) return false;
      continue;
    }
    if (landmark.kind == record::Kind::kPolicy) {
      TakeRetention(landmark);
      continue;
    }
    if (landmark.kind == record::Kind::kCheckpoint && !TakeCheckpoint(landmark)) return false;
    if (landmark.kind == record::Kind::kAnchor) TakeReceipt(landmark);
    if (options_.on_entry) options_.on_entry(landmark.kind, landmark.sequence, landmark.payload);
  }
  if (options_.on_progress) options_.on_progress(report_.records);
  return true;
}

// Within an expired unit commits are not known any more; the sizes that checkpoints are about are.
std::map<std::uint64_t, Verifier::Border>::iterator Verifier::BorderAt(std::uint64_t size) {
  const auto border = borders_.find(size);
  if (border != borders_.end() || size < report_.checkpoint_size) return border;
  std::optional<Hash> root;
  for (const ledger::Spine& spine : spines_) root = root ? root : ledger::RootAt(spine, size);
  if (!root) return border;
  // Its records are counted as ordinary ones; only what is above the newest checkpoint counts.
  return borders_.emplace(size, Border{*root, ordinary_records_ - std::min(ordinary_records_, report_.records - std::min(report_.records, size))}).first;
}

bool Verifier::TakeTombstone(const BlockCheck::Landmark& landmark) {
  auto tombstone = DecodeTombstone(landmark.payload);
  const Place entry{"record", last_block_->unit, last_block_->offset_bytes, landmark.sequence, landmark.sequence + 1};
  if (!tombstone) return Bad(entry, "tombstone entry " + std::to_string(landmark.sequence) + ": " + tombstone.error().context, true);
  orders_.push_back({landmark.sequence, std::move(*tombstone)});
  return true;
}

void Verifier::TakeRetention(const BlockCheck::Landmark& landmark) {
  if (auto entry = DecodeRetention(landmark.payload)) declared_.push_back({landmark.sequence, std::move(*entry)});
}

void Verifier::TakeReceipt(const BlockCheck::Landmark& landmark) {
  const auto size = ledger::SizeOfIntent(landmark.payload);  // a receipt names it in the same way
  if (size && *size <= report_.records) anchored_size_ = std::max(anchored_size_, *size);
}

// Empty: the log itself says nothing against it. What was promised stands at the beginning of each unit; what was held, in each declaration.
std::string Verifier::FaultOf(const Tombstone& tombstone, std::uint64_t sequence) const {
  std::int64_t promised_s = tombstone.retention_s;
  const std::vector<Hold>* holds = nullptr;
  for (const Declared& declared : declared_) {
    if (declared.sequence >= sequence) break;
    holds = &declared.entry.holds;
    if (declared.entry.begins && declared.entry.unit >= tombstone.unit) promised_s = std::max(promised_s, declared.entry.retention_s);
  }
  if (promised_s <= 0) return "nothing was to expire";
  if (tombstone.age_s < promised_s || tombstone.aged_s < promised_s) return "it came too early";
  const Hold* hold = holds == nullptr ? nullptr : HeldBy(*holds, tombstone.begun_wall_ns, tombstone.ended_wall_ns);
  return hold == nullptr ? "" : "it was held by " + hold->name;
}

void Verifier::JudgeExpired() {
  for (const Gone& gone : gone_) {
    std::string fault = "no tombstone below an anchored checkpoint says that its records have expired";
    bool ordered = false;
    for (const Order& order : orders_) {
      const Tombstone& t = order.tombstone;
      const bool names_it = t.unit == gone.place.unit && t.first_sequence == gone.place.first_sequence && t.end_sequence == gone.place.end_sequence &&
                            t.head == gone.head && t.root == gone.root && order.sequence >= t.end_sequence;
      if (!names_it || order.sequence >= std::min(anchored_size_, report_.checkpoint_size)) continue;
      const std::string against = FaultOf(t, order.sequence);
      ordered = ordered || against.empty();
      fault = "its tombstone is none: " + against;
    }
    if (ordered) continue;
    Bad(gone.place, "segment " + std::to_string(gone.place.unit) + " is missing and " + fault, true);
    return;
  }
}

// An expired unit. False: there is no spine, or it is not right.
Result<bool> Verifier::TakeSpine(std::uint32_t unit) {
  const auto bytes = shelf_.Spine(unit);
  if (!bytes) {
    if (bytes.error().code == Code::kNotFound) return false;
    return tl::unexpected(bytes.error());
  }
  const Place place{"segment", unit, 0, report_.records, report_.records};
  const auto spine = ledger::DecodeSpine(*bytes);
  if (!spine) return Bad(place, "segment " + std::to_string(unit) + " has expired and its spine is damaged: " + spine.error().context, false);
  const Hash wanted_id = have_log_id_ ? report_.log_id : options_.log_id.value_or(spine->log_id);
  if (spine->unit != unit || spine->log_id != wanted_id) return Bad(place, "the spine of segment " + std::to_string(unit) + " is another one", true);
  if (!have_log_id_) {
    report_.log_id = spine->log_id;
    report_.head = spine->log_id;
    have_log_id_ = true;
  }
  const auto frontier = ledger::CheckSpine(*spine);
  if (!frontier) return Bad(place, "the spine of segment " + std::to_string(unit) + " is not one of this log's tree: " + frontier.error().context, true);
  if (spine->first_sequence != report_.records || spine->previous_head != report_.head || spine->frontier != report_.frontier.Hashes()) {
    return Bad(last_block_.value_or(place), "the spine of segment " + std::to_string(unit) + " does not continue the log at record " +
                                               std::to_string(report_.records), true);
  }
  while (!spines_.empty() && spines_.front().end_sequence < report_.checkpoint_size) spines_.pop_front();
  spines_.push_back(*spine);
  spines_.back().entries.clear();  // the nodes are wanted
  if (!TakeKept(*spine)) return false;
  report_.frontier = *frontier;
  report_.records = spine->end_sequence;
  report_.head = spine->head;
  const bool given_up = spine->first_sequence == spine->end_sequence && spine->entries.empty();  // nothing of it reached a medium
  if (!given_up) ++report_.expired_units;
  report_.expired_records += spine->end_sequence - spine->first_sequence;
  ordinary_records_ += spine->end_sequence - spine->first_sequence;
  const std::uint64_t whole = report_.records / limits::kTileLeaves * limits::kTileLeaves;
  const auto hashes = report_.frontier.Hashes();
  const auto split = static_cast<std::ptrdiff_t>(ledger::SubtreeLevels(0, whole).size());
  STELE_TRY(whole_tiles_, ledger::Frontier::FromHashes(0, whole, {hashes.begin(), hashes.begin() + split}));
  STELE_TRY(tile_, ledger::CompactRange::FromHashes(whole, report_.records, {hashes.begin() + split, hashes.end()}));
  borders_[report_.records] = {report_.frontier.Root(), ordinary_records_};
  last_block_ = place;
  if (!given_up) gone_.push_back({{"segment", unit, 0, spine->first_sequence, spine->end_sequence}, report_.head, report_.frontier.Root()});
  return true;
}

// What a spine keeps of the log's own entries, as if they were read from their blocks.
bool Verifier::TakeKept(const ledger::Spine& spine) {
  last_block_ = Place{"segment", spine.unit, 0, spine.first_sequence, spine.end_sequence};
  for (const auto& [sequence, kept] : spine.entries) {
    const record::Entry entry = kept.Decoded();
    BlockCheck::Landmark landmark{entry.kind, sequence, entry.receive_wall_ns, kept.payload};
    if (entry.kind == record::Kind::kTombstone && !TakeTombstone(landmark)) return false;
    if (entry.kind == record::Kind::kPolicy) TakeRetention(landmark);
    if (entry.kind == record::Kind::kAnchor) TakeReceipt(landmark);
    if (entry.kind == record::Kind::kEpoch && sequence > 0 && !TakeEpoch(landmark)) return false;
    if (entry.kind == record::Kind::kCheckpoint && !TakeCheckpoint(landmark)) return false;
    const bool told = entry.kind == record::Kind::kCheckpoint || entry.kind == record::Kind::kAnchor;
    if (told && options_.on_entry) options_.on_entry(entry.kind, sequence, kept.payload);
  }
  return true;
}

bool Verifier::TakeCheckpoint(const BlockCheck::Landmark& landmark) {
  const Place entry{"record", last_block_->unit, last_block_->offset_bytes, landmark.sequence, landmark.sequence + 1};
  const std::string note = NoteOfIntent(landmark.payload);
  if (note.empty()) return Bad(entry, "checkpoint entry " + std::to_string(landmark.sequence) + " holds no note", true);
  ledger::Checkpoint checkpoint;
  if (checkpoint_key_) {
    const auto opened = ledger::OpenCheckpoint(note, *checkpoint_key_);
    if (!opened) {
      return Bad(entry, "checkpoint entry " + std::to_string(landmark.sequence) + ": " + opened.error().context, true);
    }
    checkpoint = opened->checkpoint;
    report_.signatures_checked = true;
  } else {
    const auto parsed = ledger::ParseNote(note);
    const auto text = parsed ? ledger::ParseCheckpoint(parsed->text) : Fail(Code::kInvalid, "not a note");
    if (!text) return Bad(entry, "checkpoint entry " + std::to_string(landmark.sequence) + " holds no checkpoint", true);
    checkpoint = *text;
  }
  const Place interval{"interval", last_block_->unit, last_block_->offset_bytes, report_.checkpoint_size, checkpoint.size};
  const auto border = BorderAt(checkpoint.size);
  if (border == borders_.end()) {
    return Bad(interval, "the checkpoint of size " + std::to_string(checkpoint.size) + " does not end where a commit ended", true);
  }
  if (border->second.root != checkpoint.root) {
    return Bad(interval, RangeText(interval.first_sequence, interval.end_sequence) +
                             " were recomputed: the signed root of size " + std::to_string(checkpoint.size) + " differs", true);
  }
  ++report_.checkpoints;
  report_.checkpoint_size = checkpoint.size;
  report_.checkpoint_wall_ns = landmark.wall_ns;
  borders_.erase(borders_.begin(), border);
  return true;
}

// The entry begins its block, so the tree before it is that of a border.
bool Verifier::TakeEpoch(const BlockCheck::Landmark& landmark) {
  if (!options_.on_epoch) return true;
  const Place entry{"record", last_block_->unit, last_block_->offset_bytes, landmark.sequence, landmark.sequence + 1};
  const auto border = BorderAt(landmark.sequence);
  if (border == borders_.end()) return Bad(entry, "an epoch entry within a commit", true);
  auto key = options_.on_epoch(landmark.sequence, border->second.root, landmark.payload);
  if (!key) return Bad(entry, key.error().context, true);
  checkpoint_key_ = std::move(*key);
  return true;
}

void Verifier::Finish(bool empty) {
  report_.root = report_.frontier.Root();
  if (report_.first_bad) return;
  JudgeExpired();
  if (report_.first_bad) return;
  if (empty) {
    report_.word = "CANNOT_TELL";
    report_.detail = "there is no segment here";
    return;
  }
  const auto signed_border = borders_.find(report_.checkpoint_size);
  report_.tail_records = ordinary_records_ - (signed_border == borders_.end() ? 0 : signed_border->second.ordinary_records);
  if (torn_end_) {
    report_.word = "RECOVERED_CRASH";
    report_.detail = "the last write did not reach the medium; nothing before it is missing";
  } else if (report_.tail_records > 0) {
    report_.word = "OK_UNANCHORED_TAIL";
    report_.detail = std::to_string(report_.tail_records) + " records above the newest checkpoint";
  } else {
    report_.word = "OK";
  }
}

}  // namespace

Result<VerifyReport> VerifyStore(DeviceShelf& shelf, const VerifyOptions& options) { return Verifier(shelf, options).Run(); }

}  // namespace stele::store
