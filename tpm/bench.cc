#include "tpm/bench.h"

#include <algorithm>
#include <cstring>
#include <functional>

#include "tpm/esys.h"
#include "tpm/names.h"

namespace stele::tpm {
namespace {

constexpr std::uint32_t kScratchCounter = 0x018153f1;
constexpr std::uint32_t kScratchIndex = 0x018153f2;
constexpr std::uint32_t kScratchAttributes = (1U << 1) | (1U << 2) | (1U << 17) | (1U << 18) | (1U << 25);
constexpr int kNvWritesMax = 8;
constexpr std::int64_t kCheckpointIntervalMsMin = 500;
constexpr std::int64_t kAnchorIntervalMsMin = 3'600'000;
constexpr double kMsPerDay = 86'400'000;
constexpr double kOtherAnchorsPerDay = 8;
constexpr double kYears = 10;

TPM2B_PUBLIC ScratchKey() {
  TPM2B_PUBLIC out{};
  TPMT_PUBLIC& area = out.publicArea;
  area.type = TPM2_ALG_ECC;
  area.nameAlg = TPM2_ALG_SHA256;
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

class Measurement {
 public:
  Measurement(Connection& connection, const BenchOptions& options, Clock& clock)
      : connection_(connection), options_(options), clock_(clock) {}

  Result<BenchReport> Run();

 private:
  using Step = std::function<TSS2_RC()>;
  [[nodiscard]] ESYS_CONTEXT* esys() const { return connection_.esys(); }
  // Mean in milliseconds.
  Result<double> Time(const std::string& what, int rounds, const Step& step);
  Result<void> Registers();
  Result<void> Signing();
  Result<void> NvIndices();
  Result<Handle> Define(std::uint32_t handle, std::uint32_t type, std::uint16_t size_bytes);

  Connection& connection_;
  const BenchOptions& options_;
  Clock& clock_;
  BenchReport report_;
  Handle ek_;
  Handle session_;
  Handle key_;
};

Result<double> Measurement::Time(const std::string& what, int rounds, const Step& step) {
  double sum = 0;
  double most = 0;
  for (int i = 0; i < rounds; ++i) {
    const std::int64_t begin = clock_.BoottimeNs();
    STELE_TRY_VOID(connection_.Check(step(), what));
    const double took_ms = static_cast<double>(clock_.BoottimeNs() - begin) / 1e6;
    sum += took_ms;
    most = std::max(most, took_ms);
  }
  report_.timings.push_back({what, rounds, sum / rounds, most});
  return sum / rounds;
}

Result<void> Measurement::Registers() {
  TPML_DIGEST_VALUES values{};
  values.count = 1;
  values.digests[0].hashAlg = TPM2_ALG_SHA256;
  STELE_TRY(const double extend, Time("PCR extend, HMAC session", options_.rounds, [&] {
              return Esys_PCR_Extend(esys(), ESYS_TR_PCR16, session_.get(), ESYS_TR_NONE, ESYS_TR_NONE, &values);
            }));
  TPML_PCR_SELECTION one{};
  one.count = 1;
  one.pcrSelections[0] = {TPM2_ALG_SHA256, 3, {0, 0, 1}};
  STELE_TRY_VOID(
      connection_.Check(Esys_TRSess_SetAttributes(esys(), session_.get(), TPMA_SESSION_AUDIT, TPMA_SESSION_AUDIT),
                        "prepare a TPM session"));
  STELE_TRY(const double read, Time("PCR read, audited", options_.rounds, [&] {
              UINT32 counter = 0;
              TPML_PCR_SELECTION* selection = nullptr;
              TPML_DIGEST* digests = nullptr;
              const TSS2_RC rc = Esys_PCR_Read(esys(), session_.get(), ESYS_TR_NONE, ESYS_TR_NONE, &one, &counter,
                                               &selection, &digests);
              Esys_Free(selection);
              Esys_Free(digests);
              return rc;
            }));
  STELE_TRY(const double clock, Time("clock read, audited", options_.rounds, [&] {
              TPMS_TIME_INFO* info = nullptr;
              const TSS2_RC rc = Esys_ReadClock(esys(), session_.get(), ESYS_TR_NONE, ESYS_TR_NONE, &info);
              Esys_Free(info);
              return rc;
            }));
  STELE_TRY_VOID(connection_.Check(Esys_TRSess_SetAttributes(esys(), session_.get(), 0, TPMA_SESSION_AUDIT),
                                   "prepare a TPM session"));
  (void)Esys_PCR_Reset(esys(), ESYS_TR_PCR16, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE);  // tidiness only
  report_.checkpoint_ms = 2 * clock + extend + read;
  return {};
}

Result<void> Measurement::Signing() {
  const TPM2B_SENSITIVE_CREATE sensitive{};
  const TPM2B_PUBLIC area = ScratchKey();
  const TPM2B_DATA outside{};
  const TPML_PCR_SELECTION none{};
  STELE_TRY_VOID(Time("make a P-256 key", 1, [&] {
    ESYS_TR primary = ESYS_TR_NONE;
    const TSS2_RC rc =
        Esys_CreatePrimary(esys(), ESYS_TR_RH_NULL, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &sensitive, &area,
                           &outside, &none, &primary, nullptr, nullptr, nullptr, nullptr);
    if (rc == TSS2_RC_SUCCESS) key_ = Handle(connection_, primary, Handle::End::kFlush);
    return rc;
  }));
  TPML_PCR_SELECTION selection{};
  selection.count = 1;
  const PcrSelection quoted = QuoteSelection(kDefaultPcr);
  selection.pcrSelections[0] = {TPM2_ALG_SHA256, 3, {quoted[0], quoted[1], quoted[2]}};
  TPMT_SIG_SCHEME scheme{};
  scheme.scheme = TPM2_ALG_NULL;
  const TPM2B_DATA data = QualifyingData(Hash{});
  STELE_TRY(const double quote, Time("quote", options_.rounds, [&] {
              TPM2B_ATTEST* attest = nullptr;
              TPMT_SIGNATURE* signature = nullptr;
              const TSS2_RC rc = Esys_Quote(esys(), key_.get(), ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &data,
                                            &scheme, &selection, &attest, &signature);
              Esys_Free(attest);
              Esys_Free(signature);
              return rc;
            }));
  report_.anchor_ms = report_.checkpoint_ms + 3 * quote;  // a certification signs as a quote does
  return {};
}

Result<Handle> Measurement::Define(std::uint32_t handle, std::uint32_t type, std::uint16_t size_bytes) {
  TPM2B_NV_PUBLIC area{};
  area.nvPublic.nvIndex = handle;
  area.nvPublic.nameAlg = TPM2_ALG_SHA256;
  area.nvPublic.attributes = kScratchAttributes | (type << 4U);
  area.nvPublic.dataSize = size_bytes;
  const TPM2B_AUTH empty{};
  ESYS_TR index = ESYS_TR_NONE;
  STELE_TRY_VOID(connection_.Check(Esys_NV_DefineSpace(esys(), ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                                       ESYS_TR_NONE, &empty, &area, &index),
                                   "make a scratch NV index"));
  return Handle(connection_, index, Handle::End::kForget);
}

// Removed whatever happens in between.
Result<void> Measurement::NvIndices() {
  constexpr std::uint32_t kTypeCounter = 1;
  constexpr std::uint32_t kTypeExtend = 4;
  auto counter = Define(kScratchCounter, kTypeCounter, sizeof(std::uint64_t));
  if (!counter) return {};  // no owner authorisation: the report says that NV was not measured
  auto index = Define(kScratchIndex, kTypeExtend, kHashBytes);
  const auto measure = [&]() -> Result<void> {
    if (!index) return tl::unexpected(index.error());
    const int writes = std::min(options_.rounds, kNvWritesMax);
    const TPM2B_MAX_NV_BUFFER data = NvData(Hash{});
    STELE_TRY(const double extend, Time("NV extend", writes, [&] {
                return Esys_NV_Extend(esys(), index->get(), index->get(), ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE,
                                      &data);
              }));
    STELE_TRY(const double increment, Time("NV increment", writes, [&] {
                return Esys_NV_Increment(esys(), counter->get(), counter->get(), ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                         ESYS_TR_NONE);
              }));
    STELE_TRY(const double read, Time("NV read, HMAC session", options_.rounds, [&] {
                TPM2B_MAX_NV_BUFFER* out = nullptr;
                const TSS2_RC rc = Esys_NV_Read(esys(), index->get(), index->get(), session_.get(), ESYS_TR_NONE,
                                                ESYS_TR_NONE, kHashBytes, 0, &out);
                Esys_Free(out);
                return rc;
              }));
    report_.nv_measured = true;
    report_.nv_writes = 2 * writes;
    report_.anchor_ms += extend + increment + 4 * read;
    return {};
  };
  const Result<void> measured = measure();
  for (Result<Handle>* handle : {&counter, &index}) {
    if (*handle && Esys_NV_UndefineSpace(esys(), ESYS_TR_RH_OWNER, (*handle)->get(), ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                         ESYS_TR_NONE) == TSS2_RC_SUCCESS) {
      (*handle)->Forget();
    }
  }
  return measured;
}

Result<BenchReport> Measurement::Run() {
  STELE_TRY(ek_, OpenHandle(connection_, options_.handles.ek));
  STELE_TRY_VOID(Time("session salted to the EK", std::min(options_.rounds, 5), [&] {
    auto session = StartSession(connection_, TPM2_SE_HMAC, ek_.get());
    return session ? TSS2_RC_SUCCESS : TSS2_RC{session.error().detail};
  }));
  STELE_TRY(session_, StartSession(connection_, TPM2_SE_HMAC, ek_.get()));
  if (options_.owner_auth) {
    TPM2B_AUTH auth{};
    auth.size = kHashBytes;
    std::memcpy(auth.buffer, options_.owner_auth->data(), kHashBytes);
    STELE_TRY_VOID(connection_.Check(Esys_TR_SetAuth(esys(), ESYS_TR_RH_OWNER, &auth), "use the owner authorisation"));
  }
  STELE_TRY_VOID(Registers());
  STELE_TRY_VOID(Signing());
  STELE_TRY_VOID(NvIndices());
  return std::move(report_);
}

}  // namespace

Result<BenchReport> Bench(UniqueFd connection, const BenchOptions& options, Clock& clock) {
  if (options.rounds < 1) return Fail(Code::kInvalid, "at least one round");
  STELE_TRY(const auto opened, Connection::Open(std::move(connection), options.timeout_ms));
  return Measurement(*opened, options, clock).Run();
}

Cadence ProposeCadence(const BenchReport& report, std::uint64_t nv_budget) {
  const auto at_least = [](std::int64_t least, double wanted) {
    return std::max(least, static_cast<std::int64_t>(wanted));
  };
  Cadence out;
  out.checkpoint_interval_ms = at_least(kCheckpointIntervalMsMin, 4 * report.checkpoint_ms);
  const double per_day = static_cast<double>(nv_budget) / (kYears * 365.25);
  const double regular = std::max(1.0, per_day - kOtherAnchorsPerDay);
  out.anchor_interval_ms = at_least(kAnchorIntervalMsMin, std::max(10 * report.anchor_ms, kMsPerDay / regular));
  out.anchors_per_day = kMsPerDay / static_cast<double>(out.anchor_interval_ms);
  out.years = static_cast<double>(nv_budget) / ((out.anchors_per_day + kOtherAnchorsPerDay) * 365.25);
  return out;
}

}  // namespace stele::tpm
