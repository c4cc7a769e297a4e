// Datagrams that wait for credit, a queue per source, so that who floods fills only its own share.
//
// Admission by dynamic thresholds (Choudhury and Hahne, 1998): a source may hold as much as is still free, so one flood
// leaves half of the room to others, two leave a third, and a source that is new always finds some. Service by deficit
// round robin: each source in turn gets the same number of octets. Both are O(1). Pure; one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <unordered_map>
#include <utility>

#include "appliance/base/limits.h"

namespace stele::receive {

template <typename Item>
class FairQueue {
 public:
  explicit FairQueue(std::size_t bytes_max) : bytes_max_(bytes_max) {}

  // False, with nothing kept, when the source has its share already.
  [[nodiscard]] bool Push(std::uint32_t source, std::size_t payload_bytes, Item item) {
    const std::size_t cost = payload_bytes + limits::kFairItemBytes;
    const auto at = queues_.find(source);
    const std::size_t held = at == queues_.end() ? 0 : at->second.bytes;
    if (bytes_ + cost > bytes_max_ || held + cost > bytes_max_ - bytes_) return false;
    Queue& queue = at == queues_.end() ? queues_[source] : at->second;
    if (queue.items.empty()) turns_.push_back(source);
    queue.items.emplace_back(cost, std::move(item));
    queue.bytes += cost;
    bytes_ += cost;
    return true;
  }

  // The next one in turn; the queue must not be empty.
  [[nodiscard]] Item Pop() {
    while (true) {
      const std::uint32_t source = turns_.front();
      Queue& queue = queues_.find(source)->second;
      if (queue.items.front().first > queue.deficit) {
        queue.deficit += limits::kFairQuantumBytes;
        turns_.pop_front();
        turns_.push_back(source);
        continue;
      }
      auto [cost, item] = std::move(queue.items.front());
      queue.items.pop_front();
      queue.deficit -= cost;
      queue.bytes -= cost;
      bytes_ -= cost;
      if (queue.items.empty()) {
        turns_.pop_front();
        queues_.erase(source);
      }
      return std::move(item);
    }
  }

  [[nodiscard]] bool empty() const { return turns_.empty(); }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  struct Queue {
    std::deque<std::pair<std::size_t, Item>> items;
    std::size_t bytes = 0;
    std::size_t deficit = 0;
  };
  std::size_t bytes_max_;
  std::size_t bytes_ = 0;
  std::unordered_map<std::uint32_t, Queue> queues_;
  std::deque<std::uint32_t> turns_;  // sources with something waiting
};

}  // namespace stele::receive
