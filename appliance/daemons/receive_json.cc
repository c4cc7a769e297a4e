#include "appliance/daemons/receive_json.h"

#include <nlohmann/json.hpp>

#include "appliance/ingest/bulk_body.h"

namespace stele::receive {
namespace {

using nlohmann::json;
constexpr std::int64_t kAlarmEveryNs = 60'000'000'000;

Result<std::shared_ptr<const ingest::SourceKeys>> SourceKeysOf(const json& list) {
  auto keys = std::make_shared<ingest::SourceKeys>();
  for (const json& one : list) {
    const std::string kid = one.value("kid", "");
    if (auto added = keys->Add(kid, one.value("alg", ""), one.value("public_key", "")); !added) {
      return Fail(Code::kInvalid, "source key \"" + kid + "\": " + added.error().context);
    }
  }
  return std::shared_ptr<const ingest::SourceKeys>(std::move(keys));
}

Result<std::vector<ingest::Sender>> SendersOf(const json& list) {
  std::vector<ingest::Sender> senders;
  for (const json& one : list) {
    ingest::Sender sender;
    sender.name = one.value("name", "");
    sender.token_sha256 = ParseHash(one.value("token_sha256", ""));
    sender.fingerprint = ParseHash(one.value("fingerprint", ""));
    if (!sender.token_sha256 && !sender.fingerprint)
      return Fail(Code::kInvalid, "sender " + sender.name + ": neither token nor fingerprint");
    senders.push_back(std::move(sender));
  }
  return senders;
}

}  // namespace

void SignatureAlarms::Note(const From& from, ByteView event, const ingest::SourceKeys& keys, std::uint64_t count,
                           std::int64_t now_ns) {
  ingest::JwsVerdict verdict;
  if (const auto at = by_source_.find(from.source); at == by_source_.end() || at->second.count == 0) {
    verdict = ingest::JudgeJws(event, keys);
    if (verdict.word == ingest::JwsVerdict::Word::kNotSigned)
      verdict = ingest::JudgeJws(AsBytes(ingest::BulkDocumentOf(AsText(event))), keys);
  }
  Note(from, verdict.kid, verdict.reason, count, now_ns);
}

void SignatureAlarms::Note(const From& from, const std::string& kid, const std::string& reason, std::uint64_t count,
                           std::int64_t now_ns) {
  if (from.source == kRefusedSource) return;  // nothing of it is in the log
  Pending& pending = by_source_[from.source];
  if (pending.count == 0) {
    pending.from = from;
    pending.kid = kid;
    pending.reason = reason;
    pending.from_ns = now_ns;
  }
  pending.count += count;
  pending.to_ns = now_ns;
}

void SignatureAlarms::Tick(std::int64_t now_ns) {
  if (!link_.Ready()) return;  // counted further
  bool added = false;
  for (auto at = by_source_.begin(); at != by_source_.end();) {
    Pending& pending = at->second;
    const bool due =
        now_ns - pending.alarmed_ns >= kAlarmEveryNs || now_ns < pending.alarmed_ns;  // the clock may step back
    if (!due) {
      ++at;
      continue;
    }
    if (pending.count == 0) {
      at = by_source_.erase(at);
      continue;
    }
    const json entry = {{"alarm", "signature_invalid"},
                        {"text", std::to_string(pending.count) + " signed events from " + pending.from.peer +
                                     " whose signature does not hold: " + pending.reason},
                        {"zone", account_.zone},
                        {"listener", pending.from.listener},
                        {"peer", pending.from.peer},
                        {"sender", pending.from.sender},
                        {"kid", pending.kid},
                        {"count", pending.count},
                        {"from_ns", pending.from_ns},
                        {"to_ns", pending.to_ns}};
    const std::string payload = entry.dump(-1, ' ', false, json::error_handler_t::replace);
    link_.Add(account_, record::Kind::kAlarm, 0, at->first, now_ns, record::Peer{}, AsBytes(payload));
    pending = {};
    pending.alarmed_ns = now_ns;
    added = true;
    ++at;
  }
  if (added) link_.FlushSoon();
}

// Shared by the frames of one batch: the last acknowledgement answers.
struct JsonSink::Progress {
  std::size_t frames_left = 1;  // held until all frames are queued
  std::size_t events = 0;
  ingest::JsonOutcome outcome;
  std::function<void(ingest::JsonOutcome)> done;

  void Take(const LedgerLink::Outcome& frame) {
    auto& ranges = outcome.ranges;
    if (!frame.committed) {
      outcome.committed = false;
    } else if (!ranges.empty() && ranges.back().second + 1 == frame.first_sequence) {
      ranges.back().second = frame.first_sequence + frame.count - 1;
    } else {
      ranges.emplace_back(frame.first_sequence, frame.first_sequence + frame.count - 1);
    }
    outcome.leaves.insert(outcome.leaves.end(), frame.leaves.begin(), frame.leaves.end());
  }
  void FinishOne(const std::string& newest_note) {
    if (--frames_left != 0) return;
    if (outcome.leaves.size() != events)
      outcome.leaves.clear();  // all or none: a hole would be read as another event's
    if (!newest_note.empty()) outcome.checkpoint = newest_note;
    done(std::move(outcome));
  }
};

void JsonSink::Submit(ingest::JsonBatch batch, std::function<void(ingest::JsonOutcome)> done) {
  bool overflow = false;
  const std::uint32_t source =
      link_.SourceOf(index_, listener_, batch.peer, SenderIdentity(batch.identity), overflow, batch.target);
  if (link_.MayReadInNs(source) > 0) {  // above its quota: nothing is stored, and the sender is told so
    done({});
    return;
  }
  std::vector<LedgerLink::WaitedRecord> records;
  records.reserve(batch.events.size());
  for (const ingest::JsonSlice& event : batch.events) {
    std::uint16_t flags = event.signature_flags;
    if (overflow) flags |= record::kFlagOverflowSource;
    if (!event.parsed) flags |= record::kFlagUnparsed;
    records.push_back({flags, batch.EventBytes(event)});
  }
  listener_.received += records.size();
  NoteSignatures(batch, source);
  auto progress = std::make_shared<Progress>();
  progress->events = records.size();
  progress->outcome.committed = true;
  progress->done = std::move(done);
  const auto on_frame = [this, progress](const LedgerLink::Outcome& frame) {
    progress->Take(frame);
    progress->FinishOne(link_.newest_note());
  };
  progress->frames_left += link_.AddWaited(listener_, record::Kind::kJson, source, batch.receive_wall_ns, batch.peer,
                                           records, on_frame, batch.wants_leaves);
  progress->FinishOne(link_.newest_note());
}

void JsonSink::NoteSignatures(const ingest::JsonBatch& batch, std::uint32_t source) {
  std::uint64_t count = 0;
  const ingest::JsonSlice* first = nullptr;
  for (const ingest::JsonSlice& event : batch.events) {
    if ((event.signature_flags & record::kFlagSignatureInvalid) == 0) continue;
    if (first == nullptr) first = &event;
    ++count;
  }
  if (first == nullptr) return;
  alarms_.Note({source, listener_.name, record::PeerAddressText(batch.peer), batch.identity}, batch.EventBytes(*first),
               *keys_, count, batch.receive_wall_ns);
}

std::string SenderIdentity(std::string_view name) {
  if (name.empty()) return {};
  return json{{"sender", name}}.dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<JsonTrust> JsonTrustOf(const json& configuration) {
  JsonTrust trust;
  trust.tokens = configuration.value("tokens", std::vector<std::string>());
  STELE_TRY(trust.senders, SendersOf(configuration.value("senders", json::array())));
  STELE_TRY(trust.keys, SourceKeysOf(configuration.value("keys", json::array())));
  return trust;
}

}  // namespace stele::receive
