// What one source's signed syslog (RFC 5848) says about its messages: their hashes are remembered for a while and
// compared with those that valid Signature Blocks list under running numbers.
//
//   missing      listed, but no message with that hash came within limits::kSignedGraceMs: altered, lost or held back
//   unlisted     came, but no block listed it within limits::kSignedListMs: inserted, altered, or its block was lost
//   skipped      numbers between two blocks that no block listed within limits::kSignedListMs: blocks were lost
//   replayed     blocks of a reboot session older than one already seen, or the same block too often
//   conflicting  blocks that list another hash under a number already listed
//   uncompared   messages forgotten and hashes not followed for want of room
//
// A number is listed once: what further blocks say of it (RFC 5848 repeats hashes on purpose) changes nothing. A
// message is claimed by one number: a second copy needs a number of its own. The first session of a signer may have
// begun before Stele listened, so the numbers before its first block are not asked for, nor what that block lists
// before the first message that did come. GBC counts the blocks of all groups, some perhaps sent elsewhere: a gap in it
// proves nothing.
//
// Times are CLOCK_BOOTTIME in ns. Pure. Thread safety: one thread.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "appliance/base/limits.h"
#include "appliance/ingest/signed_block.h"
#include "appliance/ingest/syslog_keys.h"

namespace stele::ingest {

// What all sources hold, shared.
struct CoverageBudget {
  std::size_t messages = 0;  // and listed hashes that no message fits yet
  std::size_t groups = 0;
};

struct CoverageFindings {
  std::uint64_t missing = 0, unlisted = 0, skipped = 0, replayed = 0, conflicting = 0, uncompared = 0;
  struct Range {
    const char* what = "";  // "missing" or "skipped"
    std::uint64_t session = 0;
    SignatureGroup group;
    std::uint64_t first = 0, last = 0;
  };
  std::vector<Range> ranges;                                 // at most limits::kSignedRanges
  std::int64_t unlisted_first_ns = 0, unlisted_last_ns = 0;  // when they came
  std::string host, app, key;                                // the signer of the newest valid block
  [[nodiscard]] bool any() const { return missing + unlisted + skipped + replayed + conflicting != 0; }
};

class SignedCoverage {
 public:
  explicit SignedCoverage(CoverageBudget& budget) : budget_(budget) {}
  ~SignedCoverage();
  SignedCoverage(const SignedCoverage&) = delete;
  SignedCoverage& operator=(const SignedCoverage&) = delete;

  // A message of the source that is no block, as stored, and the HOSTNAME it claims.
  void TakeMessage(ByteView message, std::string_view host, std::int64_t now_ns);
  // A Signature Block that `key` has signed.
  void TakeBlock(const SignedBlock& block, const SyslogKeys::Registered& key, std::int64_t now_ns);
  void Tick(std::int64_t now_ns);

  // A valid block has come. Before, little is remembered.
  [[nodiscard]] bool active() const { return active_; }
  [[nodiscard]] const CoverageFindings& findings() const { return findings_; }
  void ClearFindings();

 private:
  struct Seen {
    std::array<MessageDigest, 2> digests{};  // by BlockHash; only those asked for
    std::uint64_t host = 0;
    std::int64_t at_ns = 0;
    bool listed = false;
  };
  struct Expected {
    BlockHash hash = BlockHash::kSha1;
    MessageDigest digest{};
    std::uint64_t session = 0;
    SignatureGroup group;
    std::uint64_t number = 0;
    std::int64_t until_ns = 0;
  };
  struct Gap {
    std::uint64_t first = 0, last = 0;
    std::int64_t until_ns = 0;
  };
  struct Group {
    bool begun = false;
    std::uint64_t highest = 0;         // listed so far
    std::deque<std::uint64_t> listed;  // of the newest numbers up to `highest`: the hash's first bytes; 0: not listed
    std::vector<Gap> gaps;
    std::uint64_t given_up = 0;  // numbers of gaps there was no room for
  };
  struct Session {
    std::string signer;  // key, HOSTNAME and APP-NAME
    std::string pid;
    std::uint64_t number = 0;  // RSID
    bool joined_midway = false;
    unsigned repeats = 0;
    std::map<SignatureGroup, Group> groups;
  };
  enum class Listing : std::uint8_t { kFresh, kKnown, kOld, kConflict };

  [[nodiscard]] Session* SessionOf(const SignedBlock& block, const std::string& signer);
  void DropSession(std::size_t index);
  [[nodiscard]] Group* GroupOf(Session& session, const SignatureGroup& group);
  [[nodiscard]] Listing ListBlock(Session& session, Group& group, const SignedBlock& block, std::int64_t now_ns);
  [[nodiscard]] static Listing ListNumber(Group& group, std::uint64_t number, std::uint64_t mark, std::int64_t now_ns);
  static void AddGap(Group& group, std::uint64_t first, std::uint64_t last, std::int64_t now_ns);
  [[nodiscard]] static bool FillGap(Group& group, std::uint64_t number);
  [[nodiscard]] bool Claim(BlockHash hash, const MessageDigest& digest);
  void Expect(Expected expected);
  void ForgetOldest();
  void NoteMissing(const Expected& expected);
  void NoteRange(const char* what, std::uint64_t session, const SignatureGroup& group, std::uint64_t first,
                 std::uint64_t last);

  CoverageBudget& budget_;
  bool active_ = false;
  std::int64_t active_since_ns_ = 0;
  std::array<bool, 2> hashes_used_{};  // by BlockHash; both are computed until a block has said which
  std::deque<Seen> seen_;              // oldest first
  std::size_t next_seen_ = 0;          // behind the last one claimed: signers list in order
  std::deque<Expected> expected_;      // by deadline
  std::vector<Session> sessions_;      // newest last
  std::map<std::string, std::uint64_t> newest_sessions_;  // RSID by signer
  bool unlisted_of_all_ = false;
  std::set<std::uint64_t> unlisted_hosts_;
  CoverageFindings findings_;
};

}  // namespace stele::ingest
