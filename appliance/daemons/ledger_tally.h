// What stele-ledger committed for each receiver, per listener, so that the receiver that follows a dead one learns what
// was lost with it (kSettle, kSettled). A channel's count closes when the channel has ended and every frame read from
// it is committed or refused. Pure bookkeeping; one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "appliance/channel/append_messages.h"

namespace stele::ledger_daemon {

class Tallies {
 public:
  using Shares = std::vector<std::pair<std::uint32_t, std::uint32_t>>;  // listener, records nobody waits for

  explicit Tallies(std::uint64_t epoch) : epoch_(epoch) {}

  // The number of a receiver's listener by its name; 0, which is never counted, beyond the bound of that receiver.
  [[nodiscard]] std::uint32_t ListenerOf(const std::string& receiver, const std::string& name);
  static void Count(Shares& shares, std::uint32_t listener, std::uint32_t records);

  void Opened(std::uint64_t channel, const std::string& receiver) { channels_[channel].receiver = receiver; }
  void Ended(std::uint64_t channel);
  void FrameRead(std::uint64_t channel);
  void FrameDone(std::uint64_t channel, std::uint64_t frame, const Shares& shares, bool committed);

  // The question of the receiver on this channel. Its answer is there once all its older channels are closed.
  void Ask(std::uint64_t channel, const channel::Settle& question);
  // Answers that have become possible, each once.
  struct Answer {
    std::uint64_t channel = 0;
    channel::Settled settled;
  };
  [[nodiscard]] std::optional<Answer> TakeAnswer();

 private:
  struct Channel {
    std::string receiver;
    std::map<std::uint32_t, std::uint64_t> committed;
    std::uint64_t frames_open = 0;
    bool ended = false;
    std::optional<channel::Settle> question;
  };
  struct Receiver {
    std::map<std::uint32_t, std::uint64_t> committed;  // of its closed channels
    std::deque<std::uint64_t> frames;                  // committed last: more than can be unacknowledged at a time
  };
  void CloseIfDone(std::uint64_t channel);

  std::uint64_t epoch_;
  std::map<std::string, std::map<std::string, std::uint32_t>> listeners_;  // by receiver and name
  std::vector<std::string> listener_names_;
  std::map<std::uint64_t, Channel> channels_;  // ascending: older first
  std::map<std::string, Receiver> receivers_;
};

}  // namespace stele::ledger_daemon
