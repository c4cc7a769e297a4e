#include "appliance/daemons/receive_signed.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "appliance/ingest/message.h"

namespace stele::receive {
namespace {

using ingest::BlockVerdict;
using ingest::SignedBlockReading;
using nlohmann::json;

constexpr std::int64_t kAlarmEveryNs = 60'000'000'000;
constexpr std::int64_t kQuietNs = limits::kSignedQuietMs * 1'000'000;
constexpr std::int64_t kCandidateQuietNs = limits::kSignedListMs * 1'000'000;

// What the findings are, as a person would say it.
std::string TextOf(const ingest::CoverageFindings& findings, std::uint64_t unchecked, const std::string& peer) {
  std::string text = "signed syslog of " + (findings.host.empty() ? peer : findings.host) + ": ";
  std::string list;
  const auto add = [&list](std::uint64_t count, const char* what) {
    if (count != 0) list += (list.empty() ? "" : ", ") + std::to_string(count) + " " + what;
  };
  add(findings.missing, "listed messages that did not come as they were signed");
  add(findings.unlisted, "messages that no signature block lists");
  add(findings.skipped, "message numbers whose signature block did not come");
  add(findings.replayed, "signature blocks sent again or of an older session");
  add(findings.conflicting, "signature blocks that contradict an earlier one");
  add(findings.uncompared, "not compared for want of room");
  add(unchecked, "blocks not checked for want of time");
  return text + list;
}

json RangesJson(const ingest::CoverageFindings& findings) {
  json list = json::array();
  for (const auto& range : findings.ranges) {
    list.push_back({{"what", range.what},
                    {"rsid", range.session},
                    {"sg", range.group.kind},
                    {"spri", range.group.priority},
                    {"numbers", {range.first, range.last}}});
  }
  return list;
}

}  // namespace

std::uint16_t SignedSyslog::Take(const Listener& listener, std::uint32_t source, const record::Peer& peer,
                                 ByteView message, std::uint16_t flags) {
  if (source == kRefusedSource || (flags & record::kFlagFramingError) != 0) return 0;
  const bool overflow = (flags & record::kFlagOverflowSource) != 0;  // its messages come from many peers
  if (ingest::MayBeSignedBlock(message)) {
    const std::uint16_t verdict = TakeBlock(listener, source, peer, message, overflow);
    if (verdict != 0) return verdict;
  }
  // A copy that is sent again was compared when it first came.
  if (overflow || (flags & record::kFlagPossibleDuplicate) != 0) return 0;
  const std::string_view host = ingest::PeekHost(message, clock_.WallNs());
  Source* const signing = keys_->Expects(host) ? FindOrMake(listener, source, peer) : Find(source);
  if (signing == nullptr) return 0;
  signing->heard_ns = clock_.BoottimeNs();
  signing->coverage.TakeMessage(message, host, signing->heard_ns);
  return 0;
}

std::uint16_t SignedSyslog::TakeBlock(const Listener& listener, std::uint32_t source, const record::Peer& peer,
                                      ByteView message, bool overflow) {
  const SignedBlockReading reading = ingest::ReadSignedBlock(message);
  if (reading.word == SignedBlockReading::Word::kNone) return 0;
  Source* signing = FindOrMake(listener, source, peer);
  std::unique_ptr<Source> passing;  // where there is no room for one more
  if (signing == nullptr) {
    passing = Make(listener, peer);
    signing = passing.get();
  }
  signing->heard_ns = clock_.BoottimeNs();
  const BlockVerdict verdict = Judge(*signing, reading);
  switch (verdict.word) {
    case BlockVerdict::Word::kValid:
      if (!reading.block.is_certificate && !overflow && Promote(source, std::move(passing))) {
        signing->coverage.TakeBlock(reading.block, *verdict.registered, signing->heard_ns);
      }
      return record::kFlagSignatureValid;
    case BlockVerdict::Word::kInvalid:
      alarms_.Note({source, listener.name, record::PeerAddressText(peer), std::string(reading.block.host)},
                   verdict.registered == nullptr ? "" : verdict.registered->name, verdict.reason, 1, clock_.WallNs());
      return record::kFlagSignatureInvalid;
    case BlockVerdict::Word::kUnchecked:
      ++signing->unchecked;
      return record::kFlagSignatureUnknown;
    case BlockVerdict::Word::kUnknown:
      break;
  }
  return record::kFlagSignatureUnknown;
}

BlockVerdict SignedSyslog::Judge(Source& source, const SignedBlockReading& reading) {
  using Word = BlockVerdict::Word;
  if (reading.word == SignedBlockReading::Word::kMalformed) return {Word::kInvalid, nullptr, reading.reason};
  if (reading.word == SignedBlockReading::Word::kUnsupported) return {Word::kUnknown, nullptr, ""};
  unsigned left =
      std::min(limits::kSignedChecksPerSecond - std::min(checks_, limits::kSignedChecksPerSecond),
               limits::kSignedChecksPerSourceSecond - std::min(source.checks, limits::kSignedChecksPerSourceSecond));
  const unsigned before = left;
  const BlockVerdict verdict = source.sessions.Judge(reading.block, *keys_, clock_.WallNs(), left);
  checks_ += before - left;
  source.checks += before - left;
  return verdict;
}

SignedSyslog::Source* SignedSyslog::Find(std::uint32_t source) {
  if (const auto at = active_.find(source); at != active_.end()) return at->second.get();
  const auto at = candidates_.find(source);
  return at == candidates_.end() ? nullptr : at->second.get();
}

SignedSyslog::Source* SignedSyslog::FindOrMake(const Listener& listener, std::uint32_t source,
                                               const record::Peer& peer) {
  if (Source* known = Find(source)) return known;
  if (candidates_.size() >= limits::kSignedCandidates) return nullptr;
  return candidates_.emplace(source, Make(listener, peer)).first->second.get();
}

std::unique_ptr<SignedSyslog::Source> SignedSyslog::Make(const Listener& listener, const record::Peer& peer) {
  auto made = std::make_unique<Source>(*this);
  made->listener = listener.name;
  made->peer = record::PeerAddressText(peer);
  return made;
}

// The source has sent a valid block. False: there is no room, and only its blocks are judged.
bool SignedSyslog::Promote(std::uint32_t source, std::unique_ptr<Source> passing) {
  if (active_.contains(source)) return true;
  if (active_.size() >= limits::kSignedSources) return false;
  const auto at = candidates_.find(source);
  if (at == candidates_.end()) {
    active_.emplace(source, std::move(passing));
  } else {
    active_.insert(candidates_.extract(at));
  }
  return true;
}

void SignedSyslog::Tick() {
  const std::int64_t now_ns = clock_.BoottimeNs();
  checks_ = 0;
  for (Sources* sources : {&active_, &candidates_}) {
    for (auto& [number, source] : *sources) {
      source->checks = 0;
      source->coverage.Tick(now_ns);
      Alarm(number, *source, now_ns);
    }
  }
  const auto quiet = [now_ns](std::int64_t limit_ns) {
    return [now_ns, limit_ns](const auto& one) { return one.second->heard_ns + limit_ns <= now_ns; };
  };
  std::erase_if(candidates_, quiet(kCandidateQuietNs));
  if (active_.size() >= limits::kSignedSources) std::erase_if(active_, quiet(kQuietNs));
}

void SignedSyslog::Alarm(std::uint32_t number, Source& source, std::int64_t now_ns) {
  const ingest::CoverageFindings& findings = source.coverage.findings();
  if (!findings.any() && source.unchecked == 0) return;
  const bool due = source.alarmed_ns == 0 || now_ns - source.alarmed_ns >= kAlarmEveryNs;
  if (!due || !link_.Ready()) return;  // counted further
  json entry = {{"alarm", "signed_syslog"},
                {"text", TextOf(findings, source.unchecked, source.peer)},
                {"zone", account_.zone},
                {"listener", source.listener},
                {"peer", source.peer},
                {"host", findings.host},
                {"app", findings.app},
                {"key", findings.key},
                {"missing", findings.missing},
                {"unlisted", findings.unlisted},
                {"skipped", findings.skipped},
                {"replayed", findings.replayed},
                {"conflicting", findings.conflicting},
                {"uncompared", findings.uncompared},
                {"unchecked", source.unchecked},
                {"ranges", RangesJson(findings)}};
  if (findings.unlisted != 0) {
    const std::int64_t to_wall_ns = clock_.WallNs() - now_ns;
    entry["unlisted_from_ns"] = findings.unlisted_first_ns + to_wall_ns;
    entry["unlisted_to_ns"] = findings.unlisted_last_ns + to_wall_ns;
  }
  const std::string payload = entry.dump(-1, ' ', false, json::error_handler_t::replace);
  link_.Add(account_, record::Kind::kAlarm, 0, number, clock_.WallNs(), record::Peer{}, AsBytes(payload));
  link_.FlushSoon();
  source.coverage.ClearFindings();
  source.unchecked = 0;
  source.alarmed_ns = now_ns;
}

Result<std::shared_ptr<const ingest::SyslogKeys>> SyslogKeysOf(const json& list) {
  auto keys = std::make_shared<ingest::SyslogKeys>();
  for (const json& one : list) {
    const auto text = [&one](const char* name) { return one.value(name, ""); };
    const ingest::SyslogKeyText key{text("name"),        text("host"),      text("public_key"), text("certificate"),
                                    text("fingerprint"), text("authority"), text("unlisted")};
    if (auto added = keys->Add(key); !added) {
      return Fail(Code::kInvalid, "syslog key \"" + key.name + "\": " + added.error().context);
    }
  }
  return std::shared_ptr<const ingest::SyslogKeys>(std::move(keys));
}

}  // namespace stele::receive
