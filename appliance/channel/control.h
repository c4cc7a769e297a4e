// The control channel: descriptor 3 of every process of the family, to its supervisor.
//
// kTakeChannel carries JSON {"role": "...", "name": "..."} and one descriptor: a channel to a peer (role receive, ledger,
// anchor, query, web), or for a process's own use (role "listener" with name; role "tpm"; role "log-socket"). kReady says
// the process has locked itself down, proven it, and serves. Every start gets fresh channels.
#pragma once

#include <string>
#include <vector>

#include "appliance/base/fd.h"
#include "appliance/channel/channel.h"

namespace stele::channel {

inline constexpr int kControlFd = 3;

struct TakeChannel {
  std::string role;
  std::string name;
  std::string detail_json;  // free for the role: listener addresses, zone
};

[[nodiscard]] Result<void> SendTakeChannel(int control_fd, const TakeChannel& what, int descriptor);
[[nodiscard]] Result<TakeChannel> DecodeTakeChannel(ByteView body);
[[nodiscard]] Result<void> SendReady(int control_fd, std::string_view detail_json);

// Everything a process is given before it starts (docs/processes.md, steps 1 to 3).
struct GivenChannel {
  TakeChannel what;
  UniqueFd descriptor;
};
struct StartUp {
  std::string configuration_json;
  std::vector<GivenChannel> channels;  // in the order given
};
// Waits for kConfigure, kTakeChannel*, kStart. kNotFound: the supervisor left or said stop; exit 0.
[[nodiscard]] Result<StartUp> ReceiveStartUp(int control_fd);

}  // namespace stele::channel
