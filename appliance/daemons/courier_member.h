// stele-courier as a member of the family: only where the configuration names a witness policy. It stays in the host's
// network: reaching the witnesses is what it is for (its sandbox allows nothing else).
#pragma once

#include <optional>

#include "appliance/daemons/config.h"
#include "appliance/daemons/family.h"
#include "appliance/daemons/home.h"

namespace stele::daemons {

inline constexpr const char* kCourierName = "stele-courier";

// kInvalid: the policy or an address in it is wrong; kIo, kNotFound: a file cannot be read. `vkey` is the log's.
[[nodiscard]] Result<std::optional<MemberSpec>> CourierMember(const Home& home, const Config& config,
                                                              const std::string& vkey);

// The policy's text: the configured file, relative to the directory of this Stele.
[[nodiscard]] Result<std::string> ReadWitnessPolicy(const Home& home, const Config& config);

// How old a quorum may be before it is alarmed and, with "open", no longer served: an idle log has a new checkpoint
// every heartbeat only.
[[nodiscard]] std::int64_t QuorumMaxAgeS(const Config& config);

}  // namespace stele::daemons
