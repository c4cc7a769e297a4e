#include "firmware/state/vault.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <cstring>

#include "appliance/base/hash.h"
#include "tpm/names.h"
#include "tpm/policy.h"
#include "tpm/seal.h"

namespace stele::state {
namespace {

using tpm::Handle;

constexpr const char* kOtherTpm =
    "its key is in another TPM, or this one was cleared; put the old TPM back, or use the recovery key";

bool Is(TSS2_RC rc, TSS2_RC wanted) { return (rc & ~(TPM2_RC_N_MASK | TPM2_RC_P)) == wanted; }

TPML_PCR_SELECTION Selection(std::initializer_list<std::uint32_t> registers) {
  TPML_PCR_SELECTION out{};
  out.count = 1;
  out.pcrSelections[0].hash = TPM2_ALG_SHA256;
  out.pcrSelections[0].sizeofSelect = 3;
  for (const std::uint32_t number : registers) {
    BYTE& octet = out.pcrSelections[0].pcrSelect[number / 8];
    octet = static_cast<BYTE>(octet | (1U << (number % 8)));
  }
  return out;
}

TPM2B_MAX_NV_BUFFER VersionBuffer(std::uint64_t version) {
  const Bytes bytes = VersionOperand(version);
  TPM2B_MAX_NV_BUFFER data{};
  data.size = static_cast<UINT16>(bytes.size());
  std::memcpy(data.buffer, bytes.data(), bytes.size());
  return data;
}

// A key that is not kept any longer than the function that holds it.
struct Wiped {
  Hash bytes{};
  Wiped() = default;
  Wiped(const Wiped&) = delete;
  Wiped& operator=(const Wiped&) = delete;
  ~Wiped() { OPENSSL_cleanse(bytes.data(), bytes.size()); }
};

}  // namespace

Result<Vault> Vault::Open(UniqueFd tpm, int timeout_ms) {
  STELE_TRY(auto connection, tpm::Connection::Open(std::move(tpm), timeout_ms));
  return Vault(std::move(connection));
}

Result<void> Vault::Take(Approval approval, std::string_view key_pem) {
  STELE_TRY(key_area_, RsaPublicArea(key_pem));
  key_name_ = tpm::NameOfPublicArea(key_area_);
  approval_ = std::move(approval);
  return {};
}

// What can be told without the policy is told first: the TPM itself would only say that some policy failed.
Result<void> Vault::CheckMachine(const SealedKey& sealed) {
  STELE_TRY(const auto registers, tpm::ReadRegisterValues(*connection_, {7, 11, 12}));
  if (registers.at(12) != Hash{}) {
    return Fail(Code::kDenied,
                "the start was handed something that nobody signed (PCR 12 is not zero); remove credentials and "
                "add-ons from the ESP");
  }
  if (!SameBytes(sealed.approver_name, key_name_))
    return Fail(
        Code::kDenied,
        "this image is approved by another PCR key than the one it was sealed to; start an image of the same owner");
  if (registers.at(7) != sealed.pcr_7) {
    return Fail(Code::kDenied,
                "Secure Boot is off or its keys have changed (PCR 7 is not what it was sealed to); restore them, or "
                "use the recovery key");
  }
  if (ApprovedPolicy(registers.at(11), approval_.version, key_name_) != approval_.policy)
    return Fail(Code::kDenied, "this image is not the one its approval is for (PCR 11); write the image anew");
  return {};
}

Result<void> Vault::CompareVersion(const Handle& session) {
  auto index = tpm::OpenHandle(*connection_, kVersionIndex);
  if (!index && index.error().code == Code::kNotFound) return Fail(Code::kDenied, kOtherTpm);
  if (!index) return tl::unexpected(index.error());
  const Bytes operand = VersionOperand(approval_.version);
  TPM2B_OPERAND wanted{};
  wanted.size = static_cast<UINT16>(operand.size());
  std::memcpy(wanted.buffer, operand.data(), operand.size());
  const TSS2_RC rc = Esys_PolicyNV(connection_->esys(), index->get(), index->get(), session.get(), ESYS_TR_PASSWORD,
                                   ESYS_TR_NONE, ESYS_TR_NONE, &wanted, 0, TPM2_EO_UNSIGNED_LE);
  if (rc == TPM2_RC_POLICY) {
    return Fail(Code::kDenied, "this image (version " + std::to_string(approval_.version) +
                                   ") is older than one that has run here; start the newer one");
  }
  return connection_->Check(rc, "compare the image's version");
}

// TPM2_VerifySignature gives the ticket that TPM2_PolicyAuthorize wants (Part 3, section 23.16).
Result<void> Vault::Authorize(const Handle& session) {
  STELE_TRY(const Handle key,
            tpm::LoadPublicKey(*connection_, key_area_, ESYS_TR_RH_OWNER, "hand the PCR key to the TPM"));
  const TPM2B_DIGEST digest = tpm::DigestOf(tpm::AuthorizationDigest(approval_.policy, {}));
  TPMT_SIGNATURE signature{};
  signature.sigAlg = TPM2_ALG_RSASSA;
  signature.signature.rsassa.hash = TPM2_ALG_SHA256;
  signature.signature.rsassa.sig.size = static_cast<UINT16>(approval_.signature.size());
  std::memcpy(signature.signature.rsassa.sig.buffer, approval_.signature.data(), approval_.signature.size());
  TPMT_TK_VERIFIED* raw_ticket = nullptr;
  const TSS2_RC verified = Esys_VerifySignature(connection_->esys(), key.get(), ESYS_TR_NONE, ESYS_TR_NONE,
                                                ESYS_TR_NONE, &digest, &signature, &raw_ticket);
  const tpm::EsysPtr<TPMT_TK_VERIFIED> ticket(raw_ticket);
  if (Is(verified, TPM2_RC_SIGNATURE)) return Fail(Code::kDenied, "the image's approval is not signed by its PCR key");
  STELE_TRY_VOID(connection_->Check(verified, "verify the image's approval"));
  const TPM2B_DIGEST approved = tpm::DigestOf(approval_.policy);
  const TPM2B_NONCE reference{};
  TPM2B_NAME name{};
  name.size = static_cast<UINT16>(key_name_.size());
  std::memcpy(name.name, key_name_.data(), key_name_.size());
  return connection_->Check(Esys_PolicyAuthorize(connection_->esys(), session.get(), ESYS_TR_NONE, ESYS_TR_NONE,
                                                 ESYS_TR_NONE, &approved, &reference, &name, ticket.get()),
                            "take the image's approval");
}

Result<void> Vault::ShowRegisters(const Handle& session, std::initializer_list<std::uint32_t> registers) {
  const TPM2B_DIGEST as_they_are{};
  const TPML_PCR_SELECTION selection = Selection(registers);
  return connection_->Check(Esys_PolicyPCR(connection_->esys(), session.get(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                           &as_they_are, &selection),
                            "show the registers");
}

Result<void> Vault::SatisfyApproval(const Handle& session) {
  STELE_TRY_VOID(ShowRegisters(session, {11}));
  STELE_TRY_VOID(CompareVersion(session));
  return Authorize(session);
}

Result<void> Vault::Unseal(const SealedKey& sealed, Hash& secret) {
  STELE_TRY_VOID(CheckMachine(sealed));
  auto parent = tpm::OpenHandle(*connection_, kStorageHandle);
  if (!parent && parent.error().code == Code::kNotFound) return Fail(Code::kDenied, kOtherTpm);
  if (!parent) return tl::unexpected(parent.error());
  STELE_TRY(const Bytes name, tpm::NameOf(*connection_, *parent));
  if (!SameBytes(name, sealed.parent_name)) return Fail(Code::kDenied, kOtherTpm);
  STELE_TRY(const Handle session,
            tpm::StartSession(*connection_, TPM2_SE_POLICY, parent->get(), tpm::SessionCipher::kAes128Cfb));
  STELE_TRY_VOID(SatisfyApproval(session));
  STELE_TRY_VOID(ShowRegisters(session, {7, 12}));
  STELE_TRY(const Handle object, tpm::LoadSealed(*connection_, *parent, sealed.public_area, sealed.private_area));
  return tpm::UnsealLoaded(*connection_, object, session, secret);
}

Result<Handle> Vault::MakeStorageKey() {
  STELE_TRY(const ESYS_TR primary,
            tpm::CreatePrimary(*connection_, ESYS_TR_RH_OWNER, tpm::StorageTemplate(),
                               "make the storage key (the owner's authorisation must be empty)"));
  const Handle transient(*connection_, primary, Handle::End::kFlush);
  ESYS_TR persistent = ESYS_TR_NONE;
  STELE_TRY_VOID(
      connection_->Check(Esys_EvictControl(connection_->esys(), ESYS_TR_RH_OWNER, transient.get(), ESYS_TR_PASSWORD,
                                           ESYS_TR_NONE, ESYS_TR_NONE, kStorageHandle, &persistent),
                         "keep the storage key"));
  return Handle(*connection_, persistent, Handle::End::kForget);
}

Result<void> Vault::MakeVersionIndex() {
  TPM2B_NV_PUBLIC area{};
  area.nvPublic.nvIndex = kVersionIndex;
  area.nvPublic.nameAlg = TPM2_ALG_SHA256;
  area.nvPublic.attributes = kVersionAttributes;
  area.nvPublic.authPolicy = tpm::DigestOf(AuthorizedPolicy(key_name_));
  area.nvPublic.dataSize = kVersionBytes;
  const TPM2B_AUTH empty{};
  ESYS_TR raw = ESYS_TR_NONE;
  STELE_TRY_VOID(connection_->Check(Esys_NV_DefineSpace(connection_->esys(), ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD,
                                                        ESYS_TR_NONE, ESYS_TR_NONE, &empty, &area, &raw),
                                    "make the version index"));
  const Handle index(*connection_, raw, Handle::End::kForget);
  const TPM2B_MAX_NV_BUFFER data = VersionBuffer(approval_.version);
  return connection_->Check(Esys_NV_Write(connection_->esys(), ESYS_TR_RH_OWNER, index.get(), ESYS_TR_PASSWORD,
                                          ESYS_TR_NONE, ESYS_TR_NONE, &data, 0),
                            "write the version index");
}

Result<SealedKey> Vault::Seal(const Hash& secret) {
  auto parent = tpm::OpenHandle(*connection_, kStorageHandle);
  if (!parent && parent.error().code == Code::kNotFound) parent = MakeStorageKey();
  if (!parent) return tl::unexpected(parent.error());
  const auto index = tpm::OpenHandle(*connection_, kVersionIndex);
  if (!index && index.error().code != Code::kNotFound) return tl::unexpected(index.error());
  if (!index) STELE_TRY_VOID(MakeVersionIndex());

  SealedKey sealed;
  STELE_TRY(const auto registers, tpm::ReadRegisterValues(*connection_, {7}));
  sealed.pcr_7 = registers.at(7);
  sealed.approver_name = key_name_;
  STELE_TRY(sealed.parent_name, tpm::NameOf(*connection_, *parent));
  STELE_TRY(tpm::SealedObject made,
            tpm::CreateSealed(*connection_, *parent, *parent, secret, SealingPolicy(sealed.pcr_7, key_name_)));
  sealed.public_area = std::move(made.public_area);
  sealed.private_area = std::move(made.private_area);
  parent->reset();  // the same handle must not be open twice
  Wiped again;
  STELE_TRY_VOID(Unseal(sealed, again.bytes));
  if (again.bytes != secret) return Fail(Code::kTpm, "the TPM gave back another secret than it was given");
  return sealed;
}

Result<std::uint64_t> Vault::VersionIndex() {
  STELE_TRY(const Handle index, tpm::OpenHandle(*connection_, kVersionIndex));
  TPM2B_MAX_NV_BUFFER* raw = nullptr;
  const TSS2_RC rc = Esys_NV_Read(connection_->esys(), index.get(), index.get(), ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                  ESYS_TR_NONE, kVersionBytes, 0, &raw);
  const tpm::EsysPtr<TPM2B_MAX_NV_BUFFER> data(raw);
  STELE_TRY_VOID(connection_->Check(rc, "read the version index"));
  if (data->size != kVersionBytes) return Fail(Code::kTpm, "the version index has another size");
  std::uint64_t version = 0;
  for (std::size_t i = 0; i < kVersionBytes; ++i) version = version << 8U | data->buffer[i];
  return version;
}

Result<void> Vault::RaiseVersion() {
  STELE_TRY(const std::uint64_t now, VersionIndex());
  if (now >= approval_.version) return {};
  STELE_TRY(const Handle session, tpm::StartSession(*connection_, TPM2_SE_POLICY, ESYS_TR_NONE));
  STELE_TRY_VOID(SatisfyApproval(session));
  STELE_TRY(const Handle index, tpm::OpenHandle(*connection_, kVersionIndex));
  const TPM2B_MAX_NV_BUFFER data = VersionBuffer(approval_.version);
  return connection_->Check(
      Esys_NV_Write(connection_->esys(), index.get(), index.get(), session.get(), ESYS_TR_NONE, ESYS_TR_NONE, &data, 0),
      "raise the version index");
}

Result<void> Vault::Lock() {
  TPML_DIGEST_VALUES values{};
  values.count = 1;
  values.digests[0].hashAlg = TPM2_ALG_SHA256;
  const Hash digest = Sha256Of(AsBytes(kPhase));
  std::memcpy(values.digests[0].digest.sha256, digest.data(), digest.size());
  return connection_->Check(
      Esys_PCR_Extend(connection_->esys(), ESYS_TR_PCR11, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &values),
      "measure the end of the initial RAM disk");
}

}  // namespace stele::state
