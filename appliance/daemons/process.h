// One process of the family, as the supervisor holds it: started from a file beside ours, never through PATH, with
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

struct Process {
  pid_t pid = -1;
  UniqueFd control;  // our end; non-blocking
};

// The process gets a session of its own (Ctrl-C reaches only the supervisor, which then stops everybody in order), default
// signal handling with SIGPIPE ignored, an empty standard input, a short environment, and dies with the thread that started
// it: a second supervisor never meets a leftover writer. kIo with the errno of exec when the file cannot be run.
[[nodiscard]] Result<Process> StartProcess(const std::filesystem::path& executable);

// How it ended, for people: "exit status 1", "signal 9 (Killed)". Empty while it runs.
[[nodiscard]] std::optional<std::string> Ended(pid_t pid, std::chrono::milliseconds wait);
// SIGKILL and wait: cannot fail for a child of ours.
void KillProcess(pid_t pid);

// Where the executables of the family lie: beside /proc/self/exe (build tree), or ../libexec/stele (installed).
[[nodiscard]] Result<std::filesystem::path> FindExecutable(std::string_view name);

}  // namespace stele::daemons
