#include "tpm/provision.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <tss2/tss2_mu.h>

#include <algorithm>
#include <cstring>

#include "appliance/base/hash.h"
#include "tpm/attest.h"
#include "tpm/big_endian.h"
#include "tpm/certificate.h"
#include "tpm/esys.h"
#include "tpm/names.h"
#include "tpm/seal.h"

namespace stele::tpm {
namespace {

constexpr std::size_t kCertificateBytesMax = std::size_t{16} * 1024;
constexpr std::uint16_t kNvChunkBytes = 512;  // every TPM's MAX_NV_BUFFER_SIZE is at least this

// TCG EK Credential Profile 2.5, appendix B.3.3: policy A of template L-1, PolicySecret(TPM_RH_ENDORSEMENT).
constexpr std::array<std::uint8_t, 32> kEkPolicy = {0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc,
                                                    0x8d, 0x46, 0xa5, 0xd7, 0x24, 0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52,
                                                    0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa};

TPM2B_PUBLIC EkTemplate() {
  TPM2B_PUBLIC out{};
  TPMT_PUBLIC& area = out.publicArea;
  area.type = TPM2_ALG_RSA;
  area.nameAlg = TPM2_ALG_SHA256;
  area.objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN |
                          TPMA_OBJECT_ADMINWITHPOLICY | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT;
  area.authPolicy.size = kEkPolicy.size();
  std::memcpy(area.authPolicy.buffer, kEkPolicy.data(), kEkPolicy.size());
  area.parameters.rsaDetail.symmetric.algorithm = TPM2_ALG_AES;
  area.parameters.rsaDetail.symmetric.keyBits.aes = 128;
  area.parameters.rsaDetail.symmetric.mode.aes = TPM2_ALG_CFB;
  area.parameters.rsaDetail.scheme.scheme = TPM2_ALG_NULL;
  area.parameters.rsaDetail.keyBits = 2048;
  area.unique.rsa.size = 256;  // zeros
  return out;
}

TPM2B_PUBLIC AkTemplate() {
  TPM2B_PUBLIC out{};
  TPMT_PUBLIC& area = out.publicArea;
  area.type = TPM2_ALG_ECC;
  area.nameAlg = TPM2_ALG_SHA256;
  // noda: without it three power cuts lock the TPM out and quotes stop.
  area.objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN |
                          TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_NODA | TPMA_OBJECT_RESTRICTED |
                          TPMA_OBJECT_SIGN_ENCRYPT;
  TPMS_ECC_PARMS& ecc = area.parameters.eccDetail;
  ecc.symmetric.algorithm = TPM2_ALG_NULL;
  ecc.scheme.scheme = TPM2_ALG_ECDSA;
  ecc.scheme.details.ecdsa.hashAlg = TPM2_ALG_SHA256;
  ecc.curveID = TPM2_ECC_NIST_P256;
  ecc.kdf.scheme = TPM2_ALG_NULL;
  return out;
}

TPM2B_NV_PUBLIC NvTemplate(std::uint32_t handle, std::uint32_t attributes, const Hash& policy, std::uint16_t size) {
  TPM2B_NV_PUBLIC out{};
  out.nvPublic.nvIndex = handle;
  out.nvPublic.nameAlg = TPM2_ALG_SHA256;
  out.nvPublic.attributes = attributes;
  out.nvPublic.authPolicy = DigestOf(policy);
  out.nvPublic.dataSize = size;
  return out;
}

Result<Bytes> PublicOf(Connection& connection, const Handle& key) {
  TPM2B_PUBLIC* raw_public = nullptr;
  TPM2B_NAME* raw_name = nullptr;
  TPM2B_NAME* raw_qualified = nullptr;
  const TSS2_RC rc = Esys_ReadPublic(connection.esys(), key.get(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                     &raw_public, &raw_name, &raw_qualified);
  const EsysPtr<TPM2B_PUBLIC> area(raw_public);
  const EsysPtr<TPM2B_NAME> name(raw_name);
  const EsysPtr<TPM2B_NAME> qualified(raw_qualified);
  STELE_TRY_VOID(connection.Check(rc, "read a key's public area"));
  std::array<std::uint8_t, sizeof(TPM2B_PUBLIC)> marshalled{};
  std::size_t size = 0;
  STELE_TRY_VOID(connection.Check(Tss2_MU_TPM2B_PUBLIC_Marshal(area.get(), marshalled.data(), marshalled.size(), &size),
                                  "read a key's public area"));
  return ToBytes(ViewOf(marshalled.data(), size));
}

// The provisioning key as a transient object, to verify a signature in the TPM.
Result<Handle> LoadVerifier(Connection& connection, std::string_view public_pem) {
  STELE_TRY(const Bytes area, ExternalPublicArea(public_pem));
  return LoadPublicKey(connection, area, ESYS_TR_RH_NULL, "hand the provisioning key to the TPM");
}

TPMT_SIGNATURE TpmSignature(const EcSignature& signature) {
  TPMT_SIGNATURE out{};
  out.sigAlg = TPM2_ALG_ECDSA;
  TPMS_SIGNATURE_ECDSA& ecdsa = out.signature.ecdsa;
  ecdsa.hash = TPM2_ALG_SHA256;
  ecdsa.signatureR.size = kHashBytes;
  ecdsa.signatureS.size = kHashBytes;
  std::memcpy(ecdsa.signatureR.buffer, signature.r.data(), kHashBytes);
  std::memcpy(ecdsa.signatureS.buffer, signature.s.data(), kHashBytes);
  return out;
}

// What was made must be what was meant: Names as computed, values as computed, quote and certificates verified with the
// code an auditor runs.
Result<Provisioning::Evidence> VerifyMade(Tpm& device, const Hash& challenge, ProvisionResult& out) {
  STELE_TRY(out.identity, device.Identity());
  STELE_TRY(const Bytes counter_name, WrittenCounterName(out.handles, out.provisioning_public_pem));
  STELE_TRY(const Bytes index_name, WrittenIndexName(out.handles, out.provisioning_public_pem));
  STELE_TRY(const AttestationKey ak, ParseAttestationKey(out.ak_public));
  if (out.identity.counter_name != counter_name || out.identity.index_name != index_name ||
      out.identity.ak_name != ak.name || out.identity.ek_name != NameOfPublicArea(ByteView(out.ek_public).subspan(2))) {
    return Fail(Code::kTpm, "the TPM made other objects than it was asked for");
  }
  STELE_TRY(out.counter_start, device.ReadCounter());
  STELE_TRY(out.index_start, device.ReadIndex());
  if (out.index_start != GenesisIndexValue(out.genesis_random)) {
    return Fail(Code::kTpm, "the anchor index does not hold its first value");
  }
  STELE_TRY(const TpmClock clock, device.ReadClock());
  out.reset_count = clock.reset_count;
  const Bytes qualified = QualifiedNameOf(out.identity.ek_name, out.identity.ak_name);
  const Signer signer{out.ak_public_pem, qualified};
  Provisioning::Evidence evidence;
  STELE_TRY(evidence.quote, device.Quote(challenge));
  STELE_TRY_VOID(VerifyQuote(evidence.quote, signer, challenge, out.pcr));
  STELE_TRY(evidence.counter, device.CertifyCounter(challenge));
  STELE_TRY(const auto counter, VerifyCounter(evidence.counter, signer, challenge, counter_name));
  STELE_TRY(evidence.index, device.CertifyIndex(challenge));
  STELE_TRY(const auto index, VerifyIndex(evidence.index, signer, challenge, index_name));
  if (counter.value != out.counter_start || index.value != out.index_start) {
    return Fail(Code::kTpm, "the TPM certifies other values than it reads");
  }
  return evidence;
}

Result<bool> PlatformOff(Connection& connection) {
  const TSS2_RC rc = Esys_HierarchyControl(connection.esys(), ESYS_TR_RH_PLATFORM, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                           ESYS_TR_NONE, ESYS_TR_RH_PLATFORM, TPM2_NO);
  if ((rc & TSS2_RC_LAYER_MASK) != 0) STELE_TRY_VOID(connection.Check(rc, "disable the platform hierarchy"));
  return rc == TSS2_RC_SUCCESS;
}

// On a device of its own, gone when this returns.
Result<Provisioning::Evidence> VerifyOn(UniqueFd connection, AnchorConfig config, const Hash& challenge,
                                        ProvisionResult& out) {
  STELE_TRY(const auto device, AnchorDevice::Open(std::move(connection), std::move(config)));
  return VerifyMade(*device, challenge, out);
}

}  // namespace

Result<Hash> FirstWriteCommandHash(FirstWrite which, const Handles& handles, std::string_view provisioning_public_pem,
                                   const Hash& genesis_random) {
  STELE_TRY(const WritePolicy policy, WritePolicyOf(provisioning_public_pem));
  const bool counter = which == FirstWrite::kCounter;
  const Bytes name = counter ? NvName(handles.counter, kCounterAttributes, policy.policy, sizeof(std::uint64_t))
                             : NvName(handles.index, kIndexAttributes, policy.policy, kHashBytes);
  Bytes code;
  BigWriter(code).Int(std::uint32_t{counter ? TPM2_CC_NV_Increment : TPM2_CC_NV_Extend});
  Bytes parameters;
  if (!counter) BigWriter(parameters).Sized(GenesisDigest(genesis_random));
  return Sha256Of({code, name, name, parameters});  // Part 1, section 16.7
}

Bytes FirstWriteMessage(ByteView nonce, const Hash& command_hash) {
  Bytes message = ToBytes(nonce);
  BigWriter(message).Int(std::uint32_t{0});
  Append(message, command_hash);
  return message;
}

Provisioning::Provisioning(std::unique_ptr<Connection> connection, ProvisionPlan plan)
    : connection_(std::move(connection)), plan_(std::move(plan)) {}

Result<std::unique_ptr<Provisioning>> Provisioning::Open(UniqueFd connection, ProvisionPlan plan, Entropy& entropy) {
  if (!IsAnchorPcr(plan.pcr)) return Fail(Code::kInvalid, "the anchor's PCR must be 8, 13 or 14");
  STELE_TRY(const WritePolicy policy, WritePolicyOf(plan.provisioning_public_pem));
  STELE_TRY(auto opened, Connection::Open(std::move(connection), plan.timeout_ms));
  std::unique_ptr<Provisioning> out(
      new Provisioning(std::move(opened), std::move(plan)));  // NOLINT: private constructor
  out->policy_ = policy;
  out->out_.pcr = out->plan_.pcr;
  out->out_.handles = out->plan_.handles;
  out->out_.provisioning_public_pem = out->plan_.provisioning_public_pem;
  entropy.Fill(out->out_.genesis_random);
  return out;
}

Provisioning::~Provisioning() {
  if (!finished_) Undo();
}

Result<TpmFacts> Provisioning::Examine() {
  STELE_TRY(TpmFacts facts, tpm::Examine(*connection_, plan_.handles, plan_.pcr));
  out_.manufacturer = facts.manufacturer;
  out_.vendor = facts.vendor;
  out_.firmware_version = facts.firmware_version;
  out_.software_tpm = facts.software_tpm;
  return facts;
}

Result<void> Provisioning::TakeOver() {
  STELE_TRY(const TpmFacts facts, Examine());
  if (facts.owner_auth_set || facts.clear_disabled) {
    return Fail(Code::kDenied, "this TPM is locked down: what it holds is no left-over of an interrupted attempt");
  }
  const Handles& handles = plan_.handles;
  made_ = {handles.storage, handles.ak, handles.counter, handles.index};
  return {};
}

Result<Bytes> Provisioning::ReadEkCertificate() {
  auto index = OpenHandle(*connection_, kEkCertificateIndex);
  if (!index && index.error().code == Code::kNotFound) return Bytes{};
  if (!index) return tl::unexpected(index.error());
  STELE_TRY(const IndexPublic area, ReadIndexPublic(*connection_, *index));
  if (area.size_bytes > kCertificateBytesMax) return Fail(Code::kTpm, "the EK certificate in the TPM is too long");
  Bytes contents;
  while (contents.size() < area.size_bytes) {
    const auto offset = static_cast<std::uint16_t>(contents.size());
    const auto chunk = std::min<std::uint16_t>(kNvChunkBytes, static_cast<std::uint16_t>(area.size_bytes - offset));
    TPM2B_MAX_NV_BUFFER* raw = nullptr;
    const TSS2_RC rc = Esys_NV_Read(esys(), index->get(), index->get(), ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE,
                                    chunk, offset, &raw);
    const EsysPtr<TPM2B_MAX_NV_BUFFER> data(raw);
    STELE_TRY_VOID(connection_->Check(rc, "read the EK certificate"));
    if (data->size != chunk) return Fail(Code::kTpm, "read the EK certificate: the TPM gave another size");
    Append(contents, ViewOf(data->buffer, data->size));
  }
  return TrimCertificate(contents);
}

Result<Handle> Provisioning::Persist(const Handle& transient, std::uint32_t handle, const char* what) {
  ESYS_TR persistent = ESYS_TR_NONE;
  STELE_TRY_VOID(connection_->Check(Esys_EvictControl(esys(), ESYS_TR_RH_OWNER, transient.get(), ESYS_TR_PASSWORD,
                                                      ESYS_TR_NONE, ESYS_TR_NONE, handle, &persistent),
                                    what));
  made_.push_back(handle);
  return Handle(*connection_, persistent, Handle::End::kForget);
}

// swtpm_setup and most firmware leave the EK persisted; otherwise it is made again from its seed: the same key.
Result<void> Provisioning::FindEk() {
  auto found = OpenHandle(*connection_, plan_.handles.ek);
  if (!found && found.error().code != Code::kNotFound) return tl::unexpected(found.error());
  if (found) {
    ek_ = std::move(*found);
  } else {
    STELE_TRY(const ESYS_TR primary,
              CreatePrimary(*connection_, ESYS_TR_RH_ENDORSEMENT, EkTemplate(), "make the endorsement key"));
    const Handle transient(*connection_, primary, Handle::End::kFlush);
    STELE_TRY(ek_, Persist(transient, plan_.handles.ek, "keep the endorsement key"));
    made_.pop_back();  // it was the TPM's all along: nothing to undo
  }
  STELE_TRY(out_.ek_public, PublicOf(*connection_, ek_));
  STELE_TRY(out_.identity.ek_name, NameOf(*connection_, ek_));
  STELE_TRY(out_.ek_certificate_der, ReadEkCertificate());
  if (!out_.ek_certificate_der.empty()) {
    STELE_TRY_VOID(CheckEkCertificate(out_.ek_certificate_der, out_.ek_public));
  }
  return {};
}

// Using the EK as a parent needs its policy: knowledge of the endorsement authorisation, empty before lock-down.
Result<Handle> Provisioning::EkAuthorisation() {
  STELE_TRY(Handle session, StartSession(*connection_, TPM2_SE_POLICY, ESYS_TR_NONE));
  TPM2B_TIMEOUT* timeout = nullptr;
  TPMT_TK_AUTH* ticket = nullptr;
  const TSS2_RC rc = Esys_PolicySecret(esys(), ESYS_TR_RH_ENDORSEMENT, session.get(), ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                       ESYS_TR_NONE, nullptr, nullptr, nullptr, 0, &timeout, &ticket);
  const EsysPtr<TPM2B_TIMEOUT> free_timeout(timeout);
  const EsysPtr<TPMT_TK_AUTH> free_ticket(ticket);
  STELE_TRY_VOID(connection_->Check(rc, "authorise the use of the endorsement key (its authorisation must be empty)"));
  return session;
}

Result<void> Provisioning::MakeStorageKey() {
  STELE_TRY(const ESYS_TR primary,
            CreatePrimary(*connection_, ESYS_TR_RH_OWNER, StorageTemplate(), "make the storage key"));
  const Handle transient(*connection_, primary, Handle::End::kFlush);
  STELE_TRY(storage_, Persist(transient, plan_.handles.storage, "keep the storage key"));
  return {};
}

Result<void> Provisioning::MakeAk() {
  const TPM2B_SENSITIVE_CREATE sensitive{};
  const TPM2B_PUBLIC area = AkTemplate();
  const TPM2B_DATA outside{};
  const TPML_PCR_SELECTION pcrs{};
  TPM2B_PRIVATE* raw_private = nullptr;
  TPM2B_PUBLIC* raw_public = nullptr;
  {
    STELE_TRY(const Handle session, EkAuthorisation());
    STELE_TRY_VOID(
        connection_->Check(Esys_Create(esys(), ek_.get(), session.get(), ESYS_TR_NONE, ESYS_TR_NONE, &sensitive, &area,
                                       &outside, &pcrs, &raw_private, &raw_public, nullptr, nullptr, nullptr),
                           "make the attestation key"));
  }
  const EsysPtr<TPM2B_PRIVATE> private_part(raw_private);
  const EsysPtr<TPM2B_PUBLIC> public_part(raw_public);
  ESYS_TR loaded = ESYS_TR_NONE;
  {
    STELE_TRY(const Handle session, EkAuthorisation());
    STELE_TRY_VOID(connection_->Check(Esys_Load(esys(), ek_.get(), session.get(), ESYS_TR_NONE, ESYS_TR_NONE,
                                                private_part.get(), public_part.get(), &loaded),
                                      "load the attestation key"));
  }
  const Handle transient(*connection_, loaded, Handle::End::kFlush);
  STELE_TRY(ak_, Persist(transient, plan_.handles.ak, "keep the attestation key"));
  STELE_TRY(out_.ak_public, PublicOf(*connection_, ak_));
  STELE_TRY(AttestationKey key, ParseAttestationKey(out_.ak_public));
  out_.ak_public_pem = std::move(key.public_pem);
  out_.identity.ak_name = std::move(key.name);
  return {};
}

Result<void> Provisioning::MakeKeys() {
  STELE_TRY(const TpmFacts facts, Examine());
  if (!facts.present.empty()) {
    return Fail(Code::kDenied,
                facts.present.front() + " already exists: this TPM is provisioned; clear it or choose other handles");
  }
  if (!facts.missing_commands.empty()) {
    return Fail(Code::kDenied, "this TPM cannot do " + facts.missing_commands.front() + ", which Stele needs");
  }
  STELE_TRY_VOID(FindEk());
  STELE_TRY_VOID(MakeStorageKey());
  STELE_TRY_VOID(MakeAk());
  if (!facts.nv_certify) STELE_TRY_VOID(SetAuditPolicy(AuditPolicy()));
  return {};
}

// An empty policy allows nothing.
Result<void> Provisioning::SetAuditPolicy(const std::optional<Hash>& policy) {
  const TPM2B_DIGEST digest = policy ? DigestOf(*policy) : TPM2B_DIGEST{};
  STELE_TRY_VOID(
      connection_->Check(Esys_SetPrimaryPolicy(esys(), ESYS_TR_RH_ENDORSEMENT, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                               ESYS_TR_NONE, &digest, policy ? TPM2_ALG_SHA256 : TPM2_ALG_NULL),
                         "allow audited reads"));
  audit_policy_set_ = policy.has_value();
  return {};
}

Result<Handle> Provisioning::DefineIndex(FirstWrite which) {
  const bool counter = which == FirstWrite::kCounter;
  const std::uint32_t handle = counter ? plan_.handles.counter : plan_.handles.index;
  const TPM2B_NV_PUBLIC area = counter ? NvTemplate(handle, kCounterAttributes, policy_.policy, sizeof(std::uint64_t))
                                       : NvTemplate(handle, kIndexAttributes, policy_.policy, kHashBytes);
  const TPM2B_AUTH empty{};
  ESYS_TR index = ESYS_TR_NONE;
  STELE_TRY_VOID(connection_->Check(Esys_NV_DefineSpace(esys(), ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                                        ESYS_TR_NONE, &empty, &area, &index),
                                    counter ? "make the anchor counter" : "make the anchor index"));
  made_.push_back(handle);
  return Handle(*connection_, index, Handle::End::kForget);
}

// The session of a first write stays open until the provisioning key has signed its nonce; the TPM keeps the nonce
// until the session is used for the write itself (Part 1, section 17.6.3.2).
Result<Handle> Provisioning::StartFirstWrite(Bytes& nonce) {
  STELE_TRY(Handle session, StartSession(*connection_, TPM2_SE_POLICY, ek_.get()));
  STELE_TRY_VOID(
      connection_->Check(Esys_PolicyNvWritten(esys(), session.get(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_NO),
                         "begin the first-write policy"));
  TPM2B_NONCE* raw_nonce = nullptr;
  const TSS2_RC rc = Esys_TRSess_GetNonceTPM(esys(), session.get(), &raw_nonce);
  const EsysPtr<TPM2B_NONCE> from_tpm(raw_nonce);
  STELE_TRY_VOID(connection_->Check(rc, "read a session's nonce"));
  nonce = ToBytes(ViewOf(from_tpm->buffer, from_tpm->size));
  return session;
}

Result<Provisioning::Nonces> Provisioning::DefineRegisters() {
  STELE_TRY(counter_, DefineIndex(FirstWrite::kCounter));
  STELE_TRY(index_, DefineIndex(FirstWrite::kIndex));
  STELE_TRY(counter_session_, StartFirstWrite(nonces_.counter));
  STELE_TRY(index_session_, StartFirstWrite(nonces_.index));
  return nonces_;
}

Result<Hash> Provisioning::Activate(const Credential& credential) {
  TPM2B_ID_OBJECT blob{};
  TPM2B_ENCRYPTED_SECRET secret{};
  if (credential.blob.size() > sizeof blob.credential || credential.secret.size() > sizeof secret.secret) {
    return Fail(Code::kInvalid, "the credential is too long");
  }
  blob.size = static_cast<std::uint16_t>(credential.blob.size());
  std::memcpy(blob.credential, credential.blob.data(), credential.blob.size());
  secret.size = static_cast<std::uint16_t>(credential.secret.size());
  std::memcpy(secret.secret, credential.secret.data(), credential.secret.size());
  STELE_TRY(const Handle session, EkAuthorisation());
  TPM2B_DIGEST* raw = nullptr;
  const TSS2_RC rc = Esys_ActivateCredential(esys(), ak_.get(), ek_.get(), ESYS_TR_PASSWORD, session.get(),
                                             ESYS_TR_NONE, &blob, &secret, &raw);
  const EsysPtr<TPM2B_DIGEST> unwrapped(raw);
  const auto activated = connection_->Check(rc, "unwrap the enroller's credential (for another TPM or another key?)");
  if (!activated && activated.error().code == Code::kTpm && connection_->alive()) {
    return Fail(Code::kDenied, activated.error().context, rc);
  }
  STELE_TRY_VOID(activated);
  Hash out{};
  if (unwrapped->size != out.size()) return Fail(Code::kDenied, "the credential holds something else than a key");
  std::memcpy(out.data(), unwrapped->buffer, out.size());
  OPENSSL_cleanse(unwrapped.get(), sizeof *unwrapped);
  return out;
}

// The second branch of the write policy: NvWritten(NO), then the provisioning key's signature over this session's nonce
// and this one command.
Result<void> Provisioning::SatisfyFirstWrite(const Handle& session, FirstWrite which, ByteView nonce,
                                             const EcSignature& signature) {
  STELE_TRY(const Hash command,
            FirstWriteCommandHash(which, plan_.handles, plan_.provisioning_public_pem, out_.genesis_random));
  STELE_TRY(const Handle key, LoadVerifier(*connection_, plan_.provisioning_public_pem));
  TPM2B_NONCE tpm_nonce{};
  tpm_nonce.size = static_cast<std::uint16_t>(nonce.size());
  std::memcpy(tpm_nonce.buffer, nonce.data(), nonce.size());
  const TPMT_SIGNATURE signed_by_key = TpmSignature(signature);
  const TPM2B_DIGEST command_hash = DigestOf(command);
  TPM2B_TIMEOUT* timeout = nullptr;
  TPMT_TK_AUTH* ticket = nullptr;
  const TSS2_RC rc = Esys_PolicySigned(esys(), key.get(), session.get(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                       &tpm_nonce, &command_hash, nullptr, 0, &signed_by_key, &timeout, &ticket);
  const EsysPtr<TPM2B_TIMEOUT> free_timeout(timeout);
  const EsysPtr<TPMT_TK_AUTH> free_ticket(ticket);
  STELE_TRY_VOID(connection_->Check(rc, "satisfy the first-write policy: the provisioning key's signature"));
  TPML_DIGEST branches{};
  branches.count = 2;
  branches.digests[0] = DigestOf(policy_.written);
  branches.digests[1] = DigestOf(policy_.first);
  return connection_->Check(Esys_PolicyOR(esys(), session.get(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &branches),
                            "satisfy the first-write policy");
}

Result<void> Provisioning::WriteFirst(const EcSignature& counter, const EcSignature& index) {
  STELE_TRY_VOID(SatisfyFirstWrite(counter_session_, FirstWrite::kCounter, nonces_.counter, counter));
  STELE_TRY_VOID(connection_->Check(
      Esys_NV_Increment(esys(), counter_.get(), counter_.get(), counter_session_.get(), ESYS_TR_NONE, ESYS_TR_NONE),
      "start the anchor counter"));
  counter_session_.reset();
  STELE_TRY_VOID(SatisfyFirstWrite(index_session_, FirstWrite::kIndex, nonces_.index, index));
  const TPM2B_MAX_NV_BUFFER data = NvData(GenesisDigest(out_.genesis_random));
  STELE_TRY_VOID(connection_->Check(
      Esys_NV_Extend(esys(), index_.get(), index_.get(), index_session_.get(), ESYS_TR_NONE, ESYS_TR_NONE, &data),
      "start the anchor index"));
  index_session_.reset();
  return {};
}

Result<void> Provisioning::SealSecret(const Hash& secret, const SealPolicy& policy) {
  STELE_TRY(out_.sealed, Seal(*connection_, ek_, storage_, secret, policy));
  return {};
}

Result<void> Provisioning::ChangeAuth(ESYS_TR hierarchy, const Hash& auth, const char* what) {
  STELE_TRY(const Handle session, StartSession(*connection_, TPM2_SE_HMAC, ek_.get(), SessionCipher::kAes128Cfb));
  STELE_TRY_VOID(Encrypting(*connection_, session, TPMA_SESSION_DECRYPT));
  TPM2B_AUTH fresh{};
  fresh.size = static_cast<std::uint16_t>(auth.size());
  std::memcpy(fresh.buffer, auth.data(), auth.size());
  const TSS2_RC rc = Esys_HierarchyChangeAuth(esys(), hierarchy, session.get(), ESYS_TR_NONE, ESYS_TR_NONE, &fresh);
  OPENSSL_cleanse(&fresh, sizeof fresh);
  return connection_->Check(rc, what);
}

// TPM2_Clear is forbidden before the lockout authorisation, which could allow it again, is given away.
Result<void> Provisioning::LockDown(const HierarchyAuths& auths) {
  STELE_TRY_VOID(ChangeAuth(ESYS_TR_RH_ENDORSEMENT, auths.endorsement, "set the endorsement authorisation"));
  STELE_TRY_VOID(ChangeAuth(ESYS_TR_RH_OWNER, auths.owner, "set the owner authorisation"));
  STELE_TRY_VOID(connection_->Check(
      Esys_ClearControl(esys(), ESYS_TR_RH_LOCKOUT, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_YES),
      "forbid TPM2_Clear"));
  STELE_TRY_VOID(ChangeAuth(ESYS_TR_RH_LOCKOUT, auths.lockout, "set the lockout authorisation"));
  made_.clear();  // nothing of it can be undone now
  STELE_TRY(out_.platform_disabled, PlatformOff(*connection_));
  STELE_TRY(const TpmFacts facts, tpm::Examine(*connection_, plan_.handles, plan_.pcr));
  out_.locked_down = facts.locked_down();
  if (!out_.locked_down) return Fail(Code::kTpm, "the TPM says that it is not locked down");
  return {};
}

Result<Provisioning::Evidence> Provisioning::Finish(const Hash& challenge) {
  for (Handle* handle : {&ek_, &storage_, &ak_, &counter_, &index_, &counter_session_, &index_session_})
    handle->reset();
  AnchorConfig config = ConfigOf(out_);
  config.pinned = {};
  config.pinned.ek_name = out_.identity.ek_name;
  config.timeout_ms = plan_.timeout_ms;
  UniqueFd connection = connection_->Release();
  UniqueFd again(::fcntl(connection.get(), F_DUPFD_CLOEXEC, 3));  // so that a failure can still be undone
  auto evidence = VerifyOn(std::move(connection), std::move(config), challenge, out_);
  if (evidence) {
    finished_ = true;
    return evidence;
  }
  STELE_TRY(connection_, Connection::Open(std::move(again), plan_.timeout_ms));
  return evidence;
}

void Provisioning::Undo() {
  for (Handle* handle : {&counter_session_, &index_session_, &ek_, &storage_, &ak_, &counter_, &index_})
    handle->reset();
  if (!connection_->alive()) return;
  if (audit_policy_set_ && !made_.empty()) (void)SetAuditPolicy(std::nullopt);
  std::reverse(made_.begin(), made_.end());
  for (const std::uint32_t handle : made_) {
    auto object = OpenHandle(*connection_, handle);
    if (!object) continue;
    // Best effort: the caller already has the error that matters.
    if (handle >> TPM2_HR_SHIFT == TPM2_HT_NV_INDEX) {
      if (Esys_NV_UndefineSpace(esys(), ESYS_TR_RH_OWNER, object->get(), ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                ESYS_TR_NONE) == TSS2_RC_SUCCESS) {
        object->Forget();
      }
    } else {
      ESYS_TR gone = ESYS_TR_NONE;
      (void)Esys_EvictControl(esys(), ESYS_TR_RH_OWNER, object->get(), ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE,
                              handle, &gone);
    }
  }
}

Result<bool> DisablePlatform(UniqueFd connection, int timeout_ms) {
  STELE_TRY(const auto opened, Connection::Open(std::move(connection), timeout_ms));
  return PlatformOff(*opened);
}

Hash GenesisDigest(const Hash& random) { return Sha256Of({AsBytes("stele/genesis/v1"), random}); }

Hash GenesisIndexValue(const Hash& random) {
  const Hash zero{};
  return Sha256Of({zero, GenesisDigest(random)});
}

Result<ProvisionResult> Provision(UniqueFd connection, const ProvisionOptions& options, Entropy& entropy) {
  ProvisionPlan plan{options.pcr, options.handles, {}, options.timeout_ms};
  STELE_TRY(plan.provisioning_public_pem, PublicPemOf(options.provisioning_key_pem));
  STELE_TRY(const auto provisioning, Provisioning::Open(std::move(connection), std::move(plan), entropy));
  STELE_TRY_VOID(provisioning->MakeKeys());
  STELE_TRY(const auto nonces, provisioning->DefineRegisters());
  const auto sign = [&](FirstWrite which, const Bytes& nonce) -> Result<EcSignature> {
    const ProvisionResult& so_far = provisioning->result();
    STELE_TRY(const Hash command,
              FirstWriteCommandHash(which, so_far.handles, so_far.provisioning_public_pem, so_far.genesis_random));
    return SignRaw(options.provisioning_key_pem, FirstWriteMessage(nonce, command));
  };
  STELE_TRY(const EcSignature counter, sign(FirstWrite::kCounter, nonces.counter));
  STELE_TRY(const EcSignature index, sign(FirstWrite::kIndex, nonces.index));
  STELE_TRY_VOID(provisioning->WriteFirst(counter, index));
  const Hash challenge = Sha256Of({AsBytes("stele/provision-check/v1"), provisioning->result().genesis_random});
  STELE_TRY_VOID(provisioning->Finish(challenge));
  return provisioning->TakeResult();
}

AnchorConfig ConfigOf(const ProvisionResult& result) {
  AnchorConfig config;
  config.pcr = result.pcr;
  config.handles = result.handles;
  config.pinned = result.identity;
  config.provisioning_public_pem = result.provisioning_public_pem;
  return config;
}

}  // namespace stele::tpm
