// The flows of stele-courier: a thread for each, so that a slow receiver keeps neither the others nor the witnesses
// waiting.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "appliance/alerts/flow.h"
#include "appliance/alerts/receiver.h"

namespace stele::courier {

class AlertFlows {
 public:
  // What the supervisor says (docs/processes.md); `dir` holds the cursors. Looks names up and reads files. kInvalid:
  // wrong.
  [[nodiscard]] static Result<std::unique_ptr<AlertFlows>> Open(const nlohmann::json& configuration,
                                                                const std::string& dir);
  AlertFlows(const AlertFlows&) = delete;
  AlertFlows& operator=(const AlertFlows&) = delete;
  ~AlertFlows() = default;

  [[nodiscard]] std::vector<std::uint16_t> Ports() const;

  // Both are called by every thread. The threads end with the process: nobody waits for a receiver at a stop, and what
  // was under way is sent again.
  using Ask = std::function<Result<alerts::FeedSlice>(const std::string& flow, std::optional<std::uint64_t> from)>;
  void Start(Clock& clock, Ask ask, alerts::Flow::Raise raise);

  // {"public_key_pem","flows":[...]}
  [[nodiscard]] nlohmann::json Status() const;

 private:
  struct Member {
    alerts::FlowSettings settings;
    alerts::Receiver receiver;
    std::unique_ptr<alerts::Flow> flow;
  };
  explicit AlertFlows(alerts::AlertKey key) : key_(std::move(key)) {}

  alerts::AlertKey key_;
  alerts::Origin origin_;
  std::vector<Member> members_;
};

}  // namespace stele::courier
