// The channel to the ledger of a process that writes alarm entries and nothing else. One frame is under way at a time
// and kept until it is committed: a ledger that comes back gets it again, flagged `possible_duplicate`; a full store is
// asked again. Nothing waits here beyond that: who has more to say keeps it.
// `committed` is called when all that was given to Send() is in the log. Thread safety: one thread.
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "appliance/base/fd.h"
#include "appliance/base/seams.h"
#include "appliance/channel/append_messages.h"
#include "appliance/channel/channel.h"

namespace stele::watch {

class AlarmLink {
 public:
  using Committed = std::function<void()>;
  AlarmLink(channel::Role role, Clock& clock, Entropy& entropy, Committed committed);

  void Connect(UniqueFd descriptor);                  // the first, and each that replaces it
  [[nodiscard]] int fd() const { return fd_.get(); }  // -1: no ledger
  [[nodiscard]] bool idle() const { return payloads_.empty(); }

  void Send(std::vector<std::string> payloads);  // needs idle(); each less than a frame
  void HandleReadable();
  void Tick();  // now and then: asks a store again that was full

 private:
  void Transmit();
  void Lose(const std::string& why);

  channel::Role role_;
  Clock& clock_;
  Entropy& entropy_;
  Committed committed_;
  UniqueFd fd_;
  Bytes buffer_;
  std::deque<std::string> payloads_;
  std::size_t in_frame_ = 0;  // of them, from the first on
  std::int64_t wall_ns_ = 0;
  std::uint64_t frame_id_ = 0;
  bool sent_ = false;           // on this channel, and not answered
  bool perhaps_there_ = false;  // sent on an earlier channel that ended without an answer
  std::int64_t retry_ns_ = 0;   // after a refusal
};

}  // namespace stele::watch
