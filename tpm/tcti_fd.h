// A TCTI (the transport below tpm2-tss) over one connected descriptor that somebody else opened: a stream to swtpm's data
// socket, or /dev/tpmrm0. So the process that talks to the TPM needs neither open(2) nor connect(2).
//
// A command is written whole; the response is read by the size in its header (at most kResponseBytesMax). After an I/O error,
// a timeout, or a malformed header the transport is dead: nothing further is sent, since a late answer would be taken for
// the answer to the next command.
// Reference: TCG TSS 2.0 TPM Command Transmission Interface (TCTI) API Specification.
#pragma once

#include <tss2/tss2_tcti.h>

#include <array>
#include <cstddef>

#include "appliance/base/bytes.h"
#include "appliance/base/fd.h"

namespace stele::tpm {

inline constexpr std::size_t kResponseBytesMax = 4096;
inline constexpr std::size_t kHeaderBytes = 10;  // tag:u16 size:u32 code:u32, big-endian

// The common part comes first: tpm2-tss sees a TSS2_TCTI_CONTEXT*, the callbacks see the whole.
struct FdTcti {
  TSS2_TCTI_CONTEXT_COMMON_V2 common{};
  UniqueFd fd;
  int timeout_ms = 0;           // of TSS2_TCTI_TIMEOUT_BLOCK: "for ever" would hang the logger on a hung chip
  bool is_socket = false;
  bool waiting = false;         // a command is out, its response is not yet in
  bool dead = false;
  int error = 0;                // errno that killed it
  std::size_t got_bytes = 0;
  std::array<std::byte, kResponseBytesMax> response{};

  FdTcti(UniqueFd connection, int timeout);
  FdTcti(const FdTcti&) = delete;  // tpm2-tss keeps its address
  FdTcti& operator=(const FdTcti&) = delete;
  ~FdTcti() = default;

  [[nodiscard]] TSS2_TCTI_CONTEXT* context() { return reinterpret_cast<TSS2_TCTI_CONTEXT*>(&common); }
};

// One raw command and its response, without the layers above. kIo (errno) and then the transport is dead.
[[nodiscard]] Result<Bytes> Transact(FdTcti& tcti, ByteView command);

}  // namespace stele::tpm
