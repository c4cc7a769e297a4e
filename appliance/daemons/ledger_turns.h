// Whose channel is read next: one frame of each that has something to say, in turn, so that a receiver that floods
// delays the others by a frame each and never more. Who was not served when the room ran out is first in the next
// round. Pure; one thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>

namespace stele::ledger_daemon {

class Turns {
 public:
  // The channel has something to read; asking again changes nothing.
  void Ready(std::uint64_t channel) {
    if (std::find(waiting_.begin(), waiting_.end(), channel) == waiting_.end()) waiting_.push_back(channel);
  }

  // Reads at most `frames_max` frames while there is room. read(channel) takes one frame, and is false when there was
  // none left.
  template <typename HasRoom, typename ReadOne>
  void Serve(std::size_t frames_max, const HasRoom& has_room, const ReadOne& read) {
    for (; frames_max > 0 && !waiting_.empty() && has_room(); --frames_max) {
      const std::uint64_t channel = waiting_.front();
      waiting_.pop_front();
      if (read(channel)) waiting_.push_back(channel);
    }
  }

 private:
  std::deque<std::uint64_t> waiting_;
};

}  // namespace stele::ledger_daemon
