// One process, one promise. Read each as a sentence: after start-up this process can only ...
#pragma once

#include <filesystem>
#include <vector>

#include "appliance/sandbox/sandbox.h"

namespace stele::sandbox {

// stele-receive: parses hostile bytes, so it owns nothing.
//   core     memory, threads, time, random
//   stream   its connections, its channels; new certificates and channels arrive by descriptor
//   events   the loop
//   accept   the listeners it was given
// No file of any kind, no new socket, no connection out.
[[nodiscard]] Profile ReceiveProfile();

// stele-ledger: the only writer of the store.
//   core, stream, events   as above
//   read     the store, for recovery and tiles
//   write    creates and appends segments below store_dir; never removes or renames one
// No socket, no TPM, no file outside the store.
[[nodiscard]] Profile LedgerProfile(const std::filesystem::path& store_dir);

// The same where the store is raw partitions, opened before.
//   core, stream, events   as above
//   partitions  reads, writes, flushes and seals them
// No file of any kind, no socket, no TPM.
[[nodiscard]] Profile LedgerOnPartitionsProfile();

// stele-anchor: the signing key and the TPM, both opened before.
//   core, stream, events   the TPM's descriptor, the ledger's channel
//   read     its slots, and `read_only` (key and provisioning files, where they are opened late)
//   replace  its two state slots below state_dir, written whole or not at all
// No socket, no store.
[[nodiscard]] Profile AnchorProfile(const std::filesystem::path& state_dir,
                                    const std::vector<std::filesystem::path>& read_only = {});

// stele-query: reads the store for people.
//   core, stream, events
//   accept   the command line's local socket
//   read     store_dir and state_dir
// It cannot write any file at all: what it wants recorded goes to the ledger, before the answer leaves.
[[nodiscard]] Profile QueryProfile(const std::filesystem::path& store_dir, const std::filesystem::path& state_dir);

// stele-web: TLS and HTTP to the outside.
//   core, stream, events
//   accept   the viewer's listener
// No file (the viewer is compiled in), no new socket.
[[nodiscard]] Profile WebProfile();

// stele-guard-watch: hears of the packets that the network's policy dropped, and says so to the ledger.
//   core, stream, events   the netlink sockets it was given, already bound; the ledger's channel
// No file, no new socket, no capability: it cannot change what it watches.
[[nodiscard]] Profile GuardWatchProfile(std::size_t sockets);

// stele-courier: takes checkpoints to the witnesses, brings cosignatures back, takes alarms to their receivers.
//   core, stream, events
//   connect  TCP, to `ports`
//   replace  cosignatures and cursors below state_dir, written whole or not at all
// No store, no TPM, no listener, no other kind of socket; names were looked up before.
[[nodiscard]] Profile CourierProfile(const std::filesystem::path& state_dir, std::vector<std::uint16_t> ports);

// stele-guard: keeps the packet filter's rules as the policy in force says.
//   core, stream, events
//   netfilter  netlink sockets to the packet filter and the list of interfaces, with CAP_NET_ADMIN, and no other capability
//   accept     its local socket for the command line
//   replace    the policy in force below state_dir, written whole or not at all
//   read       names of protocols and users
// No other socket, no store, no TPM. It entered the namespaces whose rules it keeps before.
[[nodiscard]] Profile GuardProfile(const std::filesystem::path& state_dir);

// stele witness serve: answers requests for cosignatures.
//   core, stream, events
//   accept   its listener
//   replace  what it last cosigned of each log, below state_dir
// No connection out.
[[nodiscard]] Profile WitnessProfile(const std::filesystem::path& state_dir);

}  // namespace stele::sandbox
