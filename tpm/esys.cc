#include "tpm/esys.h"

#include <tss2/tss2_mu.h>
#include <tss2/tss2_rc.h>

#include <cstdlib>
#include <cstring>

#include "tpm/big_endian.h"

namespace stele::tpm {
namespace {

// TPM 2.0 Library, Part 2, section 6.6.3: warnings that mean "not executed, later perhaps".
bool IsNotNow(TSS2_RC rc) {
  return rc == TPM2_RC_NV_RATE || rc == TPM2_RC_LOCKOUT || rc == TPM2_RC_RETRY || rc == TPM2_RC_YIELDED ||
         rc == TPM2_RC_TESTING || rc == TPM2_RC_NV_UNAVAILABLE;
}

// Sessions or objects that could not be flushed (a TPM in lockout refuses that too) fill its few slots. The next open
// flushes them all.
bool IsFull(TSS2_RC rc) {
  return rc == TPM2_RC_SESSION_MEMORY || rc == TPM2_RC_OBJECT_MEMORY || rc == TPM2_RC_SESSION_HANDLES ||
         rc == TPM2_RC_OBJECT_HANDLES;
}

// A format-one code names the handle, parameter or session it complains about in the bits masked here.
bool IsNoSuchHandle(TSS2_RC rc) {
  return (rc & TPM2_RC_FMT1) != 0 && (rc & ~(TPM2_RC_N_MASK | TPM2_RC_P)) == TPM2_RC_HANDLE;
}

Bytes Command(std::uint32_t code, ByteView parameters) {
  Bytes out;
  BigWriter writer(out);
  writer.Int(std::uint16_t{TPM2_ST_NO_SESSIONS});
  writer.Int(static_cast<std::uint32_t>(kHeaderBytes + parameters.size()));
  writer.Int(code);
  writer.Raw(parameters);
  return out;
}

constexpr std::uint32_t kHandlesPerAnswer = 64;
constexpr int kFlushRounds = 8;

// The handles the TPM lists from `first` on in one range; empty when it has none or refuses to say.
Result<std::vector<std::uint32_t>> ListHandles(FdTcti& tcti, std::uint32_t first) {
  Bytes parameters;
  BigWriter writer(parameters);
  writer.Int(std::uint32_t{TPM2_CAP_HANDLES});
  writer.Int(first);
  writer.Int(kHandlesPerAnswer);
  STELE_TRY(const Bytes response, Transact(tcti, Command(TPM2_CC_GetCapability, parameters)));
  BigReader in(response);
  (void)in.Raw(6);
  std::vector<std::uint32_t> handles;
  if (in.Int<std::uint32_t>() != TPM2_RC_SUCCESS) return handles;
  (void)in.Int<std::uint8_t>();   // moreData
  (void)in.Int<std::uint32_t>();  // capability
  const auto count = in.Int<std::uint32_t>();
  for (std::uint32_t i = 0; i < count && i < kHandlesPerAnswer && in.ok(); ++i) {
    const auto handle = in.Int<std::uint32_t>();
    const std::uint32_t type = handle >> TPM2_HR_SHIFT;
    const std::uint32_t range = first >> TPM2_HR_SHIFT;
    // Loaded policy sessions are in the range of the loaded sessions, under a type of their own.
    const bool loaded_policy = range == TPM2_HT_LOADED_SESSION && type == TPM2_HT_POLICY_SESSION;
    if (in.ok() && (type == range || loaded_policy)) handles.push_back(handle);
  }
  return handles;
}

Result<void> FlushRange(FdTcti& tcti, std::uint32_t first) {
  for (int round = 0; round < kFlushRounds; ++round) {
    STELE_TRY(const auto handles, ListHandles(tcti, first));
    if (handles.empty()) return {};
    for (std::uint32_t handle : handles) {
      // TPM2_CAP_HANDLES lists a saved session under 0x03...; it is flushed by its HMAC session handle.
      if (first >> TPM2_HR_SHIFT == TPM2_HT_SAVED_SESSION) {
        handle = (handle & ~TPM2_HR_RANGE_MASK) | (std::uint32_t{TPM2_HT_HMAC_SESSION} << TPM2_HR_SHIFT);
      }
      Bytes parameters;
      BigWriter(parameters).Int(handle);
      STELE_TRY_VOID(Transact(tcti, Command(TPM2_CC_FlushContext, parameters)));
    }
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Connection>> Connection::Open(UniqueFd fd, int timeout_ms) {
  std::unique_ptr<Connection> connection(new Connection(std::move(fd), timeout_ms));  // NOLINT: private constructor
  STELE_TRY_VOID(FlushRange(connection->tcti_, TPM2_TRANSIENT_FIRST));
  STELE_TRY_VOID(FlushRange(connection->tcti_, TPM2_LOADED_SESSION_FIRST));
  STELE_TRY_VOID(FlushRange(connection->tcti_, TPM2_ACTIVE_SESSION_FIRST));
  // The stack's own log writes to stderr for every answer that is not success, also where that is an answer we ask for;
  // ours come back as errors. Who wants it sets TSS2_LOG.
  (void)::setenv("TSS2_LOG", "all+none", 0);
  STELE_TRY_VOID(connection->Check(Esys_Initialize(&connection->esys_, connection->tcti_.context(), nullptr),
                                   "start the TPM software stack"));
  return connection;
}

Connection::~Connection() {
  if (esys_ != nullptr) Esys_Finalize(&esys_);
}

UniqueFd Connection::Release() {
  if (esys_ != nullptr) Esys_Finalize(&esys_);
  alive_ = false;
  return std::move(tcti_.fd);
}

Result<void> Connection::Check(TSS2_RC rc, std::string_view what) {
  if (rc == TSS2_RC_SUCCESS) return {};
  std::string context(what);
  if (!alive_) return Fail(Code::kUnavailable, context + ": the connection to the TPM has failed earlier", rc);
  if ((rc & TSS2_RC_LAYER_MASK) != 0) {
    alive_ = false;
    if (tcti_.dead) {
      return Fail(Code::kIo, context + ": " + std::strerror(tcti_.error), static_cast<std::uint32_t>(tcti_.error));
    }
    return Fail(Code::kTpm, context + ": " + Tss2_RC_Decode(rc), rc);
  }
  context += std::string(": ") + Tss2_RC_Decode(rc);
  if (IsFull(rc)) alive_ = false;
  if (IsNotNow(rc) || IsFull(rc)) return Fail(Code::kUnavailable, std::move(context), rc);
  if (IsNoSuchHandle(rc)) return Fail(Code::kNotFound, std::move(context), rc);
  return Fail(Code::kTpm, std::move(context), rc);
}

Handle& Handle::operator=(Handle&& other) noexcept {
  if (this != &other) {
    reset();
    connection_ = other.connection_;
    value_ = std::exchange(other.value_, ESYS_TR_NONE);
    end_ = other.end_;
  }
  return *this;
}

void Handle::reset() {
  if (value_ == ESYS_TR_NONE) return;
  const bool flush = end_ == End::kFlush && connection_->alive();
  // Either way ESAPI forgets the handle; what a failed flush leaves in the TPM the next Open() flushes.
  if (!flush || Esys_FlushContext(connection_->esys(), value_) != TSS2_RC_SUCCESS) {
    (void)Esys_TR_Close(connection_->esys(), &value_);
  }
  value_ = ESYS_TR_NONE;
}

Result<Handle> OpenHandle(Connection& connection, std::uint32_t tpm_handle) {
  ESYS_TR value = ESYS_TR_NONE;
  STELE_TRY_VOID(connection.Check(
      Esys_TR_FromTPMPublic(connection.esys(), tpm_handle, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &value),
      "look up a TPM handle"));
  return Handle(connection, value, Handle::End::kForget);
}

Result<Bytes> NameOf(Connection& connection, const Handle& handle) {
  TPM2B_NAME* raw = nullptr;
  const TSS2_RC rc = Esys_TR_GetName(connection.esys(), handle.get(), &raw);
  const EsysPtr<TPM2B_NAME> name(raw);
  STELE_TRY_VOID(connection.Check(rc, "name a TPM object"));
  return ToBytes(ViewOf(name->name, name->size));
}

Result<Handle> StartSession(Connection& connection, TPM2_SE type, ESYS_TR salt_key, SessionCipher cipher) {
  TPMT_SYM_DEF symmetric{};
  symmetric.algorithm = TPM2_ALG_NULL;
  if (cipher == SessionCipher::kAes128Cfb) {
    symmetric.algorithm = TPM2_ALG_AES;
    symmetric.keyBits.aes = 128;
    symmetric.mode.aes = TPM2_ALG_CFB;
  }
  ESYS_TR value = ESYS_TR_NONE;
  STELE_TRY_VOID(
      connection.Check(Esys_StartAuthSession(connection.esys(), salt_key, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                             ESYS_TR_NONE, nullptr, type, &symmetric, TPM2_ALG_SHA256, &value),
                       "start a TPM session"));
  Handle session(connection, value, Handle::End::kFlush);
  STELE_TRY_VOID(connection.Check(
      Esys_TRSess_SetAttributes(connection.esys(), value, TPMA_SESSION_CONTINUESESSION, TPMA_SESSION_CONTINUESESSION),
      "keep a TPM session"));
  return session;
}

Result<void> Encrypting(Connection& connection, const Handle& session, TPMA_SESSION what) {
  return connection.Check(
      Esys_TRSess_SetAttributes(connection.esys(), session.get(), what, TPMA_SESSION_DECRYPT | TPMA_SESSION_ENCRYPT),
      "encrypt a TPM session");
}

Result<ESYS_TR> CreatePrimary(Connection& connection, ESYS_TR hierarchy, const TPM2B_PUBLIC& area, const char* what) {
  const TPM2B_SENSITIVE_CREATE sensitive{};
  const TPM2B_DATA outside{};
  const TPML_PCR_SELECTION pcrs{};
  ESYS_TR primary = ESYS_TR_NONE;
  STELE_TRY_VOID(connection.Check(
      Esys_CreatePrimary(connection.esys(), hierarchy, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &sensitive, &area,
                         &outside, &pcrs, &primary, nullptr, nullptr, nullptr, nullptr),
      what));
  return primary;
}

Result<Handle> LoadPublicKey(Connection& connection, ByteView public_area, ESYS_TR hierarchy, const char* what) {
  TPM2B_PUBLIC external{};
  std::size_t offset = 0;
  STELE_TRY_VOID(
      connection.Check(Tss2_MU_TPMT_PUBLIC_Unmarshal(reinterpret_cast<const std::uint8_t*>(public_area.data()),
                                                     public_area.size(), &offset, &external.publicArea),
                       what));
  ESYS_TR loaded = ESYS_TR_NONE;
  STELE_TRY_VOID(connection.Check(Esys_LoadExternal(connection.esys(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                                    nullptr, &external, hierarchy, &loaded),
                                  what));
  return Handle(connection, loaded, Handle::End::kFlush);
}

Result<IndexPublic> ReadIndexPublic(Connection& connection, const Handle& index) {
  TPM2B_NV_PUBLIC* raw_public = nullptr;
  TPM2B_NAME* raw_name = nullptr;
  const TSS2_RC rc = Esys_NV_ReadPublic(connection.esys(), index.get(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                        &raw_public, &raw_name);
  const EsysPtr<TPM2B_NV_PUBLIC> nv(raw_public);
  const EsysPtr<TPM2B_NAME> name(raw_name);
  STELE_TRY_VOID(connection.Check(rc, "read an NV index's public area"));
  return IndexPublic{ToBytes(ViewOf(name->name, name->size)), nv->nvPublic.attributes, nv->nvPublic.dataSize};
}

ByteView ViewOf(const void* data, std::size_t size_bytes) { return {static_cast<const std::byte*>(data), size_bytes}; }

TPM2B_DATA QualifyingData(const Hash& hash) {
  TPM2B_DATA out{};
  out.size = kHashBytes;
  std::memcpy(out.buffer, hash.data(), hash.size());
  return out;
}

TPM2B_MAX_NV_BUFFER NvData(const Hash& hash) {
  TPM2B_MAX_NV_BUFFER out{};
  out.size = kHashBytes;
  std::memcpy(out.buffer, hash.data(), hash.size());
  return out;
}

TPM2B_DIGEST DigestOf(const Hash& hash) {
  TPM2B_DIGEST out{};
  out.size = kHashBytes;
  std::memcpy(out.buffer, hash.data(), hash.size());
  return out;
}

}  // namespace stele::tpm
