// The embedded software TPM: swtpm with its own certificate authority inside its state directory. It protects nothing from
// whoever owns that directory; every verdict over it says SOFTWARE_TPM.
//
//   <dir>/state/       what swtpm keeps
//   <dir>/ca/          configuration and keys of the certificate authority made for this one TPM
//   <dir>/swtpm.log    what swtpm and swtpm_setup said
//
// Works as root and as an ordinary user. Needs swtpm and swtpm_setup (package swtpm-tools) in PATH.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>

#include "appliance/base/fd.h"
#include "appliance/base/result.h"

namespace stele::tpm {

// Makes `dir` (0700) with a fresh TPM: RSA EK at 0x81010001, its certificate at NV 0x1c00002. Takes about a second.
// kDenied when a state is already there; kNotFound when the tools are not installed; kIo.
[[nodiscard]] Result<void> MakeSwtpmState(const std::filesystem::path& dir);
[[nodiscard]] bool HasSwtpmState(const std::filesystem::path& dir);
// Certificates (issuer, then root) of the authority that signed this TPM's EK certificate, PEM.
[[nodiscard]] Result<std::string> SwtpmCaPem(const std::filesystem::path& dir);

struct SwtpmProcess {
  pid_t pid = -1;
  std::filesystem::path socket;  // data; the control socket is <socket>.ctrl, as tcti-swtpm expects
};

// Starts swtpm on `dir`, powered on (TPM2_Startup(CLEAR) done), and waits until it answers. It runs in a process group of
// its own, so that the terminal's Ctrl-C does not take the TPM away before the last anchor is made, and is ended
// (SIGTERM) when the *thread* that called this ends: call it from a thread that lives as long as the supervisor.
// `socket` + ".ctrl" must fit a Unix socket address (107 characters): kInvalid otherwise. At most one per directory: kDenied.
[[nodiscard]] Result<SwtpmProcess> StartSwtpm(const std::filesystem::path& dir, const std::filesystem::path& socket);
// A connected stream to the data socket (close-on-exec). swtpm serves one connection at a time: the next waits.
[[nodiscard]] Result<UniqueFd> ConnectSwtpm(const std::filesystem::path& socket);
// Orderly: TPM2_Shutdown(CLEAR), SIGTERM, wait, SIGKILL after 3 s. The previous connection must be closed first, else the
// shutdown command is skipped after 1 s (the TPM then sees a power cut: nothing is lost, the next boot is as after one).
[[nodiscard]] Result<void> StopSwtpm(SwtpmProcess& process);
// A power cut: SIGKILL and wait.
void KillSwtpm(SwtpmProcess& process);

}  // namespace stele::tpm
