// stele-courier as a member of the family: only where the configuration names a witness policy or flows of alerts. It
// stays in the host's network: reaching the witnesses and receivers is what it is for (its sandbox allows nothing
// else).
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "appliance/daemons/config.h"
#include "appliance/daemons/family.h"
#include "appliance/daemons/home.h"

namespace stele::daemons {

inline constexpr const char* kCourierName = "stele-courier";

// What the courier says about the log.
struct LogNames {
  std::string log_id;
  std::string origin;
  std::string vkey;
  std::string viewer_url;  // where alerts.viewer_url names none
};

// kInvalid: the policy, a flow or an address is wrong; kIo, kNotFound: a file cannot be read. Where there are flows,
// the key that signs alerts is made if it is not there.
[[nodiscard]] Result<std::optional<MemberSpec>> CourierMember(const Home& home, const Config& config,
                                                              const LogNames& log);

// For stele-query: what each flow may carry.
[[nodiscard]] nlohmann::json FeedsJson(const Config& config);

// The policy's text: the configured file, relative to the directory of this Stele.
[[nodiscard]] Result<std::string> ReadWitnessPolicy(const Home& home, const Config& config);

// How old a quorum may be before it is alarmed and, with "open", no longer served: an idle log has a new checkpoint
// every heartbeat only.
[[nodiscard]] std::int64_t QuorumMaxAgeS(const Config& config);

}  // namespace stele::daemons
