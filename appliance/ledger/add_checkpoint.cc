#include "appliance/ledger/add_checkpoint.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "appliance/ledger/merkle.h"

namespace stele::ledger {
namespace {

constexpr std::string_view kOld = "old ";

bool ParseDecimal(std::string_view text, std::uint64_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() && (text == "0" || text.front() != '0');
}

WitnessDecision Refuse(WitnessVerdict verdict, std::string reason, Checkpoint checkpoint = {}) {
  return {verdict, std::move(reason), std::move(checkpoint), {}, 0};
}

// The signatures by keys that this witness trusts for the origin; the others do not count.
bool SignedByOneOf(const Note& note, const std::string& origin, const std::vector<VerifyKey>& logs) {
  return std::any_of(logs.begin(), logs.end(),
                     [&](const VerifyKey& key) { return key.name == origin && VerifyNote(note, key).has_value(); });
}

WitnessDecision DecideAgainstHead(const AddCheckpoint& request, const Note& note, Checkpoint checkpoint,
                                  const WitnessedHead& head) {
  if (request.old_size > checkpoint.size)
    return Refuse(WitnessVerdict::kMalformed, "the old size is greater than the checkpoint's");
  WitnessDecision decision = Refuse(WitnessVerdict::kConflict, "", std::move(checkpoint));
  decision.latest_size = head.size;
  if (request.old_size != head.size) {
    decision.reason = "the old size is not that of the latest cosigned checkpoint";
    return decision;
  }
  if (head.size == decision.checkpoint.size && head.root != decision.checkpoint.root) {
    decision.reason = "another root was cosigned for this size";
    return decision;
  }
  if (!VerifyConsistency(head.size, decision.checkpoint.size, head.root, decision.checkpoint.root, request.proof)) {
    decision.verdict = WitnessVerdict::kInconsistent;
    decision.reason = "the consistency proof does not verify";
    return decision;
  }
  decision.verdict = WitnessVerdict::kCosign;
  decision.text = note.text;
  return decision;
}

}  // namespace

std::string FormatAddCheckpoint(const AddCheckpoint& request) {
  std::string body = std::string(kOld) + std::to_string(request.old_size) + "\n";
  for (const Hash& hash : request.proof) body += Base64Of(hash) + "\n";
  return body + "\n" + request.note;
}

Result<AddCheckpoint> ParseAddCheckpoint(std::string_view body) {
  if (body.size() > kAddCheckpointBytesMax) return Fail(Code::kInvalid, "add-checkpoint: too long");
  AddCheckpoint request;
  std::size_t end = body.find('\n');
  if (body.substr(0, kOld.size()) != kOld || end == std::string_view::npos ||
      !ParseDecimal(body.substr(kOld.size(), end - kOld.size()), request.old_size))
    return Fail(Code::kInvalid, "add-checkpoint: the first line is not the old size");
  body.remove_prefix(end + 1);
  while ((end = body.find('\n')) != 0) {
    if (end == std::string_view::npos) return Fail(Code::kInvalid, "add-checkpoint: no empty line after the proof");
    const auto raw = ParseBase64(body.substr(0, end), kHashBytes);
    if (!raw || raw->size() != kHashBytes || request.proof.size() == kConsistencyHashesMax)
      return Fail(Code::kInvalid, "add-checkpoint: a line of the proof is not a hash, or there are too many");
    std::copy(raw->begin(), raw->end(), request.proof.emplace_back().begin());
    body.remove_prefix(end + 1);
  }
  request.note = std::string(body.substr(1));
  STELE_TRY_VOID(ParseNote(request.note));
  return request;
}

WitnessDecision DecideAddCheckpoint(std::string_view body, const std::vector<VerifyKey>& logs, const HeadOf& head_of) {
  const auto request = ParseAddCheckpoint(body);
  if (!request) return Refuse(WitnessVerdict::kMalformed, request.error().context);
  const auto note = ParseNote(request->note);
  if (!note) return Refuse(WitnessVerdict::kMalformed, note.error().context);
  auto checkpoint = ParseForeignCheckpoint(note->text);
  if (!checkpoint) return Refuse(WitnessVerdict::kMalformed, checkpoint.error().context);
  const std::string origin = checkpoint->origin;
  //= c2sp.org/tlog-witness, "add-checkpoint"
  //# If the checkpoint origin is unknown, the witness MUST respond with a "404 Not Found" HTTP status code.
  if (std::none_of(logs.begin(), logs.end(), [&origin](const VerifyKey& key) { return key.name == origin; }))
    return Refuse(WitnessVerdict::kUnknownLog, "this witness does not know the log", std::move(*checkpoint));
  //# If none of the signatures verify against a trusted public key, the witness MUST respond with a "403 Forbidden"
  if (!SignedByOneOf(*note, origin, logs))
    return Refuse(WitnessVerdict::kNotSigned, "not signed by a key of this log", std::move(*checkpoint));
  return DecideAgainstHead(*request, *note, std::move(*checkpoint), head_of(origin));
}

Result<std::uint64_t> ParseTreeSize(std::string_view body) {
  std::uint64_t size = 0;
  if (body.empty() || body.back() != '\n' || !ParseDecimal(body.substr(0, body.size() - 1), size))
    return Fail(Code::kInvalid, "not a tree size");
  return size;
}

}  // namespace stele::ledger
