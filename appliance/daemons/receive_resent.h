// Which messages of an acknowledged protocol are probably sent again. A client that lost its connection sends once more
// what it got no answer for; we cannot know which answers it read. So the fingerprints of the newest messages of each
// session are remembered, and when a session breaks they are expected from its source: a match is flagged
// `possible_duplicate`, and nothing is ever dropped, because two equal messages may both be real.
//
// When the receiver itself dies every session breaks at once. The newest messages of all sessions therefore also go
// into a page that the supervisor keeps (memfd); the next receiver expects what it finds there.
//
//   page  := magic:u64 seed:u64 count:u64 reserved:u64 slot*kRememberedAcrossCrash      slot := source:u64
//   fingerprint:u64
//
// Fingerprints recognise and prove nothing: a false match costs a flag. Thread safety: everything on the io_context's
// one thread.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "appliance/base/fd.h"
#include "appliance/base/limits.h"
#include "appliance/base/seams.h"
#include "appliance/record/entry.h"

namespace stele::receive {

inline constexpr std::size_t kResentPageBytes = 32 + 16 * limits::kRememberedAcrossCrash;

class ResentMemory {
 public:
  explicit ResentMemory(Entropy& entropy);
  ~ResentMemory();
  ResentMemory(const ResentMemory&) = delete;
  ResentMemory& operator=(const ResentMemory&) = delete;

  // A memfd of kResentPageBytes. What an earlier receiver left in it is expected from now on.
  [[nodiscard]] Result<void> UsePage(UniqueFd page);

  // A source by what stays the same over reconnects and restarts.
  [[nodiscard]] std::uint64_t SourceOf(std::string_view listener, const record::Peer& peer,
                                       std::string_view identity) const;

  // The newest messages of one session. A session that begins while others of its source seem to live expects theirs
  // too: their end may not have been noticed yet.
  class Session {
   public:
    Session(ResentMemory& memory, std::uint64_t source);
    ~Session();  // broke, unless it was said before how it ended
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    // Is this message probably here already? Remembers it either way. `unanswered`: how many the session has now.
    [[nodiscard]] bool Seen(ByteView message, std::uint64_t unanswered);
    void Forget();  // the client ended in order: it waits for nothing
    void Broke();   // what is remembered may come again

   private:
    ResentMemory& memory_;
    std::uint64_t source_;
    std::vector<std::uint64_t> newest_;  // a ring once it has grown to wanted_
    std::size_t next_ = 0;
    std::size_t wanted_ = 0;
  };

 private:
  struct Expected {
    std::unordered_map<std::uint64_t, std::uint32_t> counts;
    std::uint64_t looks_left = 0;  // after so many messages of the source the rest is not coming any more
  };
  void Expect(std::uint64_t source, std::uint64_t fingerprint);
  [[nodiscard]] bool TakeExpected(std::uint64_t source, std::uint64_t fingerprint);
  void Drop(std::unordered_map<std::uint64_t, Expected>::iterator at);
  void Note(std::uint64_t source, std::uint64_t fingerprint);

  std::uint64_t seed_ = 0;
  std::byte* page_ = nullptr;
  std::size_t remembered_ = 0;  // in all rings
  std::size_t expected_ = 0;    // in all of expected_by_source_
  std::unordered_map<std::uint64_t, Expected> expected_by_source_;
  std::unordered_multimap<std::uint64_t, const Session*> live_;
};

}  // namespace stele::receive
