// tpm2-tss's ESAPI with owners: the context over our own transport, objects and sessions that end when they leave
// scope.
//
// One repetition happens below us: ESAPI sends a command again, at most five times, when the TPM answers TPM_RC_RETRY,
// TPM_RC_YIELDED or TPM_RC_TESTING. All three say that the command was *not* executed (TPM 2.0 Library, Part 2, section
// 6.6.3), so an extend or increment is never done twice by it. Nothing else is ever repeated.
// ESAPI writes its own warnings to stderr; a daemon sets TSS2_LOG=all+none before its first TPM command.
#pragma once

#include <tss2/tss2_esys.h>

#include <memory>
#include <string_view>
#include <vector>

#include "appliance/base/bytes.h"
#include "appliance/base/fd.h"
#include "tpm/tcti_fd.h"

namespace stele::tpm {

struct EsysFree {
  template <typename T>
  void operator()(T* pointer) const noexcept {
    Esys_Free(pointer);
  }
};
template <typename T>
using EsysPtr = std::unique_ptr<T, EsysFree>;

class Connection {
 public:
  // Flushes every transient object and session an earlier user left behind (real chips hold three of each).
  [[nodiscard]] static Result<std::unique_ptr<Connection>> Open(UniqueFd fd, int timeout_ms);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  [[nodiscard]] ESYS_CONTEXT* esys() const { return esys_; }
  [[nodiscard]] bool alive() const { return alive_; }

  // Turns a return code into a result. kUnavailable for "not now" codes and on a dead connection, kNotFound for a
  // handle the TPM does not have, kIo (errno) when the transport failed, kTpm for the rest. Whatever did not come from
  // the TPM itself, a response whose HMAC does not verify included, ends the connection.
  [[nodiscard]] Result<void> Check(TSS2_RC rc, std::string_view what);

  // Ends the context and gives the descriptor back. Every handle and session of it must be gone.
  [[nodiscard]] UniqueFd Release();

 private:
  Connection(UniqueFd fd, int timeout_ms) : tcti_(std::move(fd), timeout_ms) {}
  FdTcti tcti_;
  ESYS_CONTEXT* esys_ = nullptr;  // from Esys_Initialize to Esys_Finalize in Release() or the destructor
  bool alive_ = true;
};

// A handle of ESAPI. kForget: ESAPI's memory of a persistent object or NV index. kFlush: a transient object or session,
// taken out of the TPM too.
class Handle {
 public:
  enum class End { kForget, kFlush };
  Handle() = default;
  Handle(Connection& connection, ESYS_TR value, End end) : connection_(&connection), value_(value), end_(end) {}
  Handle(Handle&& other) noexcept
      : connection_(other.connection_), value_(std::exchange(other.value_, ESYS_TR_NONE)), end_(other.end_) {}
  Handle& operator=(Handle&& other) noexcept;
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() { reset(); }

  [[nodiscard]] ESYS_TR get() const { return value_; }
  [[nodiscard]] bool valid() const { return value_ != ESYS_TR_NONE; }
  void reset();
  void Forget() { value_ = ESYS_TR_NONE; }  // the TPM has already ended it

 private:
  Connection* connection_ = nullptr;  // outlives this
  ESYS_TR value_ = ESYS_TR_NONE;
  End end_ = End::kForget;
};

// A persistent object or NV index by its TPM handle. kNotFound when the TPM has none there. ESAPI keeps one entry per
// TPM handle: the same handle must not be open twice.
[[nodiscard]] Result<Handle> OpenHandle(Connection& connection, std::uint32_t tpm_handle);
[[nodiscard]] Result<Bytes> NameOf(Connection& connection, const Handle& handle);

// SHA-256 sessions, salted to `salt_key` (ESYS_TR_NONE: unsalted), which stay until flushed. One with a cipher encrypts
// what Encrypting() asks for; its key comes from the salt, so only the owner of the salt key can read it on the wire.
enum class SessionCipher { kNone, kAes128Cfb };
[[nodiscard]] Result<Handle> StartSession(Connection& connection, TPM2_SE type, ESYS_TR salt_key,
                                          SessionCipher cipher = SessionCipher::kNone);
// From the next command on: TPMA_SESSION_DECRYPT the first parameter, TPMA_SESSION_ENCRYPT the first of the answer.
[[nodiscard]] Result<void> Encrypting(Connection& connection, const Handle& session, TPMA_SESSION what);

// A primary key of a hierarchy whose authorisation is empty; a transient object, not flushed by itself.
[[nodiscard]] Result<ESYS_TR> CreatePrimary(Connection& connection, ESYS_TR hierarchy, const TPM2B_PUBLIC& area,
                                            const char* what);
// A public key (marshalled TPMT_PUBLIC) as a transient object, to verify a signature in the TPM. TPM2_PolicyAuthorize
// takes the ticket of a verification only when the key is in another hierarchy than ESYS_TR_RH_NULL.
[[nodiscard]] Result<Handle> LoadPublicKey(Connection& connection, ByteView public_area, ESYS_TR hierarchy,
                                           const char* what);

struct IndexPublic {
  Bytes name;
  std::uint32_t attributes = 0;
  std::uint16_t size_bytes = 0;
};
[[nodiscard]] Result<IndexPublic> ReadIndexPublic(Connection& connection, const Handle& index);

[[nodiscard]] TPM2B_DATA QualifyingData(const Hash& hash);
[[nodiscard]] TPM2B_MAX_NV_BUFFER NvData(const Hash& hash);
[[nodiscard]] TPM2B_DIGEST DigestOf(const Hash& hash);
[[nodiscard]] ByteView ViewOf(const void* data, std::size_t size_bytes);

}  // namespace stele::tpm
