// One record and what stands around it.
#include <algorithm>

#include "appliance/base/limits.h"
#include "appliance/query/parameters.h"
#include "appliance/query/reads.h"

namespace stele::query {
namespace {

using Json = nlohmann::json;

constexpr std::uint64_t kSequenceMax = (std::uint64_t{1} << 53U) - 1;
constexpr std::size_t kContextRowsDefault = 20;

Answer NotFound() { return Refusal(404, "not_found", "there is no such record"); }

}  // namespace

// Out of scope and absent look the same.
tl::expected<Scanner::One, Answer> Reads::InScope(const ReadRequest& request) {
  if (reader_->HasExpired(request.sequence, request.sequence + 1)) {
    return tl::unexpected(Refusal(404, "expired", "this record has expired: its retention is over"));
  }
  auto one = scanner_.RecordAt(request.sequence);
  if (!one && one.error().code == Code::kNotFound) return tl::unexpected(NotFound());
  if (!one) return tl::unexpected(Refusal(503, "unavailable", Describe(one.error())));
  RecordFields fields(one->record, scanner_.sources(), scanner_.scratch());
  if (!Matcher(request.scope.must).Matches(fields)) return tl::unexpected(NotFound());
  return std::move(*one);
}

Answer Reads::Record(const ReadRequest& request) {
  auto one = InScope(request);
  if (!one) return std::move(one.error());
  auto frozen = Freeze(request, /*whole_without_size=*/false);
  if (!frozen) return std::move(frozen.error());
  RecordFields fields(one->record, scanner_.sources(), scanner_.scratch());
  const ByteView payload = one->record.payload;
  Answer answer;
  answer.size = frozen->size;
  answer.rows = 1;
  answer.body = Dump({{"checkpoint", CheckpointJson(frozen->checkpoint ? &*frozen->checkpoint : nullptr)},
                      {"row", ProvenRow(fields, frozen->size)},
                      {"fields", FieldsJson(fields)},
                      {"payload_b64", Base64Of(payload.first(std::min(payload.size(), limits::kPayloadPageBytes)))},
                      {"payload_size", payload.size()}});
  return answer;
}

Answer Reads::Payload(const ReadRequest& request) {
  Parameters parameters(request.parameters);
  const std::uint64_t offset = parameters.Number("offset", limits::kMessageBytesCeiling).value_or(0);
  const std::uint64_t length = parameters.Number("length", limits::kPayloadPageBytes).value_or(limits::kPayloadPageBytes);
  if (parameters.problem()) return *parameters.problem();
  auto one = InScope(request);
  if (!one) return std::move(one.error());
  const std::string_view payload = AsText(one->record.payload);
  if (offset > payload.size()) return Refusal(400, "bad_request", "offset lies beyond the payload");
  Answer answer;
  answer.content_type = "application/octet-stream";
  answer.headers["content-disposition"] = "attachment; filename=\"record-" + std::to_string(request.sequence) + ".bin\"";
  answer.body = std::string(payload.substr(static_cast<std::size_t>(offset), static_cast<std::size_t>(length)));
  answer.rows = 1;
  return answer;
}

Answer Reads::Context(const ReadRequest& request, const std::atomic<bool>& cancelled) {
  Parameters parameters(request.parameters);
  const std::uint64_t count = parameters.Number("count", kContextRowsMax).value_or(kContextRowsDefault);
  if (parameters.problem()) return *parameters.problem();
  auto one = InScope(request);
  if (!one) return std::move(one.error());
  auto frozen = Freeze(request, /*whole_without_size=*/false);
  if (!frozen) return std::move(frozen.error());
  const std::uint64_t size = frozen->size;
  const std::uint32_t source = one->record.source;
  const Matcher in_scope(request.scope.must);
  bool cut_short = false;
  const auto side = [&](Order order, std::vector<Json>& rows) {
    const ScanRange range = order == Order::kNewestFirst ? ScanRange{0, request.sequence} : ScanRange{request.sequence + 1, size};
    const ScanLimits scan_limits{clock_.BoottimeNs() + kContextTimeBoxNs, &cancelled};
    const auto outcome = scanner_.Scan(range, order, in_scope, scan_limits, [&](RecordFields& fields) -> Result<bool> {
      if (fields.record().source == source) rows.push_back(ProvenRow(fields, size));
      return rows.size() < (count + 1) / 2;
    });
    cut_short = cut_short || !outcome || outcome->ended == Ended::kTimeBox || !outcome->unreadable.empty();
  };
  std::vector<Json> before;
  std::vector<Json> after;
  if (count > 0) {
    side(Order::kNewestFirst, before);
    side(Order::kOldestFirst, after);
  }
  std::reverse(before.begin(), before.end());
  Json rows = Json::array();
  for (Json& row : before) rows.push_back(std::move(row));
  RecordFields fields(one->record, scanner_.sources(), scanner_.scratch());
  rows.push_back(ProvenRow(fields, size));
  for (Json& row : after) rows.push_back(std::move(row));
  Answer answer;
  answer.size = size;
  answer.rows = rows.size();
  Json body = {{"checkpoint", CheckpointJson(frozen->checkpoint ? &*frozen->checkpoint : nullptr)}, {"timed_out", cut_short}};
  body["rows"] = std::move(rows);
  answer.body = Dump(body);
  return answer;
}

Answer Reads::Proof(const ReadRequest& request) {
  Parameters parameters(request.parameters);
  const auto size_asked = parameters.Number("size", kSequenceMax);
  if (parameters.problem()) return *parameters.problem();
  auto one = InScope(request);
  if (!one) return std::move(one.error());
  const auto newest = size_asked ? std::nullopt : NewestCheckpoint();
  const std::uint64_t size = size_asked ? *size_asked : newest ? newest->size : 0;
  if (size > reader_->size() || request.sequence >= size) {
    return Refusal(400, "bad_request", "size must be above the record and no larger than the log");
  }
  const auto proof = ProofOf(request.sequence, size);
  if (!proof) return Refusal(503, "unavailable", "the proof cannot be computed: the store is damaged there");
  Answer answer;
  answer.size = size;
  answer.rows = 1;
  answer.body = Dump({{"seq", request.sequence},
                      {"size", size},
                      {"proof", HashesJson(proof->path)},
                      {"entry_b64", Base64Of(proof->entry)},
                      {"leaf", HexOf(LeafHash(proof->entry))}});
  return answer;
}

}  // namespace stele::query
