// What proves the log: checkpoints, anchors, consistency; and where its records came from.
#include <algorithm>
#include <array>
#include <set>

#include "appliance/base/text.h"
#include "appliance/query/parameters.h"
#include "appliance/query/reads.h"

namespace stele::query {
namespace {

using Json = nlohmann::json;

constexpr std::uint64_t kSequenceMax = (std::uint64_t{1} << 53U) - 1;
constexpr std::int64_t kNsPerMs = 1'000'000;
constexpr std::int64_t kMinuteNs = 60'000 * kNsPerMs;
constexpr std::int64_t kSkewSampleNs = 1'000 * kNsPerMs;  // of one source: parsing every event would cost as much as a search

// The qualifying data of a receipt (tpm.md, docs/format.md): what its TPM structures were signed over.
//   SHA-256("stele/qd/v1" || purpose || log_id || anchor_number:u64 || digest || nonce), the nonce 32 zero bytes
std::string QualifyingHex(std::string_view purpose, const Hash& log_id, std::uint64_t anchor, const Hash& digest) {
  Bytes number;
  Writer(number).Int(anchor);
  const Hash nonce{};
  return HexOf(Sha256Of({AsBytes("stele/qd/v1"), AsBytes(purpose), log_id, number, digest, nonce}));
}

// Sixteen bytes of the key's hash as eight pronounceable words (two bytes each: consonant, vowel, ... of four alphabets of
// powers of two), so that two people can compare a key over the telephone.
std::string KeyWords(std::string_view vkey) {
  constexpr std::string_view kConsonants = "bdfghjklmnprstvz";
  constexpr std::string_view kVowels = "aiou";
  const Hash hash = Sha256Of(AsBytes(vkey));
  std::string out;
  for (std::size_t i = 0; i < 16; i += 2) {
    const unsigned bits = static_cast<unsigned>(hash[i]) << 8U | static_cast<unsigned>(hash[i + 1]);
    if (!out.empty()) out += ' ';
    out += {kConsonants[bits >> 12U & 15U], kVowels[bits >> 10U & 3U], kConsonants[bits >> 6U & 15U], kVowels[bits >> 4U & 3U],
            kConsonants[bits & 15U]};
  }
  return out;
}

Json Picked(const Json& from, std::initializer_list<const char*> names) {
  Json out = Json::object();
  for (const char* name : names) {
    if (const auto at = from.find(name); at != from.end()) out[name] = *at;
  }
  return out;
}

// The provisioning record as the anchor wrote it: its members stand at the top or inside "record".
Json ProvisioningJson(const std::string& text) {
  const Json file = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!file.is_object()) return nullptr;
  const std::initializer_list<const char*> kNames = {"ak_public_pem", "ak_name",      "ek_name",       "ek_certificate_b64", "counter_name",
                           "index_name",    "counter_start", "index_start",   "software_tpm",       "pcr"};
  Json out = Picked(file, kNames);
  if (const auto record = file.find("record"); record != file.end() && record->is_object()) out.update(Picked(*record, kNames));
  if (const auto record = file.find("record_b64"); out.empty() && record != file.end() && record->is_string()) {
    const auto bytes = ParseBase64(record->get_ref<const std::string&>(), 1U << 20U);
    const Json inner = bytes ? Json::parse(AsText(*bytes), nullptr, false) : Json(nullptr);
    if (inner.is_object()) out.update(Picked(inner, kNames));
  }
  return out;
}

}  // namespace

Json Reads::CheckpointsJson() {
  Json out = Json::array();
  std::uint64_t before = reader_->size();
  while (out.size() < kCheckpointsListed) {
    const auto landmark = reader_->LastOfKind(record::Kind::kCheckpoint, before);
    if (!landmark) break;
    before = landmark->sequence;
    const auto info = CheckpointAt(landmark->sequence, landmark->receive_wall_ns, AsText(landmark->payload));
    if (!info) continue;
    Json row = CheckpointJson(&*info);
    row["intent"] = Picked(info->intent, {"reset_count", "restart_count", "number", "pcr_before", "anchor"});
    out.push_back(std::move(row));
  }
  return out;
}

Json Reads::AnchorsJson() {
  Json out = Json::array();
  std::uint64_t before = reader_->size();
  while (out.size() < kAnchorsListed) {
    const auto landmark = reader_->LastOfKind(record::Kind::kAnchor, before);
    if (!landmark) break;
    before = landmark->sequence;
    Json receipt = Json::parse(AsText(landmark->payload), nullptr, /*allow_exceptions=*/false);
    if (!receipt.is_object()) continue;
    receipt["seq"] = landmark->sequence;
    receipt["time"] = FormatTime(landmark->receive_wall_ns);
    const auto number = receipt.find("number");
    const auto digest_text = receipt.find("digest");
    const auto digest = digest_text != receipt.end() && digest_text->is_string()
                            ? ParseHash(digest_text->get_ref<const std::string&>())
                            : std::nullopt;
    if (number != receipt.end() && number->is_number_unsigned() && digest) {
      const auto anchor = number->get<std::uint64_t>();
      const Hash& log_id = reader_->log_id();
      receipt["qualifying"] = {{"quote", QualifyingHex("receipt-quote", log_id, anchor, *digest)},
                               {"counter", QualifyingHex("certify-C", log_id, anchor, *digest)},
                               {"index", QualifyingHex("certify-X", log_id, anchor, *digest)}};
    }
    out.push_back(std::move(receipt));
  }
  return out;
}

Answer Reads::Integrity(const ReadRequest& request) {
  const auto newest = NewestCheckpoint();
  const std::string record = config_.epochs.empty() ? config_.provisioning_json : anchor::EncodeSignedRecord(config_.epochs.back());
  Json body = {{"log_id", log_id()},
               {"origin", config_.origin},
               {"vkey", config_.vkey},
               {"key_words", KeyWords(config_.vkey)},
               {"checkpoint", CheckpointJson(newest ? &*newest : nullptr)},
               {"checkpoints", CheckpointsJson()},
               {"anchors", AnchorsJson()},
               {"provisioning", ProvisioningJson(record)}};
  const Json status = Json::parse(request.status_json, nullptr, /*allow_exceptions=*/false);
  if (status.is_object()) body.update(Picked(status, {"mvw", "verdict", "tpm"}));
  Answer answer;
  answer.size = newest ? newest->size : 0;
  answer.body = Dump(body);
  return answer;
}

Answer Reads::Consistency(const ReadRequest& request) {
  Parameters parameters(request.parameters);
  const auto from = parameters.Number("from", kSequenceMax);
  const auto to = parameters.Number("to", kSequenceMax);
  if (parameters.problem()) return *parameters.problem();
  if (!from || !to || *from == 0 || *from > *to || *to > reader_->size()) {
    return Refusal(400, "bad_request", "from and to are needed: 0 < from <= to <= the log's size");
  }
  const auto proof = reader_->ConsistencyProof(*from, *to);
  const auto from_root = reader_->RootAt(*from);
  const auto to_root = reader_->RootAt(*to);
  if (!proof || !from_root || !to_root) return Refusal(503, "unavailable", "the proof cannot be computed: the store is damaged there");
  Answer answer;
  answer.size = *to;
  answer.body = Dump({{"from", *from}, {"to", *to}, {"proof", HashesJson(*proof)}, {"from_root", HexOf(*from_root)}, {"to_root", HexOf(*to_root)}});
  return answer;
}

void Reads::CountEvent(SourceTotals& totals, RecordFields& fields, std::uint64_t silence_messages, std::int64_t silence_factor,
                       std::int64_t silence_min_ns) {
  const RecordView& record = fields.record();
  const std::int64_t now_ns = record.receive_wall_ns;
  if (totals.events++ == 0) {
    totals.first_sequence = record.sequence;
    totals.first_ns = now_ns;
  }
  totals.last_sequence = record.sequence;
  totals.last_ns = now_ns;
  const std::int64_t silence_ns = totals.habit.SilenceNs(silence_messages, silence_factor, silence_min_ns);
  if (silence_ns != 0 && now_ns - totals.habit.last_ns > silence_ns) ++totals.gaps;
  totals.habit.Heard(now_ns);
  const std::int64_t minute = now_ns / kMinuteNs;
  if (minute != totals.minute) {
    totals.in_minute_before = minute == totals.minute + 1 ? totals.in_minute : 0;
    totals.in_minute = 0;
    totals.minute = minute;
  }
  ++totals.in_minute;
  if (record.kind != record::Kind::kSyslog || now_ns - totals.skew_sampled_ns < kSkewSampleNs) return;
  totals.skew_sampled_ns = now_ns;
  const ingest::ParsedMessage* parsed = fields.syslog();
  if (parsed == nullptr || !parsed->claimed_ns) return;
  const std::int64_t skew_ns = *parsed->claimed_ns - now_ns;
  totals.skew_ns = skew_ns;
  totals.skew_ns_min = std::min(totals.skew_ns_min.value_or(skew_ns), skew_ns);
  totals.skew_ns_max = std::max(totals.skew_ns_max.value_or(skew_ns), skew_ns);
  totals.skew_zone_known = !parsed->Has(ingest::kNoZone);
}

Json Reads::SourceRow(std::uint32_t id, const SourceTotals& totals, const SourceNames* names) const {
  Json row = {{"id", id},
              {"first_seq", totals.first_sequence},
              {"first_time", FormatTime(totals.first_ns)},
              {"last_seq", totals.last_sequence},
              {"last_time", FormatTime(totals.last_ns)},
              {"events", totals.events},
              {"gaps", totals.gaps}};
  row["zone"] = names != nullptr ? names->zone : "";
  row["listener"] = names != nullptr ? names->listener : "";
  row["transport"] = names != nullptr ? names->transport : "";
  row["peer"] = names != nullptr ? names->peer : "";
  if (names != nullptr) PutIdentity(*names, row);
  if (names != nullptr && !names->name.empty()) row["name"] = names->name;
  const std::int64_t minute = clock_.WallNs() / kMinuteNs;
  row["rate_per_minute"] = minute == totals.minute       ? totals.in_minute_before
                           : minute == totals.minute + 1 ? totals.in_minute
                                                         : std::uint64_t{0};
  if (totals.habit.intervals > 0) {
    row["interval_ms"] = totals.habit.mean_interval_ns / kNsPerMs;
    row["interval_ms_max"] = totals.habit.longest_interval_ns / kNsPerMs;
  }
  if (totals.skew_ns) {
    row["skew_ms"] = *totals.skew_ns / kNsPerMs;
    row["skew_ms_min"] = *totals.skew_ns_min / kNsPerMs;
    row["skew_ms_max"] = *totals.skew_ns_max / kNsPerMs;
    row["skew_zone_known"] = totals.skew_zone_known;
  }
  return row;
}

// Counted once and then kept up to date; a long log is counted over several calls, and the answer says how far it got. Who is
// silent is the ledger's word: it alone knows what it could hear.
Answer Reads::Sources(const ReadRequest& request, const std::atomic<bool>& cancelled) {
  const Json status = Json::parse(request.status_json, nullptr, /*allow_exceptions=*/false);
  const Json live = status.is_object() ? status.value("sources", Json::object()) : Json::object();
  const std::int64_t silence_min_ns = live.value("silence_min_s", std::int64_t{300}) * 1'000 * kNsPerMs;
  const auto silence_factor = std::max<std::int64_t>(1, live.value("silence_factor", std::int64_t{10}));
  const auto silence_messages = live.value("silence_messages", std::uint64_t{100});
  const ScanRange range{totals_end_, reader_->size()};
  const ScanLimits scan_limits{clock_.BoottimeNs() + kSourcesTimeBoxNs, &cancelled};
  const Matcher everything{Node{}};
  const auto outcome = scanner_.Scan(range, Order::kOldestFirst, everything, scan_limits, [&](RecordFields& fields) -> Result<bool> {
    const RecordView& record = fields.record();
    // What Stele writes about a source (its declaration, its losses, its silence) is no event of it.
    if (record.source == 0 || (record.kind != record::Kind::kSyslog && record.kind != record::Kind::kJson)) return true;
    CountEvent(totals_[record.source], fields, silence_messages, silence_factor, silence_min_ns);
    return true;
  });
  if (!outcome) return Refusal(503, "unavailable", Describe(outcome.error()));
  totals_end_ = std::max(totals_end_, outcome->resume_at);

  std::set<std::uint64_t> silent;
  for (const Json& number : live.value("silent_numbers", Json::array())) {
    if (number.is_number_unsigned()) silent.insert(number.get<std::uint64_t>());
  }
  const Matcher in_scope(request.scope.must);
  Json rows = Json::array();
  for (const auto& [id, totals] : totals_) {
    RecordView like;
    like.source = id;
    like.sequence = totals.last_sequence;
    RecordFields fields(like, scanner_.sources(), scanner_.scratch());
    if (!request.scope.sources_all && !in_scope.Matches(fields)) continue;
    Json row = SourceRow(id, totals, fields.source());
    if (live.contains("silent_numbers")) row["silent"] = silent.contains(id);
    rows.push_back(std::move(row));
  }
  Answer answer;
  answer.rows = rows.size();
  Json body = {{"complete", totals_end_ >= reader_->size()}, {"counted_records", totals_end_}};
  body["sources"] = std::move(rows);
  answer.body = Dump(body);
  return answer;
}

}  // namespace stele::query
