// The guard's channel to the ledger. An entry is written when the ledger has acknowledged it: then it is durable.
// Entries are appended in the order they were given. Not thread-safe; never blocks.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "appliance/base/fd.h"
#include "appliance/base/seams.h"
#include "appliance/channel/channel.h"
#include "appliance/record/entry.h"

namespace stele::limits {

inline constexpr std::size_t kGuardEntries = 128;  // waiting; a further one that may be lost is

}  // namespace stele::limits

namespace stele::guard {

class LogLink {
 public:
  enum class Care : std::uint8_t {
    kOnce,          // tried once: whoever gave it hears when it was not written, or when nobody can say
    kUntilWritten,  // again on the next channel, and after a refusal
  };
  struct Outcome {
    std::uint64_t id = 0;
    bool written = false;
    bool unknown = false;  // it may be in the log or not
    std::uint64_t sequence = 0;
    std::string reason;
  };

  LogLink(Clock& clock, Entropy& entropy) : clock_(clock), entropy_(entropy) {}

  void Use(UniqueFd fd);  // the ledger was started, perhaps again
  // Its number, never 0.
  std::uint64_t Append(record::Kind kind, std::string payload, Care care);
  // Reads answers and sends what waits. What became of the entries given with kOnce, and of the others once written.
  [[nodiscard]] std::vector<Outcome> Pump();

  [[nodiscard]] int fd() const { return fd_.get(); }  // -1: no channel
  [[nodiscard]] bool wants_to_send() const { return !frames_.empty(); }
  [[nodiscard]] std::uint64_t lost() const { return lost_; }  // entries there was no room for

 private:
  struct Waiting {
    std::uint64_t id = 0;
    record::Kind kind = record::Kind::kPolicy;
    std::string payload;
    Care care = Care::kOnce;
  };
  struct Frame {
    channel::Type type = channel::Type::kRecords;
    Bytes body;
  };
  void Queue(const Waiting& entry, bool again);
  void SendFrames();
  void Close();
  bool ReadAnswer();
  void Settle(const Outcome& outcome);

  Clock& clock_;
  Entropy& entropy_;
  UniqueFd fd_;
  std::deque<Waiting> waiting_;  // given and not answered, in order
  std::deque<Frame> frames_;     // not yet sent
  std::vector<Outcome> outcomes_;
  std::vector<Waiting> refused_;  // to be given again
  std::int64_t again_boottime_ns_ = 0;
  std::uint64_t next_id_ = 1;
  std::uint64_t lost_ = 0;
};

}  // namespace stele::guard
