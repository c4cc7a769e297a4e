#include "appliance/ingest/signed_coverage.h"

#include <algorithm>
#include <utility>

#include "appliance/base/hash.h"

namespace stele::ingest {
namespace {

constexpr std::int64_t kMsNs = 1'000'000;
constexpr std::int64_t kGraceNs = limits::kSignedGraceMs * kMsNs;
constexpr std::int64_t kListNs = limits::kSignedListMs * kMsNs;

// Case does not matter in a HOSTNAME.
std::uint64_t HostTag(std::string_view host) {
  std::string lower(host);
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return Fingerprint64(AsBytes(lower), 0);
}

// Enough of a hash to tell two apart; never 0.
std::uint64_t MarkOf(const MessageDigest& digest) { return LoadLittle<std::uint64_t>(digest.data()) | 1U; }

std::size_t IndexOf(BlockHash hash) { return hash == BlockHash::kSha1 ? 0 : 1; }

}  // namespace

SignedCoverage::~SignedCoverage() {
  if (active_) budget_.messages -= seen_.size() + expected_.size();
  while (!sessions_.empty()) DropSession(0);
}

void SignedCoverage::ClearFindings() {
  CoverageFindings fresh;
  fresh.host = std::move(findings_.host);
  fresh.app = std::move(findings_.app);
  fresh.key = std::move(findings_.key);
  findings_ = std::move(fresh);
}

void SignedCoverage::TakeMessage(ByteView message, std::string_view host, std::int64_t now_ns) {
  Seen seen;
  for (const BlockHash hash : {BlockHash::kSha1, BlockHash::kSha256}) {
    if (!active_ || hashes_used_[IndexOf(hash)]) seen.digests[IndexOf(hash)] = DigestOf(hash, message);
  }
  const auto waiting = std::find_if(expected_.begin(), expected_.end(), [&seen](const Expected& one) {
    return one.digest == seen.digests[IndexOf(one.hash)];
  });
  if (waiting != expected_.end()) {
    expected_.erase(waiting);
    --budget_.messages;
    return;
  }
  const std::size_t room = active_ ? limits::kSignedMessages : limits::kSignedCandidateMessages;
  if (seen_.size() >= room) ForgetOldest();
  if (active_ && budget_.messages >= limits::kSignedMessagesAll) {
    if (seen_.empty()) {
      ++findings_.uncompared;
      return;
    }
    ForgetOldest();
  }
  seen.host = HostTag(host);
  seen.at_ns = now_ns;
  seen_.push_back(seen);
  if (active_) ++budget_.messages;
}

void SignedCoverage::ForgetOldest() {
  if (active_ && !seen_.front().listed) ++findings_.uncompared;
  seen_.pop_front();
  if (active_) --budget_.messages;
  if (next_seen_ > 0) --next_seen_;
}

void SignedCoverage::TakeBlock(const SignedBlock& block, const SyslogKeys::Registered& key, std::int64_t now_ns) {
  if (!active_) {
    active_ = true;
    active_since_ns_ = now_ns;
    budget_.messages += seen_.size();
  }
  hashes_used_[IndexOf(block.hash)] = true;
  findings_.host = block.host;
  findings_.app = block.app;
  findings_.key = key.name;
  if (key.unlisted == Unlisted::kAll) unlisted_of_all_ = true;
  if (key.unlisted == Unlisted::kHost && unlisted_hosts_.size() < limits::kSignedSessions) {
    unlisted_hosts_.insert(HostTag(block.host));
  }
  const std::string signer = key.name + '\n' + std::string(block.host) + ' ' + std::string(block.app);
  Session* session = SessionOf(block, signer);
  if (session == nullptr) {
    ++findings_.replayed;
    return;
  }
  Group* group = GroupOf(*session, block.group);
  if (group == nullptr) {
    findings_.uncompared += block.hashes.size();
    return;
  }
  const Listing listing = ListBlock(*session, *group, block, now_ns);
  if (listing == Listing::kFresh) {
    session->repeats = 0;
    return;
  }
  if (listing == Listing::kConflict) ++findings_.conflicting;
  const auto newest = newest_sessions_.find(signer);
  const bool is_newest = newest == newest_sessions_.end() || newest->second == session->number;
  if (listing != Listing::kConflict && (!is_newest || ++session->repeats > limits::kSignedRepeats))
    ++findings_.replayed;
}

// nullptr: a session older than another of the same signer that was never seen before.
SignedCoverage::Session* SignedCoverage::SessionOf(const SignedBlock& block, const std::string& signer) {
  for (Session& session : sessions_) {
    if (session.signer == signer && session.pid == block.pid && session.number == block.session) return &session;
  }
  const auto newest = newest_sessions_.find(signer);
  const bool known_signer = newest != newest_sessions_.end();
  if (known_signer && block.session != 0 && block.session < newest->second) return nullptr;
  if (known_signer) {
    newest->second = block.session;
  } else if (newest_sessions_.size() < limits::kSignedSessions) {
    newest_sessions_.emplace(signer, block.session);
  }
  if (sessions_.size() >= limits::kSignedSessions) DropSession(0);
  Session fresh;
  fresh.signer = signer;
  fresh.pid = block.pid;
  fresh.number = block.session;
  fresh.joined_midway = !known_signer;
  sessions_.push_back(std::move(fresh));
  return &sessions_.back();
}

void SignedCoverage::DropSession(std::size_t index) {
  budget_.groups -= sessions_[index].groups.size();
  sessions_.erase(sessions_.begin() + static_cast<std::ptrdiff_t>(index));
}

SignedCoverage::Group* SignedCoverage::GroupOf(Session& session, const SignatureGroup& group) {
  const auto at = session.groups.find(group);
  if (at != session.groups.end()) return &at->second;
  if (session.groups.size() >= limits::kSignedGroups || budget_.groups >= limits::kSignedGroupsAll) return nullptr;
  ++budget_.groups;
  return &session.groups[group];
}

SignedCoverage::Listing SignedCoverage::ListBlock(Session& session, Group& group, const SignedBlock& block,
                                                  std::int64_t now_ns) {
  bool leading = false;  // of a session joined midway: what came before we listened
  if (!group.begun) {
    group.begun = true;
    leading = session.joined_midway;
    group.highest = session.joined_midway ? block.first_message - 1 : 0;
  }
  Listing listing = Listing::kKnown;
  for (std::size_t i = 0; i < block.hashes.size(); ++i) {
    const std::uint64_t number = block.first_message + i;
    const MessageDigest& digest = block.hashes[i];
    Listing one = ListNumber(group, number, MarkOf(digest), now_ns);
    if (block.session == 0 && (one == Listing::kConflict || one == Listing::kOld)) {
      // A signer that cannot count its reboots (RSID 0) begins its numbers anew.
      group = {};
      group.begun = true;
      one = ListNumber(group, number, MarkOf(digest), now_ns);
    }
    if (one == Listing::kConflict) return Listing::kConflict;
    if (one != Listing::kFresh) continue;
    listing = Listing::kFresh;
    if (Claim(block.hash, digest)) {
      leading = false;
    } else if (!leading) {
      Expect({block.hash, digest, session.number, block.group, number, now_ns + kGraceNs});
    }
  }
  return listing;
}

SignedCoverage::Listing SignedCoverage::ListNumber(Group& group, std::uint64_t number, std::uint64_t mark,
                                                   std::int64_t now_ns) {
  if (number > group.highest) {
    if (number > group.highest + 1) AddGap(group, group.highest + 1, number - 1, now_ns);
    if (number - group.highest > limits::kSignedNumbers) {
      group.listed.clear();
    } else {
      group.listed.resize(group.listed.size() + (number - group.highest - 1));
    }
    group.listed.push_back(mark);
    while (group.listed.size() > limits::kSignedNumbers) group.listed.pop_front();
    group.highest = number;
    return Listing::kFresh;
  }
  const std::uint64_t back = group.highest - number;
  std::uint64_t* known = back < group.listed.size() ? &group.listed[group.listed.size() - 1 - back] : nullptr;
  if (known != nullptr && *known != 0) return *known == mark ? Listing::kKnown : Listing::kConflict;
  if (!FillGap(group, number)) return known != nullptr ? Listing::kKnown : Listing::kOld;
  if (known != nullptr) *known = mark;
  return Listing::kFresh;
}

void SignedCoverage::AddGap(Group& group, std::uint64_t first, std::uint64_t last, std::int64_t now_ns) {
  if (group.gaps.size() >= limits::kSignedGaps) {
    group.given_up += group.gaps.front().last - group.gaps.front().first + 1;
    group.gaps.erase(group.gaps.begin());
  }
  group.gaps.push_back({first, last, now_ns + kListNs});
}

bool SignedCoverage::FillGap(Group& group, std::uint64_t number) {
  for (std::size_t i = 0; i < group.gaps.size(); ++i) {
    Gap& gap = group.gaps[i];
    if (number < gap.first || number > gap.last) continue;
    if (gap.first == gap.last) {
      group.gaps.erase(group.gaps.begin() + static_cast<std::ptrdiff_t>(i));
    } else if (number == gap.first) {
      ++gap.first;
    } else if (number == gap.last) {
      --gap.last;
    } else if (group.gaps.size() >= limits::kSignedGaps) {
      group.given_up += number - gap.first;
      gap.first = number + 1;
    } else {
      const Gap behind{number + 1, gap.last, gap.until_ns};
      gap.last = number - 1;
      group.gaps.insert(group.gaps.begin() + static_cast<std::ptrdiff_t>(i) + 1, behind);
    }
    return true;
  }
  return false;
}

bool SignedCoverage::Claim(BlockHash hash, const MessageDigest& digest) {
  for (std::size_t step = 0; step < seen_.size(); ++step) {
    const std::size_t at = (next_seen_ + step) % seen_.size();
    Seen& seen = seen_[at];
    if (seen.listed || seen.digests[IndexOf(hash)] != digest) continue;
    seen.listed = true;
    next_seen_ = at + 1;
    return true;
  }
  return false;
}

void SignedCoverage::Expect(Expected expected) {
  if (expected_.size() >= limits::kSignedExpected) {
    NoteMissing(expected_.front());
    expected_.pop_front();
    --budget_.messages;
  }
  if (budget_.messages >= limits::kSignedMessagesAll) {
    ++findings_.uncompared;
    return;
  }
  expected_.push_back(expected);
  ++budget_.messages;
}

void SignedCoverage::NoteMissing(const Expected& expected) {
  ++findings_.missing;
  NoteRange("missing", expected.session, expected.group, expected.number, expected.number);
}

void SignedCoverage::NoteRange(const char* what, std::uint64_t session, const SignatureGroup& group,
                               std::uint64_t first, std::uint64_t last) {
  auto& ranges = findings_.ranges;
  if (!ranges.empty() && ranges.back().what == std::string_view(what) && ranges.back().session == session &&
      ranges.back().group == group && ranges.back().last + 1 == first) {
    ranges.back().last = last;
  } else if (ranges.size() < limits::kSignedRanges) {
    ranges.push_back({what, session, group, first, last});
  }
}

void SignedCoverage::Tick(std::int64_t now_ns) {
  while (!expected_.empty() && expected_.front().until_ns <= now_ns) {
    NoteMissing(expected_.front());
    expected_.pop_front();
    --budget_.messages;
  }
  for (Session& session : sessions_) {
    for (auto& [name, group] : session.groups) {
      for (const Gap& gap : group.gaps) {
        if (gap.until_ns > now_ns) continue;
        findings_.skipped += gap.last - gap.first + 1;
        NoteRange("skipped", session.number, name, gap.first, gap.last);
      }
      findings_.skipped += std::exchange(group.given_up, 0);
      std::erase_if(group.gaps, [now_ns](const Gap& gap) { return gap.until_ns <= now_ns; });
    }
  }
  while (!seen_.empty() && (seen_.front().listed || seen_.front().at_ns + kListNs <= now_ns)) {
    const Seen& seen = seen_.front();
    const bool asked_for = unlisted_of_all_ || unlisted_hosts_.contains(seen.host);
    if (active_ && !seen.listed && asked_for && seen.at_ns >= active_since_ns_) {
      if (findings_.unlisted++ == 0) findings_.unlisted_first_ns = seen.at_ns;
      findings_.unlisted_last_ns = seen.at_ns;
    }
    seen_.front().listed = true;  // accounted for
    ForgetOldest();
  }
}

}  // namespace stele::ingest
