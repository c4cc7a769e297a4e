#include "tests/sim/machine.h"

#include <set>

#include "appliance/store/lookup.h"

namespace stele::sim {
namespace {

using record::Kind;
constexpr std::string_view kOrigin = "stele.invalid/log/simulation";
constexpr std::int64_t kNsPerMs = 1'000'000;
constexpr int kBootsMax = 200;
constexpr std::uint64_t kAheadBytes = Machine::kSegmentBytes / 3;

anchor::AnchorKeys Keys() {
  auto keys = anchor::DeriveKeys(anchor::Secret(Sha256Of(AsBytes("a seed for the simulation"))), kOrigin);
  STELE_CHECK(keys.has_value());
  return std::move(*keys);
}

}  // namespace

Machine::Machine(std::uint64_t seed, std::uint32_t partitions)
    : random(seed), tpm(seed), entropy(seed), slots{FaultySlot(faults), FaultySlot(faults)}, faulty_tpm_(tpm, faults), key_(Keys().note_key.verify_key()) {
  config_.origin = kOrigin;
  config_.log_id = Sha256Of(AsBytes("a provisioning record"));
  config_.pins.identity = tpm.PinnedIdentity();
  config_.pins.receipt = {config_.log_id,          tpm.AkPublicPem(), 14, config_.pins.identity.counter_name, config_.pins.identity.index_name,
                          SimTpm::kCounterStart};
  config_.pins.index_start = tpm.IndexStart();
  config_.pins.reset_count = 1;
  config_.pins.software_tpm = true;
  for (std::uint32_t i = 0; i < partitions; ++i) STELE_CHECK(shelf.Create(i, kSegmentBytes + limits::kSectorBytes).has_value());
  shelf.can_refuse_writes = partitions > 0;
  on_partitions_ = partitions > 0;
  shelf.SetFaultPlan([this](std::string_view operation) { return faults.ForDisk(operation); });
}

Result<DeviceShelf*> Machine::Look(std::unique_ptr<store::PartitionShelf>& partitions) {
  if (!on_partitions_) return &shelf;
  std::vector<store::Partition> media;
  for (const auto& [number, unit] : shelf.units()) {
    STELE_TRY(auto device, shelf.Open(number, true));
    media.push_back({"partition " + std::to_string(number), std::move(device), !unit->read_only});
  }
  STELE_TRY(partitions, store::PartitionShelf::Open(std::move(media), config_.log_id, kSegmentBytes));
  return partitions.get();
}

void Machine::CheckDisk(const char* when) {
  std::unique_ptr<store::PartitionShelf> partitions;
  const auto log = Look(partitions);
  if (!log) return oracle.Complain(std::string("partitions: ") + log.error().context);
  oracle.CheckDisk(**log, anchor_key(), log_id(), when);
}

// ledger_startup.cc: DescribeLog
Result<channel::LogState> Machine::Describe() const {
  channel::LogState state;
  DeviceShelf& disk = *log_;
  state.log_id = config_.log_id;
  if (!tail_.fresh) {
    state.size = tail_.size();
    state.frontier = tail_.frontier().Hashes();
  }
  STELE_TRY(const auto edge, ledger::Frontier::FromHashes(0, state.size, state.frontier));
  state.root = edge.Root();
  if (landmarks_.anchor != ledger::kNoSequence) {
    STELE_TRY(const Bytes payload, store::PayloadAt(disk, landmarks_.anchor));
    state.last_receipt = std::string(AsText(payload));
  }
  std::set<std::uint64_t> wanted;
  for (const std::uint64_t s : {landmarks_.anchor_checkpoint, landmarks_.previous_checkpoint, landmarks_.checkpoint}) {
    if (s != ledger::kNoSequence) wanted.insert(s);
  }
  for (const std::uint64_t s : wanted) {
    STELE_TRY(const Bytes payload, store::PayloadAt(disk, s));
    state.intents.emplace_back(AsText(payload));
  }
  state.bytes_valid = !tail_.damaged && tail_.quarantined_records == 0;
  std::uint64_t signed_size = 0;
  if (!state.intents.empty()) {
    STELE_TRY(const auto newest, anchor::DecodeIntent(state.intents.back(), key_));
    signed_size = newest.size;
  }
  STELE_TRY(const store::TailSummary unsigned_tail, store::SummarizeFrom(disk, signed_size, state.size));
  state.tail_records = unsigned_tail.records;
  state.tail_since_wall_ns = unsigned_tail.since_wall_ns;
  return state;
}

// ledger_startup.cc: StartLedger
Result<void> Machine::Recover() {
  STELE_TRY(log_, Look(partitions_));
  STELE_TRY(tail_, store::ReadTail(*log_));
  if (!anchor_) anchor_ = std::make_unique<anchor::Anchor>(faulty_tpm_, clock, slots[0], slots[1], Keys(), config_);
  anchor_->Reset();
  channel::KeysRequest keys;
  keys.sessions = tail_.sessions();
  entropy.Fill(keys.new_session);
  STELE_TRY(const channel::KeysAnswer granted, anchor_->Keys(keys));
  store::Authenticate(tail_, [&](const Hash& session) -> std::optional<Hash> {
    for (std::size_t i = 0; i < keys.sessions.size(); ++i) {
      if (keys.sessions[i] == session) return granted.keys[i];
    }
    return std::nullopt;
  });
  STELE_TRY_VOID(store::MakeDurable(*log_, tail_));
  landmarks_ = tail_.fresh ? ledger::Landmarks() : tail_.landmarks();
  STELE_TRY(const channel::LogState state, Describe());
  verdict_ = anchor_->Recover(state);
  signed_size_ = anchor_->signed_size();
  auto range = store::RangeOf(*log_, signed_size_, state.size);
  unsigned_range_ = range ? std::optional(std::move(*range)) : std::nullopt;
  STELE_TRY(store_, store::Store::Open(*log_, clock, {kSegmentBytes, ledger::Codec::kLz4}, tail_, config_.log_id,
                                       {keys.new_session, granted.new_key}));
  sequencer_ = tail_.fresh ? ledger::Sequencer(config_.log_id) : ledger::Sequencer(tail_.head(), tail_.frontier());
  sequencer_->StartRange();
  intent_lost_ = false;
  return {};
}

channel::Verdict Machine::Judge() {
  const auto recovered = Recover();
  if (!recovered) return {"UNREADABLE", {}, recovered.error().context, false, std::nullopt};
  return verdict_;
}

void Machine::Boot() {
  const auto recovered = Recover();
  if (!recovered) {
    store_.reset();
    if (recovered.error().code == Code::kIo) throw SimCrash();  // the process ends and is started again
    oracle.Complain("recovery: " + recovered.error().context);
    throw SimCrash();
  }
  oracle.Recovered(tail_);
  oracle.CheckVerdict(verdict_.word, verdict_.detail);
  CheckDisk("after recovery");
  ledger::Batch batch;
  AddOwn(batch, Kind::kLifecycle, R"({"event":"start"})");
  const bool with_receipt = verdict_.late_receipt.has_value();
  if (with_receipt) AddOwn(batch, Kind::kAnchor, *verdict_.late_receipt);
  if (!CommitAll(std::move(batch))) {
    intent_lost_ = true;
  } else if (with_receipt) {
    if (!anchor_->ReceiptDurable()) oracle.Complain("the anchor does not know its late receipt");
    oracle.ReceiptDurable(*verdict_.late_receipt);
  }
  Follow("after the start");
}

void Machine::Follow(const char* when) {
  if (!follower_) {
    const auto log = Look(follower_partitions_);
    if (!log) return oracle.Complain(std::string("follower: ") + log.error().context);
    auto reader = store::LogReader::Open(**log, 0);
    if (!reader) return oracle.Complain(std::string("follower: ") + reader.error().context);
    follower_ = std::move(*reader);
  }
  if (const auto refreshed = follower_->Refresh(oracle.size()); !refreshed) return oracle.Complain("follower: " + refreshed.error().context);
  oracle.CheckReader(*follower_, std::string("follower ") + when);
}

void Machine::BootThrough() {
  for (int i = 0; i < kBootsMax; ++i) {
    try {
      Boot();
      return;
    } catch (const SimCrash&) {
      Down(static_cast<Crash>(Draw(3)));
    }
    if (!oracle.complaints().empty()) return;
  }
  oracle.Complain("the machine does not come up");
}

void Machine::Down(Crash crash) {
  store_.reset();
  sequencer_.reset();
  if (crash != Crash::kLedger || faults.in_anchor) anchor_.reset();
  faults.in_anchor = false;
  if (crash != Crash::kPower) return;
  follower_.reset();
  shelf.Crash(random);
  if (Draw(4) == 0) {
    tpm.Restart();
  } else {
    tpm.Reboot();
  }
  clock.boottime_ns = 1'000'000'000;
}

ledger::Batch Machine::RandomBatch(std::size_t count, std::size_t payload_bytes_max) {
  ledger::Batch batch;
  record::SaltKey key;
  entropy.Fill(key);
  for (std::size_t i = 0; i < count; ++i) {
    Bytes payload(Draw(payload_bytes_max + 1));
    for (auto& b : payload) b = static_cast<std::byte>('a' + random() % 26);
    record::Peer peer{};
    peer[15] = static_cast<std::byte>(Draw(3));
    clock.Advance(1000);
    batch.Add(Kind::kSyslog, static_cast<std::uint16_t>(Draw(4)), static_cast<std::uint32_t>(Draw(3)), clock.WallNs(), peer,
              record::CommitPayload(record::DeriveSalt(key, static_cast<std::uint32_t>(i)), peer, payload), payload);
  }
  if (count > 0) batch.salt_runs.push_back({0, static_cast<std::uint32_t>(count), 0, key});
  return batch;
}

void Machine::AddOwn(ledger::Batch& batch, Kind kind, std::string_view payload) {
  record::SaltKey key;
  entropy.Fill(key);
  const record::Peer nobody{};
  batch.salt_runs.push_back({static_cast<std::uint32_t>(batch.size()), 1, 0, key});
  batch.Add(kind, 0, 0, clock.WallNs(), nobody, record::CommitPayload(record::DeriveSalt(key, 0), nobody, AsBytes(payload)),
            AsBytes(payload));
}

bool Machine::Append(std::size_t count, std::size_t payload_bytes_max) {
  return CommitAll(RandomBatch(count, payload_bytes_max)).has_value();
}

// ledger_writer.cc: CommitAll
Result<void> Machine::CommitAll(ledger::Batch batch, std::optional<std::size_t> anchored_intent) {
  while (!batch.empty()) {
    const std::size_t fits = store_->Fits(batch, sequencer_->size());
    if (fits == 0) {
      STELE_TRY_VOID(PadAndRoll());
      if (store_->Fits(batch, sequencer_->size()) == 0) return Fail(Code::kInvalid, "a batch larger than an empty unit");
      continue;
    }
    const bool anchored_here = anchored_intent && *anchored_intent < fits;
    STELE_TRY_VOID(CommitPart(batch.TakeFirst(fits), anchored_here ? anchored_intent : std::nullopt));
    if (anchored_intent) anchored_intent = anchored_here ? std::nullopt : std::optional(*anchored_intent - fits);
  }
  (void)store_->Prepare(kAheadBytes);  // as the writer does after a job: a full disk shows again when a unit is needed
  return {};
}

// ledger_writer.cc: CommitPart
Result<void> Machine::CommitPart(ledger::Batch part, std::optional<std::size_t> anchored_intent) {
  const ledger::Sequencer before = *sequencer_;
  ledger::Landmarks landmarks = landmarks_;
  const std::uint64_t first = sequencer_->size();
  for (std::size_t i = 0; i < part.size(); ++i) {
    const auto kind = static_cast<Kind>(part.kinds[i]);
    if (kind == Kind::kCheckpoint) {
      landmarks.previous_checkpoint = landmarks.checkpoint;
      landmarks.checkpoint = first + i;
      if (anchored_intent == i) landmarks.anchor_checkpoint = first + i;
    } else if (kind == Kind::kAnchor) {
      landmarks.anchor = first + i;
    }
  }
  const ledger::SequencedBatch sequenced = sequencer_->Sequence(std::move(part));
  oracle.Begin(sequenced);
  auto committed = store_->Commit(sequenced, landmarks);
  if (!committed) {
    sequencer_ = before;
    return committed;
  }
  oracle.Committed();
  landmarks_ = landmarks;
  return {};
}

// ledger_writer.cc: PadAndRoll
Result<void> Machine::PadAndRoll() {
  STELE_TRY_VOID(store_->PrepareRoll());
  const std::size_t pad = store::Store::PadCount(sequencer_->size());
  if (pad > 0) {
    ledger::Batch pads;
    for (std::size_t i = 0; i < pad; ++i) AddOwn(pads, Kind::kLifecycle, R"({"event":"segment_pad"})");
    record::SaltKey key;
    entropy.Fill(key);
    pads.salt_runs = {{0, static_cast<std::uint32_t>(pad), 0, key}};
    for (std::size_t i = 0; i < pad; ++i) {
      pads.commitments[i] = record::CommitPayload(record::DeriveSalt(key, static_cast<std::uint32_t>(i)), record::Peer{},
                                                  AsBytes(R"({"event":"segment_pad"})"));
    }
    STELE_TRY_VOID(CommitPart(std::move(pads), std::nullopt));
  }
  return store_->Roll(sequencer_->size(), sequencer_->head(), sequencer_->frontier());
}

// ledger_checkpoints.cc and HandleDone(): the writer's range since the last cut continues what the anchor signed last.
Result<ledger::CompactRange> Machine::UnsignedRange() {
  if (unsigned_range_ && unsigned_range_->begin() == signed_size_) {
    auto extended = unsigned_range_->Extend(sequencer_->range());
    sequencer_->StartRange();
    if (extended) return *unsigned_range_;
  }
  sequencer_->StartRange();
  return store::RangeOf(*log_, signed_size_, sequencer_->size());
}

bool Machine::Checkpoint(bool want_anchor) {
  if (intent_lost_) return false;
  if (!Append(1 + Draw(3), 30)) return false;  // sizes strictly increase
  auto range = UnsignedRange();
  if (!range) {
    oracle.Complain("no range to sign: " + range.error().context);
    return false;
  }
  unsigned_range_ = *range;
  channel::CheckpointRequest request;
  request.size = sequencer_->size();
  request.root = sequencer_->frontier().Root();
  request.range_begin = range->begin();
  request.range_hashes = range->Hashes();
  request.want_anchor = want_anchor;
  clock.Advance(500 * kNsPerMs);
  const auto intent = anchor_->Sign(request);
  signed_size_ = anchor_->signed_size();
  if (!intent) {
    const Code code = intent.error().code;
    if (code == Code::kInvalid || code == Code::kDenied) oracle.Complain("the anchor refused: " + intent.error().context);
    return false;
  }
  oracle.Signed(request.size);
  unsigned_range_ = ledger::CompactRange(request.size);
  if (Draw(4) == 0) (void)Append(1 + Draw(20));  // others commit before the intent does
  ledger::Batch batch = RandomBatch(Draw(3), 50);
  const std::size_t at = batch.size();
  AddOwn(batch, Kind::kCheckpoint, intent->payload);
  if (!CommitAll(std::move(batch), intent->anchor != 0 ? std::optional(at) : std::nullopt)) {
    intent_lost_ = true;
    return false;
  }
  const auto extended = anchor_->Confirm(intent->number);
  if (!extended) {
    oracle.Complain("the anchor does not know its intent: " + extended.error().context);
    return false;
  }
  const std::uint64_t before = oracle.receipts();
  WriteReceipt(extended->receipt);
  return oracle.receipts() > before;
}

void Machine::WriteReceipt(const std::optional<std::string>& receipt) {
  if (!receipt) return;
  ledger::Batch batch;
  AddOwn(batch, Kind::kAnchor, *receipt);
  if (!CommitAll(std::move(batch))) {
    intent_lost_ = true;
    return;
  }
  if (!anchor_->ReceiptDurable()) oracle.Complain("the anchor does not know its receipt");
  oracle.ReceiptDurable(*receipt);
}

void Machine::SettleAndCheck() {
  faults.Clear();
  tpm.ClearFaults();
  shelf.units_max = ~std::size_t{0};  // room again
  if (intent_lost_ || !up()) {
    Down(Crash::kProcesses);
    BootThrough();
    if (!up()) return;
  }
  bool receipt = false;
  for (int i = 0; i < 4 && !receipt; ++i) {
    clock.Advance(60'000 * kNsPerMs);
    receipt = Checkpoint(true);
  }
  if (!receipt) oracle.Complain("without faults no anchor was made: " + anchor_->StatusJson());
  CheckDisk("settled");
  Follow("settled");
  std::unique_ptr<store::PartitionShelf> partitions;
  if (const auto log = Look(partitions)) oracle.CheckRegisters(**log, tpm, config_.pins);
  if (shelf.misuse() > 0) oracle.Complain("a device was written after it had failed");
}

}  // namespace stele::sim
