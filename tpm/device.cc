#include "tpm/device.h"

#include <tss2/tss2_mu.h>

#include <cstring>
#include <optional>

#include "tpm/attest.h"
#include "tpm/big_endian.h"
#include "tpm/esys.h"
#include "tpm/examine.h"
#include "tpm/names.h"

namespace stele::tpm {
namespace {

constexpr int kAuditAttempts = 5;  // another user of the TPM may come between the read and the digest
constexpr int kQuoteAttempts = 3;  // a register may change between the quote and the read of its values

TPML_PCR_SELECTION SelectionOf(const PcrSelection& registers) {
  TPML_PCR_SELECTION out{};
  out.count = 1;
  out.pcrSelections[0].hash = TPM2_ALG_SHA256;
  out.pcrSelections[0].sizeofSelect = static_cast<std::uint8_t>(registers.size());
  std::memcpy(out.pcrSelections[0].pcrSelect, registers.data(), registers.size());
  return out;
}

Result<Bytes> ReadKeyName(Connection& connection, const Handle& key) {
  TPM2B_PUBLIC* raw_public = nullptr;
  TPM2B_NAME* raw_name = nullptr;
  TPM2B_NAME* raw_qualified = nullptr;
  const TSS2_RC rc = Esys_ReadPublic(connection.esys(), key.get(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &raw_public,
                                     &raw_name, &raw_qualified);
  const EsysPtr<TPM2B_PUBLIC> area(raw_public);
  const EsysPtr<TPM2B_NAME> name(raw_name);
  const EsysPtr<TPM2B_NAME> qualified(raw_qualified);
  STELE_TRY_VOID(connection.Check(rc, "read a key's Name"));
  return ToBytes(ViewOf(name->name, name->size));
}

Result<TpmAttestation> AttestationOf(Connection& connection, TSS2_RC rc, TPM2B_ATTEST* raw_attest,
                                     TPMT_SIGNATURE* raw_signature, std::string_view what) {
  const EsysPtr<TPM2B_ATTEST> attest(raw_attest);
  const EsysPtr<TPMT_SIGNATURE> signature(raw_signature);
  STELE_TRY_VOID(connection.Check(rc, what));
  std::array<std::uint8_t, sizeof(TPMT_SIGNATURE)> marshalled{};
  std::size_t size = 0;
  STELE_TRY_VOID(connection.Check(
      Tss2_MU_TPMT_SIGNATURE_Marshal(signature.get(), marshalled.data(), marshalled.size(), &size), what));
  TpmAttestation out;
  out.attest = ToBytes(ViewOf(attest->attestationData, attest->size));
  out.signature = ToBytes(ViewOf(marshalled.data(), size));
  return out;
}

}  // namespace

class AnchorDevice::Impl {
 public:
  Impl(std::unique_ptr<Connection> connection, AnchorConfig config)
      : connection_(std::move(connection)), config_(std::move(config)) {}

  Result<void> Start();
  Result<TpmIdentity> Identity();
  Result<TpmClock> ReadClock();
  Result<std::vector<Hash>> ReadRegisters(const PcrSelection& registers);
  Result<void> ExtendPcr(const Hash& digest);
  Result<Bytes> ReadNv(std::uint32_t handle, std::uint16_t size_bytes);
  Result<void> IncrementCounter();
  Result<void> ExtendIndex(const Hash& digest);
  Result<TpmAttestation> Quote(const Hash& qualifying_data);
  Result<TpmAttestation> Certify(std::uint32_t handle, std::uint16_t size_bytes, const Hash& qualifying_data);
  Result<TpmAttestation> AuditedRead(std::uint32_t handle, std::uint16_t size_bytes, const Hash& qualifying_data);

  // After any refusal nothing is assumed about the sessions or about what lies behind a handle: they are made anew.
  template <typename T>
  [[nodiscard]] Result<T> Done(Result<T> result) {
    if (!result) Forget();
    return result;
  }

  [[nodiscard]] const AnchorConfig& config() const { return config_; }
  [[nodiscard]] bool alive() const { return connection_->alive(); }

 private:
  void Forget();
  [[nodiscard]] bool EkIsOurs() const;
  Result<void> RequireOurEk() const;
  // The salted HMAC session with these attributes set; for reads from a TPM that is not ours: `otherwise`.
  Result<ESYS_TR> HmacSession(TPMA_SESSION attributes);
  Result<ESYS_TR> ReadSession(TPMA_SESSION attributes, ESYS_TR otherwise);
  Result<ESYS_TR> WritePolicySession();
  Result<ESYS_TR> Index(std::uint32_t handle);
  Result<ESYS_TR> IndexForWriting(std::uint32_t handle, const Bytes& pinned_name);
  Result<ESYS_TR> AttestationKey();
  [[nodiscard]] Handle& IndexSlot(std::uint32_t handle) { return handle == config_.handles.counter ? counter_ : index_; }

  std::unique_ptr<Connection> connection_;  // outlives the handles below
  AnchorConfig config_;
  std::optional<WritePolicy> policy_;
  bool nv_certify_ = true;
  Bytes ek_name_;
  Handle ek_;
  Handle ak_;
  Handle counter_;
  Handle index_;
  Handle hmac_session_;
  Handle policy_session_;
};

Result<void> AnchorDevice::Impl::Start() {
  if (!IsAnchorPcr(config_.pcr)) {
    return Fail(Code::kInvalid, "the anchor's PCR must be 8, 13 or 14: others can be reset or belong to others");
  }
  if (!config_.provisioning_public_pem.empty()) {
    STELE_TRY(policy_, WritePolicyOf(config_.provisioning_public_pem));
  }
  STELE_TRY_VOID(CheckBank(*connection_, config_.pcr));
  STELE_TRY(nv_certify_, HasCommand(*connection_, TPM2_CC_NV_Certify));
  auto ek = OpenHandle(*connection_, config_.handles.ek);
  if (!ek && ek.error().code != Code::kNotFound) return tl::unexpected(ek.error());
  if (ek) {
    ek_ = std::move(*ek);
    STELE_TRY(ek_name_, NameOf(*connection_, ek_));
  }
  return {};
}

void AnchorDevice::Impl::Forget() {
  hmac_session_.reset();
  policy_session_.reset();
  ak_.reset();
  counter_.reset();
  index_.reset();
}

bool AnchorDevice::Impl::EkIsOurs() const {
  return ek_.valid() && (config_.pinned.ek_name.empty() || SameBytes(config_.pinned.ek_name, ek_name_));
}

Result<void> AnchorDevice::Impl::RequireOurEk() const {
  if (!EkIsOurs()) return Fail(Code::kDenied, "the TPM's endorsement key is not the pinned one");
  return {};
}

Result<ESYS_TR> AnchorDevice::Impl::HmacSession(TPMA_SESSION attributes) {
  STELE_TRY_VOID(RequireOurEk());
  if (!hmac_session_.valid()) {
    STELE_TRY(hmac_session_, StartSession(*connection_, TPM2_SE_HMAC, ek_.get()));
  }
  STELE_TRY_VOID(connection_->Check(Esys_TRSess_SetAttributes(connection_->esys(), hmac_session_.get(), attributes,
                                                              TPMA_SESSION_AUDIT | TPMA_SESSION_CONTINUESESSION),
                                    "prepare a TPM session"));
  return hmac_session_.get();
}

Result<ESYS_TR> AnchorDevice::Impl::ReadSession(TPMA_SESSION attributes, ESYS_TR otherwise) {
  if (!EkIsOurs()) return otherwise;
  return HmacSession(attributes | TPMA_SESSION_CONTINUESESSION);
}

// The first branch of the write policy, in a session salted like the other: its HMAC covers command and answer.
Result<ESYS_TR> AnchorDevice::Impl::WritePolicySession() {
  STELE_TRY_VOID(RequireOurEk());
  if (!policy_) return Fail(Code::kInvalid, "the configuration names no provisioning key");
  ESYS_CONTEXT* esys = connection_->esys();
  if (!policy_session_.valid()) {
    STELE_TRY(policy_session_, StartSession(*connection_, TPM2_SE_POLICY, ek_.get()));
  } else {
    STELE_TRY_VOID(connection_->Check(
        Esys_PolicyRestart(esys, policy_session_.get(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE), "restart a policy"));
  }
  STELE_TRY_VOID(connection_->Check(
      Esys_PolicyNvWritten(esys, policy_session_.get(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_YES),
      "satisfy the write policy"));
  TPML_DIGEST branches{};
  branches.count = 2;
  branches.digests[0] = DigestOf(policy_->written);
  branches.digests[1] = DigestOf(policy_->first);
  STELE_TRY_VOID(connection_->Check(
      Esys_PolicyOR(esys, policy_session_.get(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &branches),
      "satisfy the write policy"));
  return policy_session_.get();
}

Result<ESYS_TR> AnchorDevice::Impl::Index(std::uint32_t handle) {
  Handle& slot = IndexSlot(handle);
  if (!slot.valid()) {
    STELE_TRY(slot, OpenHandle(*connection_, handle));
  }
  return slot.get();
}

Result<ESYS_TR> AnchorDevice::Impl::IndexForWriting(std::uint32_t handle, const Bytes& pinned_name) {
  STELE_TRY(const ESYS_TR index, Index(handle));
  STELE_TRY(const Bytes name, NameOf(*connection_, IndexSlot(handle)));
  if (!pinned_name.empty() && !SameBytes(name, pinned_name)) {
    return Fail(Code::kDenied, "the NV index is not the pinned one");
  }
  return index;
}

Result<ESYS_TR> AnchorDevice::Impl::AttestationKey() {
  if (!ak_.valid()) {
    STELE_TRY(ak_, OpenHandle(*connection_, config_.handles.ak));
  }
  return ak_.get();
}

// Reads everything anew. (ESAPI gives one handle of its own per TPM handle: the remembered ones are dropped, never opened
// twice.) What is not there stays empty.
Result<TpmIdentity> AnchorDevice::Impl::Identity() {
  ak_.reset();
  counter_.reset();
  index_.reset();
  TpmIdentity out;
  const auto tolerate = [](const Error& error) { return error.code == Code::kNotFound; };
  if (ek_.valid()) {
    auto name = ReadKeyName(*connection_, ek_);
    if (!name && !tolerate(name.error())) return tl::unexpected(name.error());
    if (name) out.ek_name = std::move(*name);
  }
  const auto ak = AttestationKey();
  if (!ak && !tolerate(ak.error())) return tl::unexpected(ak.error());
  if (ak) {
    STELE_TRY(out.ak_name, NameOf(*connection_, ak_));
  }
  for (const bool is_counter : {true, false}) {
    const std::uint32_t handle = is_counter ? config_.handles.counter : config_.handles.index;
    const auto opened = Index(handle);
    if (!opened && !tolerate(opened.error())) return tl::unexpected(opened.error());
    if (!opened) continue;
    STELE_TRY(IndexPublic area, ReadIndexPublic(*connection_, IndexSlot(handle)));
    if ((area.attributes & kNvWritten) != 0) (is_counter ? out.counter_name : out.index_name) = std::move(area.name);
  }
  return out;
}

Result<TpmClock> AnchorDevice::Impl::ReadClock() {
  STELE_TRY(const ESYS_TR session, ReadSession(TPMA_SESSION_AUDIT, ESYS_TR_NONE));
  TPMS_TIME_INFO* raw = nullptr;
  const TSS2_RC rc = Esys_ReadClock(connection_->esys(), session, ESYS_TR_NONE, ESYS_TR_NONE, &raw);
  const EsysPtr<TPMS_TIME_INFO> info(raw);
  STELE_TRY_VOID(connection_->Check(rc, "read the TPM's clock"));
  const TPMS_CLOCK_INFO& clock = info->clockInfo;
  return TpmClock{clock.clock, clock.resetCount, clock.restartCount, clock.safe == TPM2_YES};
}

// TPM2_PCR_Read gives at most eight values a time and says which.
Result<std::vector<Hash>> AnchorDevice::Impl::ReadRegisters(const PcrSelection& registers) {
  PcrSelection left = registers;
  std::vector<Hash> values;
  while (left != PcrSelection{}) {
    STELE_TRY(const ESYS_TR session, ReadSession(TPMA_SESSION_AUDIT, ESYS_TR_NONE));
    const TPML_PCR_SELECTION wanted = SelectionOf(left);
    UINT32 update_counter = 0;
    TPML_PCR_SELECTION* raw_read = nullptr;
    TPML_DIGEST* raw_values = nullptr;
    const TSS2_RC rc = Esys_PCR_Read(connection_->esys(), session, ESYS_TR_NONE, ESYS_TR_NONE, &wanted, &update_counter,
                                     &raw_read, &raw_values);
    const EsysPtr<TPML_PCR_SELECTION> read(raw_read);
    const EsysPtr<TPML_DIGEST> digests(raw_values);
    STELE_TRY_VOID(connection_->Check(rc, "read PCRs"));
    PcrSelection got{};
    if (read->count == 1 && read->pcrSelections[0].sizeofSelect == got.size()) {
      std::memcpy(got.data(), read->pcrSelections[0].pcrSelect, got.size());
    }
    const std::size_t got_count = RegistersOf(got).size();
    if (got_count == 0 || got_count != digests->count) return Fail(Code::kTpm, "read PCRs: the TPM left some out");
    for (std::size_t octet = 0; octet < left.size(); ++octet) {
      if ((got[octet] & ~left[octet]) != 0) return Fail(Code::kTpm, "read PCRs: the TPM read others than asked for");
      left[octet] = static_cast<std::uint8_t>(left[octet] & ~got[octet]);
    }
    for (std::uint32_t i = 0; i < digests->count; ++i) {
      if (digests->digests[i].size != kHashBytes) return Fail(Code::kTpm, "read PCRs: not a SHA-256 value");
      Hash value;
      std::memcpy(value.data(), digests->digests[i].buffer, kHashBytes);
      values.push_back(value);
    }
  }
  return values;
}

Result<void> AnchorDevice::Impl::ExtendPcr(const Hash& digest) {
  STELE_TRY(const ESYS_TR session, HmacSession(TPMA_SESSION_CONTINUESESSION));
  TPML_DIGEST_VALUES values{};
  values.count = 1;
  values.digests[0].hashAlg = TPM2_ALG_SHA256;
  std::memcpy(values.digests[0].digest.sha256, digest.data(), digest.size());
  return connection_->Check(
      Esys_PCR_Extend(connection_->esys(), ESYS_TR_PCR0 + config_.pcr, session, ESYS_TR_NONE, ESYS_TR_NONE, &values),
      "extend the anchor's PCR");
}

Result<Bytes> AnchorDevice::Impl::ReadNv(std::uint32_t handle, std::uint16_t size_bytes) {
  STELE_TRY(const ESYS_TR index, Index(handle));
  STELE_TRY(const ESYS_TR session, ReadSession(0, ESYS_TR_PASSWORD));
  TPM2B_MAX_NV_BUFFER* raw = nullptr;
  const TSS2_RC rc =
      Esys_NV_Read(connection_->esys(), index, index, session, ESYS_TR_NONE, ESYS_TR_NONE, size_bytes, 0, &raw);
  const EsysPtr<TPM2B_MAX_NV_BUFFER> data(raw);
  STELE_TRY_VOID(connection_->Check(rc, "read an NV index"));
  if (data->size != size_bytes) return Fail(Code::kTpm, "read an NV index: the TPM gave another size");
  return ToBytes(ViewOf(data->buffer, data->size));
}

Result<void> AnchorDevice::Impl::IncrementCounter() {
  STELE_TRY_VOID(RequireOurEk());
  STELE_TRY(const ESYS_TR counter, IndexForWriting(config_.handles.counter, config_.pinned.counter_name));
  STELE_TRY(const ESYS_TR session, WritePolicySession());
  return connection_->Check(
      Esys_NV_Increment(connection_->esys(), counter, counter, session, ESYS_TR_NONE, ESYS_TR_NONE),
      "increment the anchor counter");
}

Result<void> AnchorDevice::Impl::ExtendIndex(const Hash& digest) {
  STELE_TRY_VOID(RequireOurEk());
  STELE_TRY(const ESYS_TR index, IndexForWriting(config_.handles.index, config_.pinned.index_name));
  STELE_TRY(const ESYS_TR session, WritePolicySession());
  const TPM2B_MAX_NV_BUFFER data = NvData(digest);
  return connection_->Check(
      Esys_NV_Extend(connection_->esys(), index, index, session, ESYS_TR_NONE, ESYS_TR_NONE, &data),
      "extend the anchor index");
}

Result<TpmAttestation> AnchorDevice::Impl::Quote(const Hash& qualifying_data) {
  STELE_TRY(const ESYS_TR ak, AttestationKey());
  const PcrSelection registers = QuoteSelection(config_.pcr);
  const TPML_PCR_SELECTION selection = SelectionOf(registers);
  const TPM2B_DATA data = QualifyingData(qualifying_data);
  TPMT_SIG_SCHEME scheme{};
  scheme.scheme = TPM2_ALG_NULL;  // the key's own
  for (int attempt = 0; attempt < kQuoteAttempts; ++attempt) {
    TPM2B_ATTEST* attest = nullptr;
    TPMT_SIGNATURE* signature = nullptr;
    const TSS2_RC rc = Esys_Quote(connection_->esys(), ak, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &data, &scheme,
                                  &selection, &attest, &signature);
    STELE_TRY(TpmAttestation quote, AttestationOf(*connection_, rc, attest, signature, "quote"));
    STELE_TRY(quote.pcr_values, ReadRegisters(registers));
    STELE_TRY(const Attested attested, ParseAttest(quote.attest));
    if (VerifyQuotedValues(attested, quote.pcr_values, config_.pcr)) return quote;
  }
  return Fail(Code::kUnavailable, "quote: somebody keeps extending the quoted registers");
}

Result<TpmAttestation> AnchorDevice::Impl::Certify(std::uint32_t handle, std::uint16_t size_bytes,
                                                   const Hash& qualifying_data) {
  if (!nv_certify_) return AuditedRead(handle, size_bytes, qualifying_data);
  STELE_TRY(const ESYS_TR ak, AttestationKey());
  STELE_TRY(const ESYS_TR index, Index(handle));
  const TPM2B_DATA data = QualifyingData(qualifying_data);
  TPMT_SIG_SCHEME scheme{};
  scheme.scheme = TPM2_ALG_NULL;
  TPM2B_ATTEST* attest = nullptr;
  TPMT_SIGNATURE* signature = nullptr;
  const TSS2_RC rc = Esys_NV_Certify(connection_->esys(), ak, index, index, ESYS_TR_PASSWORD, ESYS_TR_PASSWORD,
                                     ESYS_TR_NONE, &data, &scheme, size_bytes, 0, &attest, &signature);
  return AttestationOf(*connection_, rc, attest, signature, "certify an NV index");
}

// The policy session is ready before the read: any command between the read and the digest, and the session is no
// longer exclusive, which the verifier refuses. The device's other sessions give way: chips hold three.
Result<TpmAttestation> AnchorDevice::Impl::AuditedRead(std::uint32_t handle, std::uint16_t size_bytes,
                                                       const Hash& qualifying_data) {
  STELE_TRY(const ESYS_TR ak, AttestationKey());
  STELE_TRY(const ESYS_TR index, Index(handle));
  STELE_TRY(const Bytes name, NameOf(*connection_, IndexSlot(handle)));
  hmac_session_.reset();
  policy_session_.reset();
  ESYS_CONTEXT* esys = connection_->esys();
  const TPM2B_DATA data = QualifyingData(qualifying_data);
  TPMT_SIG_SCHEME scheme{};
  scheme.scheme = TPM2_ALG_NULL;
  for (int attempt = 0; attempt < kAuditAttempts; ++attempt) {
    STELE_TRY(const Handle allowed, StartSession(*connection_, TPM2_SE_POLICY, ESYS_TR_NONE));
    STELE_TRY_VOID(connection_->Check(Esys_PolicyCommandCode(esys, allowed.get(), ESYS_TR_NONE, ESYS_TR_NONE,
                                                             ESYS_TR_NONE, TPM2_CC_GetSessionAuditDigest),
                                      "satisfy the policy of audited reads"));
    STELE_TRY(const Handle audit, StartSession(*connection_, TPM2_SE_HMAC, ESYS_TR_NONE));
    STELE_TRY_VOID(connection_->Check(
        Esys_TRSess_SetAttributes(esys, audit.get(), TPMA_SESSION_AUDIT | TPMA_SESSION_CONTINUESESSION,
                                  TPMA_SESSION_AUDIT | TPMA_SESSION_CONTINUESESSION),
        "prepare a TPM session"));
    TPM2B_MAX_NV_BUFFER* raw = nullptr;
    const TSS2_RC read_rc =
        Esys_NV_Read(esys, index, index, ESYS_TR_PASSWORD, audit.get(), ESYS_TR_NONE, size_bytes, 0, &raw);
    const EsysPtr<TPM2B_MAX_NV_BUFFER> contents(raw);
    STELE_TRY_VOID(connection_->Check(read_rc, "read an NV index, audited"));
    TPM2B_ATTEST* attest = nullptr;
    TPMT_SIGNATURE* signature = nullptr;
    const TSS2_RC rc = Esys_GetSessionAuditDigest(esys, ESYS_TR_RH_ENDORSEMENT, ak, audit.get(), allowed.get(),
                                                  ESYS_TR_PASSWORD, ESYS_TR_NONE, &data, &scheme, &attest, &signature);
    STELE_TRY(TpmAttestation out, AttestationOf(*connection_, rc, attest, signature, "attest an audited read"));
    out.contents = ToBytes(ViewOf(contents->buffer, contents->size));
    STELE_TRY(const Attested attested, ParseAttest(out.attest));
    if (attested.session_digest != AuditedReadDigest(name, out.contents)) {
      return Fail(Code::kTpm, "attest an audited read: the TPM attests another session");
    }
    if (attested.exclusive) return out;
  }
  return Fail(Code::kUnavailable, "attest an audited read: somebody keeps using the TPM meanwhile");
}

AnchorDevice::AnchorDevice(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
AnchorDevice::~AnchorDevice() = default;

Result<std::unique_ptr<AnchorDevice>> AnchorDevice::Open(UniqueFd connection, AnchorConfig config) {
  STELE_TRY(auto opened, Connection::Open(std::move(connection), config.timeout_ms));
  auto impl = std::make_unique<Impl>(std::move(opened), std::move(config));
  STELE_TRY_VOID(impl->Start());
  return std::unique_ptr<AnchorDevice>(new AnchorDevice(std::move(impl)));  // NOLINT: private constructor
}

bool AnchorDevice::alive() const { return impl_->alive(); }

Result<TpmIdentity> AnchorDevice::Identity() { return impl_->Done(impl_->Identity()); }
Result<TpmClock> AnchorDevice::ReadClock() { return impl_->Done(impl_->ReadClock()); }
Result<void> AnchorDevice::ExtendPcr(const Hash& digest) { return impl_->Done(impl_->ExtendPcr(digest)); }
Result<void> AnchorDevice::IncrementCounter() { return impl_->Done(impl_->IncrementCounter()); }
Result<void> AnchorDevice::ExtendIndex(const Hash& digest) { return impl_->Done(impl_->ExtendIndex(digest)); }

Result<Hash> AnchorDevice::ReadPcr() {
  PcrSelection one{};
  const std::uint32_t pcr = impl_->config().pcr;
  one[pcr / 8] = static_cast<std::uint8_t>(1U << (pcr % 8));
  STELE_TRY(const auto values, impl_->Done(impl_->ReadRegisters(one)));
  return values.front();
}

Result<std::uint64_t> AnchorDevice::ReadCounter() {
  STELE_TRY(const Bytes raw, impl_->Done(impl_->ReadNv(impl_->config().handles.counter, sizeof(std::uint64_t))));
  return BigReader(raw).Int<std::uint64_t>();
}

Result<Hash> AnchorDevice::ReadIndex() {
  STELE_TRY(const Bytes raw, impl_->Done(impl_->ReadNv(impl_->config().handles.index, kHashBytes)));
  Hash value;
  std::memcpy(value.data(), raw.data(), value.size());
  return value;
}

Result<TpmAttestation> AnchorDevice::Quote(const Hash& qualifying_data) {
  return impl_->Done(impl_->Quote(qualifying_data));
}

Result<TpmAttestation> AnchorDevice::CertifyCounter(const Hash& qualifying_data) {
  return impl_->Done(impl_->Certify(impl_->config().handles.counter, sizeof(std::uint64_t), qualifying_data));
}

Result<TpmAttestation> AnchorDevice::CertifyIndex(const Hash& qualifying_data) {
  return impl_->Done(impl_->Certify(impl_->config().handles.index, kHashBytes, qualifying_data));
}

}  // namespace stele::tpm
