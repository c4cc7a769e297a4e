#include "appliance/query/reads.h"

#include <algorithm>

#include "appliance/base/limits.h"
#include "appliance/base/text.h"
#include "appliance/query/bundle.h"
#include "appliance/query/language.h"
#include "appliance/query/parameters.h"

namespace stele::query {
namespace {

using Json = nlohmann::json;

constexpr std::uint64_t kSequenceMax = (std::uint64_t{1} << 53U) - 1;
constexpr std::size_t kCheckpointBlocksMax = 512;  // how far behind its size a checkpoint's own entry may lie

Json SpansJson(const std::vector<Span>& spans) {
  Json out = Json::array();
  for (const Span& span : spans) out.push_back({span.first, span.end});
  return out;
}

Json TimeOrNull(const std::optional<std::int64_t>& ns) { return ns ? Json(FormatTime(*ns)) : Json(nullptr); }
Json NsOrNull(const std::optional<std::int64_t>& ns) { return ns ? Json(std::to_string(*ns)) : Json(nullptr); }

}  // namespace

Answer Refusal(int status, std::string_view code, std::string_view message) {
  Answer answer;
  answer.status = status;
  answer.body = Dump(ErrorJson(code, message));
  return answer;
}

tl::expected<ScopedQuery, Answer> ScopedQueryOf(const ReadRequest& request) {
  const auto text = request.parameters.find("q");
  auto parsed = ParseQuery(text == request.parameters.end() ? std::string_view{} : std::string_view(text->second));
  if (!parsed) {
    const QueryError& error = parsed.error();
    Json body = ErrorJson("bad_query", error.hint.empty() ? error.message : error.message + ": " + error.hint);
    body["error"]["column"] = error.column;
    if (!error.hint.empty()) body["error"]["hint"] = error.hint;
    Answer answer;
    answer.status = 400;
    answer.body = Dump(body);
    answer.query = text->second.substr(0, limits::kQueryBytes);
    return tl::unexpected(std::move(answer));
  }
  ScopedQuery scoped;
  scoped.left_out = kQuietKinds & ~(KindsNamedBy(*parsed) | request.scope.named);
  scoped.query = *parsed;
  scoped.whole = And(request.scope.must, std::move(*parsed));
  return scoped;
}

Reads::Reads(std::unique_ptr<DeviceShelf> shelf, std::unique_ptr<store::LogReader> reader, Clock& clock, const ReadsConfig& config)
    : shelf_(std::move(shelf)), reader_(std::move(reader)), clock_(clock), config_(config), scanner_(*reader_, clock) {}

Result<std::unique_ptr<Reads>> Reads::Open(std::unique_ptr<DeviceShelf> shelf, Clock& clock, const ReadsConfig& config) {
  STELE_TRY(auto reader, store::LogReader::Open(*shelf, 0));
  return std::make_unique<Reads>(std::move(shelf), std::move(reader), clock, config);
}

Answer Reads::Run(const ReadRequest& request, const std::atomic<bool>& cancelled) {
  Answer answer = Dispatch(request, cancelled);
  if (answer.size == 0) answer.size = reader_->size();
  return answer;
}

Answer Reads::Dispatch(const ReadRequest& request, const std::atomic<bool>& cancelled) {
  switch (request.call) {
    case Call::kSearch: return Search(request, cancelled);
    case Call::kHistogram: return Histogram(request, cancelled);
    case Call::kRecord: return Record(request);
    case Call::kPayload: return Payload(request);
    case Call::kContext: return Context(request, cancelled);
    case Call::kProof: return Proof(request);
    case Call::kConsistency: return Consistency(request);
    case Call::kIntegrity: return Integrity(request);
    case Call::kSources: return Sources(request, cancelled);
    case Call::kNetwork: return Network(request, cancelled);
    case Call::kTreeHead: return TreeHead(request);
    case Call::kTile: return Tile(request);
    case Call::kFeed: return Feed(request, cancelled);
    case Call::kStatus:
    case Call::kMetrics:
    case Call::kAttest:
    case Call::kBundle:
    case Call::kTail: break;  // answered by the service
  }
  return Refusal(404, "not_found", "there is no such call");
}

Answer Reads::PrepareBundle(const ReadRequest& request, const std::atomic<bool>& cancelled, std::shared_ptr<Bundle>& out) {
  return BundlePreparer(*reader_, scanner_, clock_, config_, request, cancelled).Prepare(out);
}

Result<Bytes> Reads::NextOfBundle(Bundle& bundle, const std::atomic<bool>& cancelled) { return bundle.Next(*reader_, cancelled); }

std::optional<CheckpointInfo> Reads::CheckpointAt(std::uint64_t sequence, std::int64_t time_ns, std::string_view payload) {
  CheckpointInfo info;
  info.intent = Json::parse(payload, nullptr, /*allow_exceptions=*/false);
  if (!info.intent.is_object()) return std::nullopt;
  const auto size = info.intent.find("size");
  const auto root = info.intent.find("root");
  const auto note = info.intent.find("note");
  if (size == info.intent.end() || !size->is_number_unsigned() || root == info.intent.end() || !root->is_string() ||
      note == info.intent.end() || !note->is_string()) {
    return std::nullopt;
  }
  info.size = size->get<std::uint64_t>();
  info.root = root->get<std::string>();
  info.note = note->get<std::string>();
  info.sequence = sequence;
  info.time_ns = time_ns;
  return info;
}

std::optional<CheckpointInfo> Reads::NewestCheckpoint() {
  const auto landmark = reader_->LastOfKind(record::Kind::kCheckpoint, reader_->size());
  if (!landmark) return std::nullopt;
  return CheckpointAt(landmark->sequence, landmark->receive_wall_ns, AsText(landmark->payload));
}

// A checkpoint's entry follows the records it covers closely.
std::optional<CheckpointInfo> Reads::CheckpointOfSize(std::uint64_t size) {
  if (size >= reader_->size()) return std::nullopt;
  const auto first = reader_->BlockIndexOf(size);
  if (!first) return std::nullopt;  // or it has expired
  const auto last = reader_->BlockAt(std::min(*first + kCheckpointBlocksMax, reader_->block_count() - 1));
  if (!last) return std::nullopt;
  std::optional<CheckpointInfo> found;
  const Matcher checkpoints(TextTerm(Field::kKind, record::KindName(record::Kind::kCheckpoint)));
  const ScanRange range{size, last->first_sequence + last->record_count};
  const auto outcome = scanner_.Scan(range, Order::kOldestFirst, checkpoints, ScanLimits{}, [&](RecordFields& fields) -> Result<bool> {
    auto info = CheckpointAt(fields.record().sequence, fields.record().receive_wall_ns, fields.payload());
    if (!info || info->size < size) return true;
    if (info->size == size) found = std::move(info);
    return false;  // sizes only grow
  });
  return outcome ? found : std::nullopt;
}

tl::expected<Reads::Frozen, Answer> Reads::Freeze(const ReadRequest& request, bool whole_without_size) {
  Parameters parameters(request.parameters);
  const auto size = parameters.Number("size", kSequenceMax);
  if (parameters.problem()) return tl::unexpected(*parameters.problem());
  Frozen frozen;
  frozen.checkpoint = NewestCheckpoint();
  frozen.size = frozen.checkpoint ? frozen.checkpoint->size : 0;
  if (size && (!frozen.checkpoint || frozen.checkpoint->size != *size)) {
    frozen.checkpoint = CheckpointOfSize(*size);
    if (!frozen.checkpoint) return tl::unexpected(Refusal(400, "bad_request", "size is not the size of a checkpoint"));
    frozen.size = *size;
  } else if (!size && whole_without_size) {
    frozen.size = reader_->size();
  }
  return frozen;
}

std::optional<RowProof> Reads::ProofOf(std::uint64_t sequence, std::uint64_t size) {
  if (sequence >= size) return std::nullopt;
  RowProof proof;
  auto entry = reader_->EntryOf(sequence);
  auto salt = reader_->SaltOf(sequence);
  auto path = reader_->InclusionProof(sequence, size);
  if (!entry || !salt || !path) return std::nullopt;
  proof.entry = *entry;
  proof.salt = *salt;
  proof.path = std::move(*path);
  return proof;
}

Json Reads::ProvenRow(RecordFields& fields, std::uint64_t size) {
  const auto proof = ProofOf(fields.record().sequence, size);
  return RowJson(fields, proof ? &*proof : nullptr);
}

// What the query might have found, had its retention not been over.
std::vector<Span> Reads::ExpiredIn(const ScanRange& range) const {
  std::vector<Span> expired;
  for (const store::UnitInfo& unit : reader_->units()) {
    if (!unit.expired || unit.wall_ns_max < range.from_ns || unit.wall_ns_min >= range.to_ns) continue;
    const std::uint64_t end = std::min(unit.end_sequence, range.end);
    if (unit.first_sequence >= end) continue;
    if (!expired.empty() && expired.back().end == unit.first_sequence) {
      expired.back().end = end;
    } else {
      expired.push_back({unit.first_sequence, end});
    }
  }
  return expired;
}

Answer Reads::Search(const ReadRequest& request, const std::atomic<bool>& cancelled) {
  auto scoped = ScopedQueryOf(request);
  if (!scoped) return std::move(scoped.error());
  Parameters parameters(request.parameters);
  const auto from = parameters.Time("from");
  const auto to = parameters.Time("to");
  const auto limit = parameters.Number("limit", limits::kSearchRowsMax).value_or(limits::kSearchRowsDefault);
  const auto before = parameters.Number("before", kSequenceMax);
  const bool proofs = parameters.Number("proofs", 1).value_or(1) == 1;
  if (parameters.problem()) return *parameters.problem();
  auto frozen = Freeze(request, /*whole_without_size=*/!proofs);
  if (!frozen) return std::move(frozen.error());

  ScanRange range;
  range.end = std::min(frozen->size, before.value_or(kSequenceMax));
  if (from) range.from_ns = *from;
  if (to) range.to_ns = *to;
  const ScanLimits scan_limits{clock_.BoottimeNs() + kSearchTimeBoxNs, &cancelled};
  Json rows = Json::array();
  const Matcher matcher(scoped->whole, scoped->left_out);
  const auto outcome = scanner_.Scan(range, Order::kNewestFirst, matcher, scan_limits, [&](RecordFields& fields) -> Result<bool> {
    if (rows.size() >= limit) return false;
    rows.push_back(proofs ? ProvenRow(fields, frozen->size) : RowJson(fields, nullptr));
    return rows.size() < limit;
  });
  if (!outcome) return Refusal(503, "unavailable", Describe(outcome.error()));

  const bool more = outcome->resume_at > 0 && outcome->ended != Ended::kDone;
  const bool timed_out = outcome->ended == Ended::kTimeBox || outcome->ended == Ended::kCancelled;
  Answer answer;
  answer.query = Print(scoped->query);
  answer.from_ns = from ? std::to_string(*from) : "";
  answer.to_ns = to ? std::to_string(*to) : "";
  answer.size = frozen->size;
  answer.rows = rows.size();
  Json body = {{"checkpoint", CheckpointJson(frozen->checkpoint ? &*frozen->checkpoint : nullptr)},
               {"range", {{"from", TimeOrNull(from)}, {"to", TimeOrNull(to)}, {"from_ns", NsOrNull(from)}, {"to_ns", NsOrNull(to)}}},
               {"limit_hit", more && outcome->ended == Ended::kCaller},
               {"timed_out", timed_out},
               {"next_before", more ? Json(outcome->resume_at) : Json(nullptr)},
               {"scanned_records", outcome->scanned_records},
               {"query", answer.query}};
  body["rows"] = std::move(rows);
  if (!outcome->unreadable.empty()) body["unreadable"] = SpansJson(outcome->unreadable);
  if (const auto expired = ExpiredIn(range); !expired.empty()) body["expired"] = SpansJson(expired);
  if (!reader_->damage().empty()) body["damage"] = reader_->damage();
  answer.body = Dump(body);
  return answer;
}

Answer Reads::Histogram(const ReadRequest& request, const std::atomic<bool>& cancelled) {
  auto scoped = ScopedQueryOf(request);
  if (!scoped) return std::move(scoped.error());
  Parameters parameters(request.parameters);
  const auto from = parameters.Time("from");
  const auto to = parameters.Time("to");
  const auto bucket_count = std::max<std::uint64_t>(1, parameters.Number("buckets", kHistogramBucketsMax).value_or(kHistogramBucketsDefault));
  if (parameters.problem()) return *parameters.problem();
  auto frozen = Freeze(request, /*whole_without_size=*/false);
  if (!frozen) return std::move(frozen.error());

  ScanRange range;
  range.end = frozen->size;
  range.from_ns = std::numeric_limits<std::int64_t>::max();
  range.to_ns = 0;
  const auto reach = [&range](std::int64_t wall_ns_min, std::int64_t wall_ns_max) {
    range.from_ns = std::min(range.from_ns, wall_ns_min);
    range.to_ns = std::max(range.to_ns, wall_ns_max + 1);
  };
  for (const store::UnitInfo& unit : reader_->units()) {
    if (unit.first_sequence >= frozen->size) break;
    if (unit.end_sequence <= frozen->size) {
      if (unit.block_count != 0) reach(unit.wall_ns_min, unit.wall_ns_max);
      continue;
    }
    for (std::size_t i = 0; i < unit.block_count; ++i) {  // the answer for one size never changes
      const auto info = reader_->BlockAt(unit.first_block + i);
      if (!info || info->first_sequence >= frozen->size) break;
      reach(info->wall_ns_min, info->wall_ns_max);
    }
  }
  if (range.to_ns == 0) range.from_ns = 0;  // an empty log
  if (from) range.from_ns = *from;
  if (to) range.to_ns = *to;
  const std::uint64_t width = range.to_ns > range.from_ns ? static_cast<std::uint64_t>(range.to_ns) - static_cast<std::uint64_t>(range.from_ns) : 0;
  const std::uint64_t bucket_ns = std::max<std::uint64_t>(1, (width + bucket_count - 1) / bucket_count);
  std::vector<std::array<std::uint64_t, 3>> buckets(static_cast<std::size_t>(bucket_count));
  std::uint64_t total = 0;
  const ScanLimits scan_limits{clock_.BoottimeNs() + kSearchTimeBoxNs, &cancelled};
  const Matcher matcher(scoped->whole, scoped->left_out);
  const auto outcome = scanner_.Scan(range, Order::kNewestFirst, matcher, scan_limits, [&](RecordFields& fields) -> Result<bool> {
    const std::uint64_t at = static_cast<std::uint64_t>(fields.record().receive_wall_ns) - static_cast<std::uint64_t>(range.from_ns);
    const auto severity = fields.severity().value_or(6);
    const std::size_t column = severity <= 3 ? 0 : severity == 4 ? 1 : 2;
    ++buckets[static_cast<std::size_t>(std::min(at / bucket_ns, bucket_count - 1))][column];
    ++total;
    return true;
  });
  if (!outcome) return Refusal(503, "unavailable", Describe(outcome.error()));

  Answer answer;
  answer.query = Print(scoped->query);
  answer.from_ns = std::to_string(range.from_ns);
  answer.to_ns = std::to_string(range.to_ns);
  answer.size = frozen->size;
  answer.rows = 0;
  Json body = {{"checkpoint", CheckpointJson(frozen->checkpoint ? &*frozen->checkpoint : nullptr)},
               {"bucket_ns", std::to_string(bucket_ns)},
               {"from_ns", std::to_string(range.from_ns)},
               {"to_ns", std::to_string(range.to_ns)},
               {"buckets", buckets},
               {"total", total},
               {"timed_out", outcome->ended != Ended::kDone}};
  if (!outcome->unreadable.empty()) body["unreadable"] = SpansJson(outcome->unreadable);
  if (!reader_->damage().empty()) body["damage"] = reader_->damage();
  answer.body = Dump(body);
  return answer;
}

TailSlice Reads::Tail(const Matcher& matcher, std::uint64_t next, const std::atomic<bool>& cancelled) {
  TailSlice slice;
  ScanRange range;
  range.first = next;
  range.end = reader_->size();
  const ScanLimits scan_limits{clock_.BoottimeNs() + kTailSliceNs, &cancelled};
  const Matcher everything{Node{}};
  const auto outcome = scanner_.Scan(range, Order::kOldestFirst, everything, scan_limits, [&](RecordFields& fields) -> Result<bool> {
    if (fields.record().kind == record::Kind::kCheckpoint) {
      const auto checkpoint = CheckpointAt(fields.record().sequence, fields.record().receive_wall_ns, fields.payload());
      if (checkpoint) slice.text += "event: checkpoint\ndata: " + Dump(CheckpointJson(&*checkpoint)) + "\n\n";
    }
    if (!matcher.Matches(fields)) return true;
    slice.text += "id: " + std::to_string(fields.record().sequence) + "\ndata: " + Dump(RowJson(fields, nullptr)) + "\n\n";
    return ++slice.rows < kTailSliceRows;
  });
  slice.next = outcome ? std::max(outcome->resume_at, next) : next;
  if (outcome && !outcome->unreadable.empty()) {
    std::uint64_t skipped = 0;
    for (const Span& span : outcome->unreadable) skipped += span.end - span.first;
    slice.text += "event: lag\ndata: {\"skipped\":" + std::to_string(skipped) + ",\"reason\":\"unreadable\"}\n\n";
  }
  slice.more = outcome && slice.next < reader_->size();
  return slice;
}

}  // namespace stele::query
