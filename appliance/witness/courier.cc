#include "appliance/witness/courier.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "appliance/base/text.h"
#include "appliance/ledger/add_checkpoint.h"
#include "appliance/witness/refusal_file.h"

namespace stele::witness {
namespace {

using nlohmann::json;

constexpr std::int64_t kNsPerSecond = 1'000'000'000;
constexpr std::int64_t kFutureSecondsMax = 600;  // of a witness's clock before ours
constexpr std::size_t kReasonCharactersMax = 200;

std::string TimeText(std::uint64_t time_s) { return FormatTime(static_cast<std::int64_t>(time_s) * kNsPerSecond); }

std::string ReasonOf(const HttpAnswer& answer) {
  std::string_view line = answer.body;
  line = line.substr(0, std::min(line.find('\n'), kReasonCharactersMax));
  return "status " + std::to_string(answer.status) + (line.empty() ? "" : ": " + EscapeForTerminal(AsBytes(line)));
}

}  // namespace

const char* StateName(WitnessState state) {
  switch (state) {
    case WitnessState::kUnknown:
      return "unknown";
    case WitnessState::kByFile:
      return "by_file";
    case WitnessState::kCosigned:
      return "cosigned";
    case WitnessState::kUnreachable:
      return "unreachable";
    case WitnessState::kRefused:
      return "refused";
    case WitnessState::kForked:
      return "forked";
  }
  return "unknown";
}

Courier::Courier(Cosigned cosigned, LogSource& source, PostTo post, Clock& clock, std::int64_t quorum_max_age_s)
    : cosigned_(std::move(cosigned)),
      source_(source),
      post_(std::move(post)),
      clock_(clock),
      quorum_max_age_s_(quorum_max_age_s),
      started_s_(clock.WallNs() / kNsPerSecond),
      standings_(cosigned_.policy().witnesses.size()) {}

Result<std::vector<CourierAlarm>> Courier::Round() {
  auto note = source_.NewestCheckpoint();
  if (!note && note.error().code == Code::kNotFound) return std::vector<CourierAlarm>{};
  if (!note) return tl::unexpected(std::move(note.error()));
  STELE_TRY(const ledger::OpenedCheckpoint opened, ledger::OpenCheckpoint(*note, cosigned_.log()));
  for (std::size_t i = 0; i < standings_.size(); ++i) {
    if (signed_sizes_.count(i) != 0 && signed_sizes_[i] == opened.checkpoint.size) continue;
    Ask(i, *note, opened.checkpoint);
  }
  return NewAlarms();
}

void Courier::Set(std::size_t witness, WitnessState state, std::string text) {
  standings_[witness] = {state, std::move(text)};
  if (state != WitnessState::kForked && state != WitnessState::kUnreachable) fork_alarmed_.erase(witness);
}

void Courier::Ask(std::size_t witness, const std::string& note, const ledger::Checkpoint& checkpoint) {
  const auto had = cosigned_.Of(witness);
  std::uint64_t old_size = had ? had->checkpoint.size : 0;
  if (const auto said = old_sizes_.find(witness); said != old_sizes_.end()) old_size = std::max(old_size, said->second);
  // A larger one than we have cannot be asked for; the witness itself shall say so, not a file beside our log.
  old_size = std::min(old_size, checkpoint.size);
  for (int attempt = 0; attempt < 2; ++attempt) {
    const auto answer = Submit(witness, note, old_size, checkpoint.size);
    if (!answer && answer.error().code == Code::kNotFound) return Set(witness, WitnessState::kByFile, "");
    if (!answer) return Set(witness, WitnessState::kUnreachable, answer.error().context);
    if (answer->status == 200) return Take(witness, note, *answer);
    if (answer->status == 422)
      return Set(witness, WitnessState::kForked,
                 "it cosigned another history of the first " + std::to_string(old_size) + " records");
    if (answer->status != 409) {
      const bool ours = answer->status == 400 || answer->status == 403 || answer->status == 404;
      return Set(witness, ours ? WitnessState::kRefused : WitnessState::kUnreachable, ReasonOf(*answer));
    }
    const auto latest = ledger::ParseTreeSize(answer->body);
    if (!latest) return Set(witness, WitnessState::kUnreachable, "status 409 without a size");
    if (*latest > checkpoint.size) {
      return Set(witness, WitnessState::kForked,
                 "it cosigned " + std::to_string(*latest) + " records of this log, which has " +
                     std::to_string(checkpoint.size));
    }
    if (*latest == old_size)
      return Set(witness, WitnessState::kForked,
                 "it cosigned another root for " + std::to_string(old_size) + " records");
    old_size = *latest;
    old_sizes_[witness] = old_size;
  }
  Set(witness, WitnessState::kUnreachable, "its size moves: somebody else submits this log");
}

Result<HttpAnswer> Courier::Submit(std::size_t witness, const std::string& note, std::uint64_t old_size,
                                   std::uint64_t size) {
  STELE_TRY(auto proof, source_.Consistency(old_size, size));
  return post_(witness, ledger::FormatAddCheckpoint({old_size, std::move(proof), note}));
}

// The lines are believed when they verify, and when their time is not far in the future.
void Courier::Take(std::size_t witness, const std::string& note, const HttpAnswer& answer) {
  const auto lines = ledger::ParseSignatureLines(answer.body);
  if (!lines) return Set(witness, WitnessState::kUnreachable, "its answer is no signature");
  auto joined = ledger::ParseNote(note);
  STELE_CHECK(joined.has_value());  // Round() has opened it
  const ledger::CosignerKey& key = cosigned_.policy().witnesses[witness].key;
  for (const ledger::NoteSignature& line : *lines) {
    if (line.name == key.name && line.key_id == key.Id()) joined->signatures.push_back(line);
  }
  const auto time_s = ledger::VerifyCosignature(*joined, key);
  if (!time_s) return Set(witness, WitnessState::kUnreachable, time_s.error().context);
  if (static_cast<std::int64_t>(*time_s) > clock_.WallNs() / kNsPerSecond + kFutureSecondsMax)
    return Set(witness, WitnessState::kUnreachable, "its cosignature is of the future: " + TimeText(*time_s));
  if (const auto kept = cosigned_.Keep(ledger::FormatNote(*joined)); !kept)
    return Set(witness, WitnessState::kUnreachable, Describe(kept.error()));
  const auto checkpoint = ledger::ParseCheckpoint(joined->text);
  signed_sizes_[witness] = checkpoint ? checkpoint->size : 0;
  old_sizes_.erase(witness);
  Set(witness, WitnessState::kCosigned, "");
}

std::vector<CourierAlarm> Courier::NewAlarms() {
  std::vector<CourierAlarm> alarms;
  for (std::size_t i = 0; i < standings_.size(); ++i) {
    if (standings_[i].state != WitnessState::kForked || !fork_alarmed_.insert(i).second) continue;
    alarms.push_back({"witness_fork", "witness " + EscapeForTerminal(AsBytes(cosigned_.policy().witnesses[i].name)) +
                                          " refuses this log: " + standings_[i].text +
                                          ". The log was rolled back or forked, or its key is used elsewhere"});
  }
  const auto quorum = cosigned_.WithQuorum();
  const std::int64_t since_s = std::max(started_s_, quorum ? static_cast<std::int64_t>(quorum->time_s) : 0);
  const bool stale =
      cosigned_.policy().quorum != "none" && clock_.WallNs() / kNsPerSecond - since_s > quorum_max_age_s_;
  if (stale && !quorum_alarmed_) {
    alarms.push_back({"witness_quorum", "no checkpoint has had its quorum of cosignatures for more than " +
                                            std::to_string(quorum_max_age_s_) + " s"});
  }
  quorum_alarmed_ = stale;
  TakeRefusalFile(alarms);
  return alarms;
}

// It goes only in the round after its alarm: what dies between alarms again.
void Courier::TakeRefusalFile(std::vector<CourierAlarm>& alarms) {
  auto refusal = ReadRefusal(cosigned_.dir());
  if (refusal && refusal == file_alarmed_) {
    RemoveRefusal(cosigned_.dir());
    if (!ReadRefusal(cosigned_.dir())) refusal.reset();  // the same again is news again
  } else if (refusal) {
    alarms.push_back({"witness_fork", "an answer brought by file: " + *refusal +
                                          ". The log was rolled back or forked, or its key is used elsewhere"});
  }
  file_alarmed_ = std::move(refusal);
}

std::string Courier::StatusJson() {
  json witnesses = json::array();
  for (std::size_t i = 0; i < standings_.size(); ++i) {
    json one = {{"name", cosigned_.policy().witnesses[i].name},
                {"state", StateName(standings_[i].state)},
                {"text", standings_[i].text}};
    if (const auto head = cosigned_.Of(i)) {
      one["size"] = head->checkpoint.size;
      one["time"] = TimeText(head->time_s);
    }
    witnesses.push_back(std::move(one));
  }
  json quorum = {{"met", false}};
  if (const auto head = cosigned_.WithQuorum()) {
    quorum = {{"met", true}, {"size", head->checkpoint.size}, {"time", TimeText(head->time_s)}};
  }
  return json{{"quorum", quorum}, {"witnesses", witnesses}}.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace stele::witness
