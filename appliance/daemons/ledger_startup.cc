#include "appliance/daemons/ledger_startup.h"

#include <set>

#include "appliance/base/text.h"
#include "appliance/store/lookup.h"

namespace stele::ledger_daemon {
namespace {

using channel::AnchorAnswer;
using channel::AnchorRequest;

constexpr std::size_t kFirstBlocks = 8;  // of a unit, in which its declaration is found (store::FactsOf())

// One request, one answer; what the anchor pushes in between (status, alarms) is for later and dropped here.
Result<AnchorAnswer> Ask(int anchor_fd, const AnchorRequest& request, std::string_view wanted) {
  STELE_TRY_VOID(channel::Send(anchor_fd, channel::Type::kAnchorRequest, channel::EncodeAnchorRequest(request)));
  while (true) {
    STELE_TRY(const channel::Frame frame, channel::Receive(anchor_fd, true));
    if (frame.type != channel::Type::kAnchorAnswer) continue;
    STELE_TRY(AnchorAnswer answer, channel::DecodeAnchorAnswer(frame.body));
    if (answer.op == wanted) return answer;
    if (answer.op == "refused") return Fail(Code::kDenied, "anchor: " + answer.refusal);
  }
}

// Blocks up to the place where an epoch begins carry MACs under keys that only the epochs before had. At its first start
// the signed root stands for them, and a new unit begins; a log that ends before that place is another's business to
// judge, and nothing of it is given up.
bool OfEarlierEpoch(const Settings::Epoch& epoch, const store::Tail& tail) {
  return epoch.size > 0 && !tail.fresh && tail.size() <= epoch.size;
}

}  // namespace

Result<Hash> LogIdOfGenesis(std::string_view genesis_payload) {
  const auto json = nlohmann::json::parse(genesis_payload, nullptr, false);
  if (!json.is_object() || !json.contains("record_b64") || !json["record_b64"].is_string()) {
    return Fail(Code::kInvalid, "genesis: no record_b64");
  }
  const auto record = ParseBase64(json["record_b64"].get<std::string>(), limits::kMiB);
  if (!record) return Fail(Code::kInvalid, "genesis: record_b64 is not base64");
  return Sha256Of(*record);
}

Result<channel::LogState> DescribeLog(DeviceShelf& shelf, const Hash& log_id, std::uint64_t size,
                                      const std::vector<Hash>& frontier, const ledger::Landmarks& landmarks) {
  channel::LogState state;
  state.log_id = log_id;
  state.size = size;
  state.frontier = frontier;
  STELE_TRY(const ledger::Frontier edge, ledger::Frontier::FromHashes(0, size, frontier));
  state.root = edge.Root();
  if (landmarks.anchor != ledger::kNoSequence) {
    STELE_TRY(const Bytes payload, store::PayloadAt(shelf, landmarks.anchor));
    state.last_receipt = std::string(AsText(payload));
  }
  std::set<std::uint64_t> wanted;
  for (const std::uint64_t s : {landmarks.anchor_checkpoint, landmarks.previous_checkpoint, landmarks.checkpoint}) {
    if (s != ledger::kNoSequence) wanted.insert(s);
  }
  for (const std::uint64_t s : wanted) {
    STELE_TRY(const Bytes payload, store::PayloadAt(shelf, s));
    state.intents.emplace_back(AsText(payload));
  }
  return state;
}

Result<Started> StartLedger(const Settings& settings, DeviceShelf& shelf, int anchor_fd, Clock& clock, Entropy& entropy) {
  Started started;
  Recovered& recovered = started.recovered;
  STELE_TRY(recovered.log_id, LogIdOfGenesis(settings.genesis_payload));
  STELE_TRY(store::Tail tail, store::ReadTail(shelf));
  if (!tail.fresh && tail.superblock.log_id != recovered.log_id) {
    return Fail(Code::kCorrupt, "the store belongs to another log than the provisioning record");
  }
  tail.closed = OfEarlierEpoch(settings.epoch, tail);
  recovered.epoch_begins =
      tail.closed && tail.size() == settings.epoch.size && tail.frontier().Root() == settings.epoch.root;

  AnchorRequest keys;
  keys.op = "keys";
  keys.keys.sessions = tail.sessions();
  entropy.Fill(keys.keys.new_session);
  STELE_TRY(const AnchorAnswer granted, Ask(anchor_fd, keys, "keys"));
  if (granted.keys.keys.size() != keys.keys.sessions.size()) return Fail(Code::kInvalid, "anchor: wrong number of keys");
  store::Authenticate(tail, [&](const Hash& session) -> std::optional<Hash> {
    for (std::size_t i = 0; i < keys.keys.sessions.size(); ++i) {
      if (keys.keys.sessions[i] == session) return granted.keys.keys[i];
    }
    return std::nullopt;
  });

  STELE_TRY_VOID(store::MakeDurable(shelf, tail));  // the verdict may move the TPM on the word of this tail
  recovered.fresh = tail.fresh || tail.size() == 0;
  recovered.size = tail.fresh ? 0 : tail.size();
  recovered.frontier = tail.fresh ? std::vector<Hash>() : tail.frontier().Hashes();
  recovered.landmarks = tail.fresh ? ledger::Landmarks() : tail.landmarks();
  if (recovered.epoch_begins) recovered.landmarks = {.next_source = recovered.landmarks.next_source};
  recovered.quarantined_records = tail.quarantined_records;
  recovered.abandoned_stretches = tail.abandons.size();
  recovered.detail = tail.detail;

  AnchorRequest judge;
  judge.op = "recovered";
  STELE_TRY(judge.state, DescribeLog(shelf, recovered.log_id, recovered.size, recovered.frontier, recovered.landmarks));
  judge.state.bytes_valid = !tail.damaged && tail.quarantined_records == 0;
  const auto newest = judge.state.intents.empty() ? nlohmann::json() : nlohmann::json::parse(judge.state.intents.back(), nullptr, false);
  const bool has_size = newest.is_object() && newest.contains("size") && newest["size"].is_number_unsigned();
  const std::uint64_t signed_size = std::max(has_size ? newest["size"].get<std::uint64_t>() : 0, settings.epoch.size);
  STELE_TRY(const store::TailSummary unsigned_tail, store::SummarizeFrom(shelf, signed_size, recovered.size));
  judge.state.tail_records = unsigned_tail.records;
  judge.state.tail_since_wall_ns = unsigned_tail.since_wall_ns;
  recovered.adopted_records = unsigned_tail.records;
  STELE_TRY(const AnchorAnswer judged, Ask(anchor_fd, judge, "verdict"));
  recovered.verdict = judged.verdict;
  recovered.signed_size = judged.signed_size;
  auto range = store::RangeOf(shelf, judged.signed_size, recovered.size);
  if (range) {
    recovered.unsigned_range = std::move(*range);
  } else if (recovered.detail.empty()) {
    recovered.detail = "no further checkpoint can be signed: " + range.error().context;
  }

  // Without them sources get new numbers, and nothing else is lost.
  auto sources = store::SourcesOf(shelf, tail);
  if (sources) {
    recovered.sources = std::move(*sources);
  } else {
    LogWarning("the numbers of the sources are not known: " + Describe(sources.error()));
  }

  ledger::MacChain mac(keys.keys.new_session, granted.keys.new_key);
  STELE_TRY(auto store, store::Store::Open(shelf, clock, {settings.segment_bytes, settings.codec.value_or(ledger::Codec::kZstd)}, tail, recovered.log_id, mac));
  recovered.unit = store->unit();
  recovered.unit_begins = tail.fresh || store->unit() != tail.unit;
  if (!recovered.unit_begins && tail.blocks.size() < kFirstBlocks) {  // the power went before it could say what it promises
    const auto facts = store::FactsOf(shelf, tail.unit);
    recovered.unit_begins = facts && !facts->declared;
  }
  ledger::Sequencer sequencer = tail.fresh ? ledger::Sequencer(recovered.log_id) : ledger::Sequencer(tail.head(), tail.frontier());
  (void)store->Prepare(settings.reserve_bytes);  // a full disk shows again when the service tries
  started.writer = std::make_unique<Writer>(std::move(store), std::move(sequencer), recovered.landmarks, clock, entropy);
  return started;
}

}  // namespace stele::ledger_daemon
