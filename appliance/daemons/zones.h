// What the supervisor makes and holds for the receiver of each ingest zone: its listening sockets, its pages that
// outlive it, and what it is told.
#pragma once

#include <string>
#include <vector>

#include "appliance/daemons/family.h"
#include "appliance/daemons/first_run.h"
#include "appliance/daemons/listeners.h"

namespace stele::daemons {

struct ReceiverGear {
  std::vector<BoundListener> listeners;
  UniqueFd accounts;     // receive_accounts.h
  UniqueFd resent_page;  // receive_resent.h
  std::string tls_json;  // ingest_tls.h
};

// The sockets alone, so that a port that is taken ends the start before anything is made. The listeners of a zone's
// second address are called syslog-udp-2 and so on: a name is one socket. `network_fd`: the network namespace they are
// bound in.
[[nodiscard]] Result<std::vector<BoundListener>> BindZone(const IngestZone& zone, int network_fd = -1);
// `died_since_ns`: MakeAccountsPage().
[[nodiscard]] Result<void> MakePages(ReceiverGear& gear, std::int64_t died_since_ns);
// The zone's certificates and authorities, from their files; made again where they end soon.
[[nodiscard]] Result<std::string> ReadZoneTls(const Home& home, const Config& config, const IngestZone& zone,
                                              const Certificates& certificates);

// What its stele-receive is told (docs/processes.md). `interface`: of the zone's own network namespace, else empty.
[[nodiscard]] std::string ReceiveConfiguration(const IngestZone& zone, const channel::SourceRules& sources,
                                               const std::string& tls_json, const std::string& interface);
// The descriptors it gets at each start; `gear` must outlive them.
[[nodiscard]] std::vector<OwnChannel> ReceiveChannels(const ReceiverGear& gear);

// A duplicate of a descriptor of ours for each start of a member.
[[nodiscard]] OwnChannel DuplicateOf(const channel::TakeChannel& what, int fd);
[[nodiscard]] OwnChannel ListenerChannel(const BoundListener& listener);

}  // namespace stele::daemons
