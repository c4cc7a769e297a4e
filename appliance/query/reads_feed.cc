// What leaves the box by a flow of stele.toml, from a sequence number on: oldest first, bounded in time, rows and
// bytes. The filter is this process's own configuration: stele-courier names a flow and learns no more than that flow
// may carry.
#include <algorithm>

#include "appliance/query/parameters.h"
#include "appliance/query/reads.h"

namespace stele::query {
namespace {

using Json = nlohmann::json;

constexpr std::uint64_t kSequenceMax = (std::uint64_t{1} << 53U) - 1;
constexpr std::uint64_t kStartRecordsMax = 65'536;  // how far back the configuration in force is looked for

bool Carries(const FeedRules& rules, RecordFields& fields) {
  switch (fields.record().kind) {
    case record::Kind::kAlarm:
      return true;
    case record::Kind::kLoss:
      return rules.losses;
    case record::Kind::kSyslog:
    case record::Kind::kJson:
      break;
    default:
      return false;
  }
  if (rules.sources.empty()) return false;
  const SourceNames* source = fields.source();
  return source != nullptr && !source->name.empty() &&
         std::find(rules.sources.begin(), rules.sources.end(), source->name) != rules.sources.end();
}

Json FeedRow(RecordFields& fields) {
  const RecordView& record = fields.record();
  const ByteView payload = record.payload.first(std::min(record.payload.size(), kFeedPayloadBytes));
  Json row = {{"seq", record.sequence},
              {"time_ns", record.receive_wall_ns},
              {"kind", record::KindName(record.kind)},
              {"size", record.payload.size()},
              {"payload_b64", Base64Of(payload)}};
  if (const SourceNames* source = fields.source()) {
    row["zone"] = source->zone;
    row["source"] = source->name;
  }
  if (const auto severity = fields.severity()) row["severity"] = *severity;
  if (const auto facility = fields.facility()) row["facility"] = *facility;
  return row;
}

}  // namespace

// A flow without a cursor begins where the configuration that named it came into force.
std::uint64_t Reads::FeedStart() {
  const std::uint64_t size = reader_->size();
  std::uint64_t start = size;
  const ScanRange range{size > kStartRecordsMax ? size - kStartRecordsMax : 0, size};
  const ScanLimits scan_limits{clock_.BoottimeNs() + kFeedTimeBoxNs, nullptr};
  const Matcher policies(TextTerm(Field::kKind, record::KindName(record::Kind::kPolicy)));
  const auto scanned =
      scanner_.Scan(range, Order::kNewestFirst, policies, scan_limits, [&](RecordFields& fields) -> Result<bool> {
        start = fields.record().sequence;
        return false;
      });
  return scanned ? start : size;
}

Answer Reads::Feed(const ReadRequest& request, const std::atomic<bool>& cancelled) {
  const auto rules = config_.feeds.find(request.feed);
  if (rules == config_.feeds.end()) return Refusal(404, "not_found", "there is no such flow");
  Parameters parameters(request.parameters);
  const auto from = parameters.Number("from", kSequenceMax);
  if (parameters.problem()) return *parameters.problem();
  if (reader_->size() == 0) return Refusal(503, "unavailable", "the ledger has not said yet how far the log goes");

  ScanRange range;
  range.first = from ? *from : FeedStart();
  range.end = reader_->size();
  Answer answer;
  Json rows = Json::array();
  std::size_t bytes = 0;
  const Matcher everything{Node{}};
  const ScanLimits scan_limits{clock_.BoottimeNs() + kFeedTimeBoxNs, &cancelled};
  const auto outcome =
      scanner_.Scan(range, Order::kOldestFirst, everything, scan_limits, [&](RecordFields& fields) -> Result<bool> {
        if (!Carries(rules->second, fields)) return true;
        const record::Kind kind = fields.record().kind;
        if (kind == record::Kind::kSyslog || kind == record::Kind::kJson) ++answer.rows;
        rows.push_back(FeedRow(fields));
        bytes += std::min(fields.record().payload.size(), kFeedPayloadBytes);
        return rows.size() < kFeedRows && bytes < kFeedBytes;
      });
  if (!outcome) return Refusal(503, "unavailable", Describe(outcome.error()));
  std::uint64_t unreadable = 0;
  for (const Span& span : outcome->unreadable) unreadable += span.end - span.first;
  const auto checkpoint = NewestCheckpoint();
  answer.size = reader_->size();
  answer.body = Dump({{"log_id", log_id()},
                      {"size", reader_->size()},
                      {"next", std::max(outcome->resume_at, range.first)},
                      {"rows", std::move(rows)},
                      {"unreadable", unreadable},
                      {"checkpoint", checkpoint ? Json(checkpoint->note) : Json(nullptr)}});
  return answer;
}

}  // namespace stele::query
