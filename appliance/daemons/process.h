// One process of the family, as the supervisor holds it: started from a file beside ours, never through PATH, or joined; with
// descriptor 3 as its control channel and nothing else open.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>

#include "appliance/base/fd.h"
#include "appliance/base/result.h"

namespace stele::daemons {

// The network a process is put into. Empty: a network namespace of its own where even the loopback is down. Sockets it is
// handed keep the network they were made in, so a listener still serves; nothing else can be reached from inside. Root makes
// the namespace directly; an ordinary user by way of a user namespace of its own, where the system permits that.
enum class ProcessNetwork {
  kShared,               // the supervisor's
  kEmptyWherePermitted,  // else the supervisor's; the process reports which it sees (sandbox::Report)
  kEmptyAlways,          // else it is not started
  kGiven,                // that of a descriptor
};

struct Process {
  pid_t pid = -1;    // -1: not a child of ours (JoinProcess)
  UniqueFd control;  // our end; non-blocking
};

// The process gets a session of its own (Ctrl-C reaches only the supervisor, which then stops everybody in order), default
// signal handling with SIGPIPE ignored, an empty standard input, a short environment, and dies with the thread that started
// it: a second supervisor never meets a leftover writer. kIo with the errno of exec when the file cannot be run; kDenied
// when the network namespace it must have is not permitted.
[[nodiscard]] Result<Process> StartProcess(const std::filesystem::path& executable,
                                           ProcessNetwork network = ProcessNetwork::kShared,
                                           int network_fd = -1);  // with kGiven: a network namespace

// A process that somebody else starts for us when we connect: systemd, by a socket unit with Accept=yes, which makes the connection
// its descriptor 3. The end of the channel is the end of the process for us; that no second one runs beside it is the socket
// unit's duty (MaxConnections=1). kIo when nobody listens there.
[[nodiscard]] Result<Process> JoinProcess(const std::filesystem::path& socket);

// How it ended, for people: "exit status 1", "signal 9 (Killed)". Empty while it runs.
[[nodiscard]] std::optional<std::string> Ended(pid_t pid, std::chrono::milliseconds wait);
// SIGKILL and wait: cannot fail for a child of ours.
void KillProcess(pid_t pid);

// Where the executables of the family lie: beside /proc/self/exe (build tree), or ../libexec/stele (installed).
[[nodiscard]] Result<std::filesystem::path> FindExecutable(std::string_view name);

}  // namespace stele::daemons
