#include "appliance/daemons/ledger_tally.h"

#include <algorithm>

#include "appliance/base/limits.h"

namespace stele::ledger_daemon {
std::uint32_t Tallies::ListenerOf(const std::string& receiver, const std::string& name) {
  std::map<std::string, std::uint32_t>& listeners = listeners_[receiver];
  const auto at = listeners.find(name);
  if (at != listeners.end()) return at->second;
  if (listeners.size() >= limits::kZoneListeners || name.size() > limits::kListenerNameBytes) return 0;
  listener_names_.push_back(name);
  return listeners[name] = static_cast<std::uint32_t>(listener_names_.size());
}

void Tallies::Count(Shares& shares, std::uint32_t listener, std::uint32_t records) {
  if (listener == 0 || records == 0) return;
  if (shares.empty() || shares.back().first != listener) shares.emplace_back(listener, 0);
  shares.back().second += records;
}

void Tallies::Ended(std::uint64_t channel) {
  const auto at = channels_.find(channel);
  if (at == channels_.end()) return;
  at->second.ended = true;
  CloseIfDone(channel);
}

void Tallies::FrameRead(std::uint64_t channel) {
  if (const auto at = channels_.find(channel); at != channels_.end()) ++at->second.frames_open;
}

void Tallies::FrameDone(std::uint64_t channel, std::uint64_t frame, const Shares& shares, bool committed) {
  const auto at = channels_.find(channel);
  if (at == channels_.end()) return;
  if (committed) {
    for (const auto& [listener, records] : shares) at->second.committed[listener] += records;
    auto& frames = receivers_[at->second.receiver].frames;
    frames.push_back(frame);
    if (frames.size() > limits::kTallyFrames) frames.pop_front();
  }
  --at->second.frames_open;
  CloseIfDone(channel);
}

void Tallies::CloseIfDone(std::uint64_t channel) {
  const auto at = channels_.find(channel);
  if (!at->second.ended || at->second.frames_open > 0) return;
  Receiver& receiver = receivers_[at->second.receiver];
  for (const auto& [listener, records] : at->second.committed) receiver.committed[listener] += records;
  channels_.erase(at);
}

void Tallies::Ask(std::uint64_t channel, const channel::Settle& question) {
  if (const auto at = channels_.find(channel); at != channels_.end()) at->second.question = question;
}

std::optional<Tallies::Answer> Tallies::TakeAnswer() {
  for (auto at = channels_.begin(); at != channels_.end(); ++at) {
    if (!at->second.question) continue;
    const std::string& name = at->second.receiver;
    if (std::any_of(channels_.begin(), at, [&](const auto& older) { return older.second.receiver == name; })) continue;
    Answer answer;
    answer.channel = at->first;
    answer.settled.epoch = epoch_;
    const Receiver& receiver = receivers_[name];
    const std::uint64_t frame = at->second.question->loss_frame_id;
    answer.settled.loss_frame_committed =
        frame != 0 && std::find(receiver.frames.begin(), receiver.frames.end(), frame) != receiver.frames.end();
    for (const auto& [listener, records] : receiver.committed)
      answer.settled.committed[listener_names_[listener - 1]] = records;
    at->second.question.reset();
    return answer;
  }
  return std::nullopt;
}

}  // namespace stele::ledger_daemon
