#include "tpm/provision.h"

#include <fcntl.h>
#include <tss2/tss2_mu.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "appliance/base/hash.h"
#include "tpm/attest.h"
#include "tpm/big_endian.h"
#include "tpm/certificate.h"
#include "tpm/esys.h"
#include "tpm/names.h"
#include "tpm/signing.h"

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

std::string TrimmedText(std::string text) {
  text.erase(std::remove_if(text.begin(), text.end(), [](char c) { return c < 0x20 || c == 0x7f; }), text.end());
  while (!text.empty() && text.back() == ' ') text.pop_back();
  while (!text.empty() && text.front() == ' ') text.erase(text.begin());
  return text;
}

std::string FourCharacters(std::uint32_t value) {
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>((value >> shift) & 0xff));
  return out;
}

Result<std::uint32_t> Property(Connection& connection, std::uint32_t property) {
  TPMI_YES_NO more = 0;
  TPMS_CAPABILITY_DATA* raw = nullptr;
  const TSS2_RC rc = Esys_GetCapability(connection.esys(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                        TPM2_CAP_TPM_PROPERTIES, property, 1, &more, &raw);
  const EsysPtr<TPMS_CAPABILITY_DATA> data(raw);
  STELE_TRY_VOID(connection.Check(rc, "ask the TPM who made it"));
  const TPML_TAGGED_TPM_PROPERTY& list = data->data.tpmProperties;
  return list.count == 1 && list.tpmProperty[0].property == property ? list.tpmProperty[0].value : 0;
}

Result<Bytes> PublicOf(Connection& connection, const Handle& key) {
  TPM2B_PUBLIC* raw_public = nullptr;
  TPM2B_NAME* raw_name = nullptr;
  TPM2B_NAME* raw_qualified = nullptr;
  const TSS2_RC rc = Esys_ReadPublic(connection.esys(), key.get(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &raw_public,
                                     &raw_name, &raw_qualified);
  const EsysPtr<TPM2B_PUBLIC> area(raw_public);
  const EsysPtr<TPM2B_NAME> name(raw_name);
  const EsysPtr<TPM2B_NAME> qualified(raw_qualified);
  STELE_TRY_VOID(connection.Check(rc, "read a key's public area"));
  std::array<std::uint8_t, sizeof(TPM2B_PUBLIC)> marshalled{};
  std::size_t size = 0;
  STELE_TRY_VOID(connection.Check(
      Tss2_MU_TPM2B_PUBLIC_Marshal(area.get(), marshalled.data(), marshalled.size(), &size), "read a key's public area"));
  return ToBytes(ViewOf(marshalled.data(), size));
}

// Binds a policy authorisation to one command: H(command code || Names || parameters) (Part 1, section 16.7).
Hash CommandHash(std::uint32_t code, ByteView index_name, ByteView parameters) {
  Bytes code_bytes;
  BigWriter(code_bytes).Int(code);
  return Sha256Of({code_bytes, index_name, index_name, parameters});
}

class Provisioner {
 public:
  Provisioner(std::unique_ptr<Connection> connection, const ProvisionOptions& options)
      : connection_(std::move(connection)), options_(options) {}

  Result<ProvisionResult> Run(Entropy& entropy);

 private:
  [[nodiscard]] ESYS_CONTEXT* esys() const { return connection_->esys(); }
  Result<void> RefuseExisting(std::uint32_t handle, const char* what);
  Result<void> DescribeTpm(ProvisionResult& out);
  Result<void> FindEk(ProvisionResult& out);
  Result<Bytes> ReadEkCertificate();
  Result<Handle> EkAuthorisation();
  Result<void> MakeAk(ProvisionResult& out);
  Result<Handle> DefineIndex(const TPM2B_NV_PUBLIC& area, bool& made, const char* what);
  Result<Handle> FirstWriteSession(const Handle& index, std::uint32_t code, ByteView parameters);
  Result<void> MakeCounter();
  Result<void> MakeIndex(const Hash& genesis);
  Result<void> ReadBack(ProvisionResult& out);
  void Undo();

  std::unique_ptr<Connection> connection_;  // outlives the handles below
  const ProvisionOptions& options_;
  WritePolicy policy_;
  Handle ek_;
  bool made_ak_ = false;
  bool made_counter_ = false;
  bool made_index_ = false;
};

Result<void> Provisioner::RefuseExisting(std::uint32_t handle, const char* what) {
  const auto found = OpenHandle(*connection_, handle);
  if (!found && found.error().code == Code::kNotFound) return {};
  if (!found) return tl::unexpected(found.error());
  char hex[16];
  (void)std::snprintf(hex, sizeof hex, "0x%08x", handle);
  return Fail(Code::kDenied, std::string(what) + " already exists at " + hex +
                                 ": this TPM is provisioned; remove it or choose other handles");
}

Result<void> Provisioner::DescribeTpm(ProvisionResult& out) {
  STELE_TRY(const std::uint32_t manufacturer, Property(*connection_, TPM2_PT_MANUFACTURER));
  out.manufacturer = TrimmedText(FourCharacters(manufacturer));
  std::string vendor;
  for (std::uint32_t i = 0; i < 4; ++i) {
    STELE_TRY(const std::uint32_t part, Property(*connection_, TPM2_PT_VENDOR_STRING_1 + i));
    vendor += FourCharacters(part);
  }
  out.vendor = TrimmedText(std::move(vendor));
  STELE_TRY(const std::uint64_t high, Property(*connection_, TPM2_PT_FIRMWARE_VERSION_1));
  STELE_TRY(const std::uint64_t low, Property(*connection_, TPM2_PT_FIRMWARE_VERSION_2));
  out.firmware_version = (high << 32) | low;
  // libtpms says "IBM" and "SW   TPM", the reference simulator "XYZ " or "MSFT" and "xCG fTPM".
  out.software_tpm = out.vendor.rfind("SW", 0) == 0 || out.manufacturer == "IBM" || out.manufacturer == "XYZ" ||
                     out.vendor.find("xCG") != std::string::npos;
  return {};
}

Result<Bytes> Provisioner::ReadEkCertificate() {
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

// swtpm_setup and most firmware leave the EK persisted; otherwise it is made again from its seed: the same key.
Result<void> Provisioner::FindEk(ProvisionResult& out) {
  auto found = OpenHandle(*connection_, options_.handles.ek);
  if (!found && found.error().code != Code::kNotFound) return tl::unexpected(found.error());
  if (found) {
    ek_ = std::move(*found);
  } else {
    const TPM2B_SENSITIVE_CREATE sensitive{};
    const TPM2B_PUBLIC area = EkTemplate();
    const TPM2B_DATA outside{};
    const TPML_PCR_SELECTION pcrs{};
    ESYS_TR primary = ESYS_TR_NONE;
    STELE_TRY_VOID(connection_->Check(
        Esys_CreatePrimary(esys(), ESYS_TR_RH_ENDORSEMENT, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &sensitive,
                           &area, &outside, &pcrs, &primary, nullptr, nullptr, nullptr, nullptr),
        "make the endorsement key"));
    const Handle transient(*connection_, primary, Handle::End::kFlush);
    ESYS_TR persistent = ESYS_TR_NONE;
    STELE_TRY_VOID(connection_->Check(Esys_EvictControl(esys(), ESYS_TR_RH_OWNER, primary, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                                        ESYS_TR_NONE, options_.handles.ek, &persistent),
                                      "keep the endorsement key"));
    ek_ = Handle(*connection_, persistent, Handle::End::kForget);
  }
  STELE_TRY(out.ek_public, PublicOf(*connection_, ek_));
  STELE_TRY(out.ek_certificate_der, ReadEkCertificate());
  if (!out.ek_certificate_der.empty()) {
    STELE_TRY_VOID(CheckEkCertificate(out.ek_certificate_der, out.ek_public));
  }
  return {};
}

// Using the EK as a parent needs its policy: knowledge of the endorsement authorisation, empty before lock-down.
Result<Handle> Provisioner::EkAuthorisation() {
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

Result<void> Provisioner::MakeAk(ProvisionResult& out) {
  const TPM2B_SENSITIVE_CREATE sensitive{};
  const TPM2B_PUBLIC area = AkTemplate();
  const TPM2B_DATA outside{};
  const TPML_PCR_SELECTION pcrs{};
  TPM2B_PRIVATE* raw_private = nullptr;
  TPM2B_PUBLIC* raw_public = nullptr;
  {
    STELE_TRY(const Handle session, EkAuthorisation());
    STELE_TRY_VOID(connection_->Check(
        Esys_Create(esys(), ek_.get(), session.get(), ESYS_TR_NONE, ESYS_TR_NONE, &sensitive, &area, &outside, &pcrs,
                    &raw_private, &raw_public, nullptr, nullptr, nullptr),
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
  ESYS_TR persistent = ESYS_TR_NONE;
  STELE_TRY_VOID(connection_->Check(Esys_EvictControl(esys(), ESYS_TR_RH_OWNER, loaded, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                                      ESYS_TR_NONE, options_.handles.ak, &persistent),
                                    "keep the attestation key"));
  made_ak_ = true;
  const Handle kept(*connection_, persistent, Handle::End::kForget);
  STELE_TRY(out.ak_public, PublicOf(*connection_, kept));
  STELE_TRY(AttestationKey key, ParseAttestationKey(out.ak_public));
  out.ak_public_pem = std::move(key.public_pem);
  return {};
}

Result<Handle> Provisioner::DefineIndex(const TPM2B_NV_PUBLIC& area, bool& made, const char* what) {
  const TPM2B_AUTH empty{};
  ESYS_TR index = ESYS_TR_NONE;
  STELE_TRY_VOID(connection_->Check(Esys_NV_DefineSpace(esys(), ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                                        ESYS_TR_NONE, &empty, &area, &index),
                                    what));
  made = true;
  return Handle(*connection_, index, Handle::End::kForget);
}

// The second branch of the write policy: NvWritten(NO), then the provisioning key's signature over this session's nonce and
// this one command.
Result<Handle> Provisioner::FirstWriteSession(const Handle& index, std::uint32_t code, ByteView parameters) {
  STELE_TRY(const Bytes index_name, NameOf(*connection_, index));
  STELE_TRY(Handle session, StartSession(*connection_, TPM2_SE_POLICY, ek_.get()));
  STELE_TRY_VOID(connection_->Check(
      Esys_PolicyNvWritten(esys(), session.get(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_NO),
      "satisfy the first-write policy"));

  STELE_TRY(const std::string public_pem, PublicPemOf(options_.provisioning_key_pem));
  STELE_TRY(const Bytes area, ExternalPublicArea(public_pem));
  TPM2B_PUBLIC external{};
  std::size_t offset = 0;
  STELE_TRY_VOID(connection_->Check(
      Tss2_MU_TPMT_PUBLIC_Unmarshal(reinterpret_cast<const std::uint8_t*>(area.data()), area.size(), &offset,
                                    &external.publicArea),
      "hand the provisioning key to the TPM"));
  ESYS_TR loaded = ESYS_TR_NONE;
  STELE_TRY_VOID(connection_->Check(Esys_LoadExternal(esys(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, nullptr, &external,
                                                      ESYS_TR_RH_NULL, &loaded),
                                    "hand the provisioning key to the TPM"));
  const Handle key(*connection_, loaded, Handle::End::kFlush);

  TPM2B_NONCE* raw_nonce = nullptr;
  const TSS2_RC nonce_rc = Esys_TRSess_GetNonceTPM(esys(), session.get(), &raw_nonce);
  const EsysPtr<TPM2B_NONCE> nonce(raw_nonce);
  STELE_TRY_VOID(connection_->Check(nonce_rc, "read a session's nonce"));
  // aHash = H(nonceTPM || expiration || cpHashA || policyRef) (Part 3, section 23.3)
  const Hash command = CommandHash(code, index_name, parameters);
  Bytes to_sign = ToBytes(ViewOf(nonce->buffer, nonce->size));
  BigWriter(to_sign).Int(std::uint32_t{0});
  Append(to_sign, command);
  STELE_TRY(const EcSignature signature, SignRaw(options_.provisioning_key_pem, to_sign));
  TPMT_SIGNATURE signed_by_key{};
  signed_by_key.sigAlg = TPM2_ALG_ECDSA;
  TPMS_SIGNATURE_ECDSA& ecdsa = signed_by_key.signature.ecdsa;
  ecdsa.hash = TPM2_ALG_SHA256;
  ecdsa.signatureR.size = kHashBytes;
  ecdsa.signatureS.size = kHashBytes;
  std::memcpy(ecdsa.signatureR.buffer, signature.r.data(), kHashBytes);
  std::memcpy(ecdsa.signatureS.buffer, signature.s.data(), kHashBytes);
  const TPM2B_DIGEST command_hash = DigestOf(command);
  TPM2B_TIMEOUT* timeout = nullptr;
  TPMT_TK_AUTH* ticket = nullptr;
  const TSS2_RC rc =
      Esys_PolicySigned(esys(), key.get(), session.get(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, nonce.get(),
                        &command_hash, nullptr, 0, &signed_by_key, &timeout, &ticket);
  const EsysPtr<TPM2B_TIMEOUT> free_timeout(timeout);
  const EsysPtr<TPMT_TK_AUTH> free_ticket(ticket);
  STELE_TRY_VOID(connection_->Check(rc, "satisfy the first-write policy"));

  TPML_DIGEST branches{};
  branches.count = 2;
  branches.digests[0] = DigestOf(policy_.written);
  branches.digests[1] = DigestOf(policy_.first);
  STELE_TRY_VOID(connection_->Check(
      Esys_PolicyOR(esys(), session.get(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &branches),
      "satisfy the first-write policy"));
  return session;
}

Result<void> Provisioner::MakeCounter() {
  const TPM2B_NV_PUBLIC area = NvTemplate(options_.handles.counter, kCounterAttributes, policy_.policy, 8);
  STELE_TRY(const Handle counter, DefineIndex(area, made_counter_, "make the anchor counter"));
  STELE_TRY(const Handle session, FirstWriteSession(counter, TPM2_CC_NV_Increment, {}));
  return connection_->Check(
      Esys_NV_Increment(esys(), counter.get(), counter.get(), session.get(), ESYS_TR_NONE, ESYS_TR_NONE),
      "start the anchor counter");
}

Result<void> Provisioner::MakeIndex(const Hash& genesis) {
  const TPM2B_NV_PUBLIC area = NvTemplate(options_.handles.index, kIndexAttributes, policy_.policy, kHashBytes);
  STELE_TRY(const Handle index, DefineIndex(area, made_index_, "make the anchor index"));
  Bytes parameters;
  BigWriter(parameters).Sized(genesis);
  STELE_TRY(const Handle session, FirstWriteSession(index, TPM2_CC_NV_Extend, parameters));
  const TPM2B_MAX_NV_BUFFER data = NvData(genesis);
  return connection_->Check(
      Esys_NV_Extend(esys(), index.get(), index.get(), session.get(), ESYS_TR_NONE, ESYS_TR_NONE, &data),
      "start the anchor index");
}

// What was made must be what was meant: Names as computed, values as computed, quote and certificates verified with the code
// an auditor runs (some chips lack NV_Certify: better known now than at the first anchor).
Result<void> VerifyMade(Tpm& device, ProvisionResult& out) {
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
  const Hash challenge = Sha256Of({AsBytes("stele/provision-check/v1"), out.genesis_random});
  const Bytes qualified = QualifiedNameOf(out.identity.ek_name, out.identity.ak_name);
  const Signer signer{out.ak_public_pem, qualified};
  STELE_TRY(const TpmAttestation quote, device.Quote(challenge));
  STELE_TRY_VOID(VerifyQuote(quote, signer, challenge, out.pcr));
  STELE_TRY(const TpmAttestation of_counter, device.CertifyCounter(challenge));
  STELE_TRY(const auto counter, VerifyCounter(of_counter, signer, challenge, counter_name));
  STELE_TRY(const TpmAttestation of_index, device.CertifyIndex(challenge));
  STELE_TRY(const auto index, VerifyIndex(of_index, signer, challenge, index_name));
  if (counter.value != out.counter_start || index.value != out.index_start) {
    return Fail(Code::kTpm, "the TPM certifies other values than it reads");
  }
  return {};
}

// On a device of its own, gone when this returns.
Result<void> VerifyOn(UniqueFd connection, AnchorConfig config, ProvisionResult& out) {
  STELE_TRY(const auto device, AnchorDevice::Open(std::move(connection), std::move(config)));
  return VerifyMade(*device, out);
}

Result<void> Provisioner::ReadBack(ProvisionResult& out) {
  ek_.reset();
  AnchorConfig config = ConfigOf(out);
  config.timeout_ms = options_.timeout_ms;
  UniqueFd connection = connection_->Release();
  UniqueFd again(::fcntl(connection.get(), F_DUPFD_CLOEXEC, 3));  // so that a failure can still be undone
  Result<void> verified = VerifyOn(std::move(connection), std::move(config), out);
  if (verified) return {};
  STELE_TRY(connection_, Connection::Open(std::move(again), options_.timeout_ms));
  return verified;
}

void Provisioner::Undo() {
  ek_.reset();
  if (!connection_->alive()) return;
  const auto evict = [this](std::uint32_t handle) {
    const auto object = OpenHandle(*connection_, handle);
    if (!object) return;
    ESYS_TR gone = ESYS_TR_NONE;
    (void)Esys_EvictControl(esys(), ESYS_TR_RH_OWNER, object->get(), ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, handle,
                            &gone);  // best effort: the caller already has the error that matters
  };
  const auto undefine = [this](std::uint32_t handle) {
    auto index = OpenHandle(*connection_, handle);
    if (!index) return;
    if (Esys_NV_UndefineSpace(esys(), ESYS_TR_RH_OWNER, index->get(), ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE) ==
        TSS2_RC_SUCCESS) {
      index->Forget();
    }
  };
  if (made_ak_) evict(options_.handles.ak);
  if (made_counter_) undefine(options_.handles.counter);
  if (made_index_) undefine(options_.handles.index);
}

Result<ProvisionResult> Provisioner::Run(Entropy& entropy) {
  ProvisionResult out;
  out.pcr = options_.pcr;
  out.handles = options_.handles;
  STELE_TRY(out.provisioning_public_pem, PublicPemOf(options_.provisioning_key_pem));
  STELE_TRY(policy_, WritePolicyOf(out.provisioning_public_pem));
  entropy.Fill(out.genesis_random);
  STELE_TRY_VOID(RefuseExisting(options_.handles.ak, "the attestation key"));
  STELE_TRY_VOID(RefuseExisting(options_.handles.counter, "the anchor counter"));
  STELE_TRY_VOID(RefuseExisting(options_.handles.index, "the anchor index"));
  STELE_TRY_VOID(DescribeTpm(out));
  STELE_TRY_VOID(FindEk(out));
  const auto make = [&]() -> Result<void> {
    STELE_TRY_VOID(MakeAk(out));
    STELE_TRY_VOID(MakeCounter());
    STELE_TRY_VOID(MakeIndex(GenesisDigest(out.genesis_random)));
    return ReadBack(out);
  };
  const Result<void> made = make();
  if (!made) {
    Undo();
    return tl::unexpected(made.error());
  }
  return out;
}

}  // namespace

Hash GenesisDigest(const Hash& random) { return Sha256Of({AsBytes("stele/genesis/v1"), random}); }

Hash GenesisIndexValue(const Hash& random) {
  const Hash zero{};
  return Sha256Of({zero, GenesisDigest(random)});
}

Result<ProvisionResult> Provision(UniqueFd connection, const ProvisionOptions& options, Entropy& entropy) {
  if (!IsAnchorPcr(options.pcr)) return Fail(Code::kInvalid, "the anchor's PCR must be 8, 13 or 14");
  STELE_TRY(auto opened, Connection::Open(std::move(connection), options.timeout_ms));
  Provisioner provisioner(std::move(opened), options);
  return provisioner.Run(entropy);
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
