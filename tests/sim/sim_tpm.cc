#include "tests/sim/sim_tpm.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/obj_mac.h>

#include <memory>

#include "appliance/base/hash.h"
#include "tpm/attest.h"
#include "tpm/names.h"
#include "tpm/signing.h"

namespace stele::sim {
namespace {

struct FreeBn {
  void operator()(BIGNUM* number) const { BN_clear_free(number); }
  void operator()(BN_CTX* context) const { BN_CTX_free(context); }
  void operator()(EC_GROUP* group) const { EC_GROUP_free(group); }
  void operator()(EC_POINT* point) const { EC_POINT_free(point); }
};
template <typename T>
using Owned = std::unique_ptr<T, FreeBn>;

Hash Derive(std::uint64_t seed, std::string_view label, ByteView more = {}) {
  Bytes raw;
  Writer(raw).Int(seed);
  return Sha256Of({AsBytes("stele/sim-tpm/"), AsBytes(label), raw, more});
}

Owned<BIGNUM> NumberOf(const Hash& bytes) {
  return Owned<BIGNUM>(
      BN_bin2bn(reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()), nullptr));
}

Hash BytesOf(const BIGNUM* number) {
  Hash out{};
  STELE_CHECK(BN_bn2binpad(number, reinterpret_cast<unsigned char*>(out.data()), static_cast<int>(out.size())) ==
              static_cast<int>(out.size()));
  return out;
}

// k * G on P-256.
tpm::EcPoint MultiplyBase(const Hash& scalar) {
  const Owned<EC_GROUP> group(EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1));
  const Owned<EC_POINT> point(EC_POINT_new(group.get()));
  const Owned<BIGNUM> k = NumberOf(scalar);
  const Owned<BIGNUM> x(BN_new());
  const Owned<BIGNUM> y(BN_new());
  STELE_CHECK(EC_POINT_mul(group.get(), point.get(), k.get(), nullptr, nullptr, nullptr) == 1);
  STELE_CHECK(EC_POINT_get_affine_coordinates(group.get(), point.get(), x.get(), y.get(), nullptr) == 1);
  return {BytesOf(x.get()), BytesOf(y.get())};
}

// ECDSA with a nonce derived from key and message: the same message has the same signature for ever.
tpm::EcSignature SignDeterministically(const Hash& private_key, ByteView message) {
  const Owned<EC_GROUP> group(EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1));
  const Owned<BN_CTX> context(BN_CTX_new());
  const BIGNUM* order = EC_GROUP_get0_order(group.get());
  const Hash nonce = HmacSha256(private_key, {message});
  const Owned<BIGNUM> k = NumberOf(nonce);
  const Owned<BIGNUM> d = NumberOf(private_key);
  const Owned<BIGNUM> z = NumberOf(Sha256Of(message));
  const Owned<BIGNUM> r = NumberOf(MultiplyBase(nonce).x);
  const Owned<BIGNUM> s(BN_new());
  STELE_CHECK(BN_nnmod(r.get(), r.get(), order, context.get()) == 1);
  STELE_CHECK(BN_mod_mul(s.get(), r.get(), d.get(), order, context.get()) == 1);
  STELE_CHECK(BN_mod_add(s.get(), s.get(), z.get(), order, context.get()) == 1);
  const Owned<BIGNUM> inverse(BN_mod_inverse(nullptr, k.get(), order, context.get()));
  STELE_CHECK(BN_mod_mul(s.get(), s.get(), inverse.get(), order, context.get()) == 1);
  return {BytesOf(r.get()), BytesOf(s.get())};
}

Bytes TpmtSignature(const tpm::EcSignature& signature) {
  Bytes out;
  const auto put16 = [&out](std::uint16_t value) {
    out.push_back(static_cast<std::byte>(value >> 8U));
    out.push_back(static_cast<std::byte>(value & 0xffU));
  };
  put16(0x0018);  // TPM_ALG_ECDSA
  put16(0x000b);  // SHA-256
  put16(kHashBytes);
  Append(out, signature.r);
  put16(kHashBytes);
  Append(out, signature.s);
  return out;
}

Bytes Name(const Hash& digest) {
  Bytes name = {std::byte{0x00}, std::byte{0x0b}};
  Append(name, digest);
  return name;
}

Bytes BigEndian(std::uint64_t value) {
  Bytes out;
  for (int shift = 56; shift >= 0; shift -= 8)
    out.push_back(static_cast<std::byte>((value >> static_cast<unsigned>(shift)) & 0xffU));
  return out;
}

}  // namespace

SimTpm::SimTpm(std::uint64_t seed) : seed_(seed), ak_private_(Derive(seed, "ak")) {
  ak_private_[0] &= std::byte{0x7f};  // below the group's order
  const auto pem = tpm::PemOf(MultiplyBase(ak_private_));
  STELE_CHECK(pem.has_value());
  ak_public_pem_ = *pem;
  provisioned_ = {Name(Derive(seed, "ek-name")), Name(Derive(seed, "ak-name")), Name(Derive(seed, "counter-name")),
                  Name(Derive(seed, "index-name"))};
  index_start_ = Derive(seed, "index-start");
  state_.identity = provisioned_;
  state_.clock = {1'000, 1, 0, true};
  state_.counter = kCounterStart;
  state_.index = index_start_;
}

void SimTpm::FailAt(std::size_t calls, TpmFault fault) {
  if (faults_.size() <= calls) faults_.resize(calls + 1, TpmFault::kNone);
  faults_[calls] = fault;
}

void SimTpm::Reboot() {
  state_.pcr = {};
  ++state_.clock.reset_count;
  state_.clock.restart_count = 0;
}

void SimTpm::Restart() {
  state_.pcr = {};
  ++state_.clock.restart_count;
}

void SimTpm::Resume() { ++state_.clock.restart_count; }

void SimTpm::ForeignExtendPcr(const Hash& digest) { state_.pcr = Sha256Of({state_.pcr, digest}); }
void SimTpm::ForeignExtendIndex(const Hash& digest) { state_.index = Sha256Of({state_.index, digest}); }

void SimTpm::RedefineCounter() {
  state_.identity.counter_name.clear();
  state_.registers_usable = false;
}

void SimTpm::RedefineIndex() {
  state_.identity.index_name.clear();
  state_.registers_usable = false;
}

void SimTpm::Clear() {
  state_.identity.ek_name.clear();
  state_.identity.ak_name.clear();
}

void SimTpm::Replace() {
  state_.identity.ek_name = Name(Derive(seed_, "another ek-name"));
  state_.identity.ak_name.clear();
  state_.registers_usable = false;
}

TpmFault SimTpm::NextFault() {
  ++calls_;
  if (faults_.empty()) return TpmFault::kNone;
  const TpmFault fault = faults_.front();
  faults_.pop_front();
  return fault;
}

template <typename T, typename Run>
Result<T> SimTpm::Call(bool permanent_cell, Run run) {
  const TpmFault fault = NextFault();
  if (gone_ || fault == TpmFault::kLostCall) return Fail(Code::kIo, "simulated: connection lost before the command");
  if (fault == TpmFault::kBusy) return Fail(Code::kUnavailable, "simulated: TPM_RC_RETRY", 0x922);
  if (permanent_cell && !state_.registers_usable) return Fail(Code::kNotFound, "simulated: no such index");
  Result<T> result = run();
  if (fault == TpmFault::kLostReply) return Fail(Code::kIo, "simulated: connection lost after the command");
  return result;
}

template <typename Run>
Result<void> SimTpm::Write(bool permanent_cell, Run run) {
  const TpmFault fault = NextFault();
  if (gone_ || fault == TpmFault::kLostCall) return Fail(Code::kIo, "simulated: connection lost before the command");
  if (permanent_cell && nv_busy_) return Fail(Code::kUnavailable, "simulated: TPM_RC_NV_RATE", 0x920);
  if (fault == TpmFault::kBusy) return Fail(Code::kUnavailable, "simulated: TPM_RC_RETRY", 0x922);
  if (permanent_cell && !state_.registers_usable) return Fail(Code::kNotFound, "simulated: no such index");
  if (fault == TpmFault::kDropped) return {};
  run();
  if (fault == TpmFault::kLostReply) return Fail(Code::kIo, "simulated: connection lost after the command");
  return {};
}

Result<TpmIdentity> SimTpm::Identity() {
  return Call<TpmIdentity>(false, [this] { return Result<TpmIdentity>(state_.identity); });
}
Result<TpmClock> SimTpm::ReadClock() {
  state_.clock.clock_ms += 1;
  return Call<TpmClock>(false, [this] { return Result<TpmClock>(state_.clock); });
}
Result<Hash> SimTpm::ReadPcr() {
  return Call<Hash>(false, [this] { return Result<Hash>(state_.pcr); });
}
Result<void> SimTpm::ExtendPcr(const Hash& digest) {
  return Write(false, [&] { ForeignExtendPcr(digest); });
}
Result<std::uint64_t> SimTpm::ReadCounter() {
  return Call<std::uint64_t>(true, [this] { return Result<std::uint64_t>(state_.counter); });
}
Result<void> SimTpm::IncrementCounter() {
  return Write(true, [this] { ++state_.counter; });
}
Result<Hash> SimTpm::ReadIndex() {
  return Call<Hash>(true, [this] { return Result<Hash>(state_.index); });
}
Result<void> SimTpm::ExtendIndex(const Hash& digest) {
  return Write(true, [&] { ForeignExtendIndex(digest); });
}

std::vector<Hash> SimTpm::QuotedValues() const {
  std::vector<Hash> values;
  for (const std::uint32_t pcr : tpm::RegistersOf(tpm::QuoteSelection(tpm::kDefaultPcr))) {
    values.push_back(pcr == tpm::kDefaultPcr ? state_.pcr : Hash{});
  }
  return values;
}

TpmAttestation SimTpm::Sign(Bytes attest, std::vector<Hash> values) const {
  Bytes signature = TpmtSignature(SignDeterministically(ak_private_, attest));
  return {std::move(attest), std::move(signature), std::move(values)};
}

Result<TpmAttestation> SimTpm::Quote(const Hash& qualifying_data) {
  return Call<TpmAttestation>(false, [&]() -> Result<TpmAttestation> {
    tpm::Attested attested;
    attested.type = tpm::AttestType::kQuote;
    attested.qualified_signer = state_.identity.ak_name;
    attested.extra_data = ToBytes(qualifying_data);
    attested.clock = state_.clock;
    attested.selection = tpm::QuoteSelection(tpm::kDefaultPcr);
    const std::vector<Hash> values = QuotedValues();
    Bytes joined;
    for (const Hash& value : values) Append(joined, value);
    attested.pcr_digest = Sha256Of(joined);
    return Sign(tpm::SerialiseAttest(attested), values);
  });
}

Result<TpmAttestation> SimTpm::CertifyCounter(const Hash& qualifying_data) {
  return Call<TpmAttestation>(true, [&]() -> Result<TpmAttestation> {
    tpm::Attested attested;
    attested.type = tpm::AttestType::kNvCertify;
    attested.qualified_signer = state_.identity.ak_name;
    attested.extra_data = ToBytes(qualifying_data);
    attested.clock = state_.clock;
    attested.index_name = state_.identity.counter_name;
    attested.contents = BigEndian(state_.counter);
    return Sign(tpm::SerialiseAttest(attested), {});
  });
}

Result<TpmAttestation> SimTpm::CertifyIndex(const Hash& qualifying_data) {
  return Call<TpmAttestation>(true, [&]() -> Result<TpmAttestation> {
    tpm::Attested attested;
    attested.type = tpm::AttestType::kNvCertify;
    attested.qualified_signer = state_.identity.ak_name;
    attested.extra_data = ToBytes(qualifying_data);
    attested.clock = state_.clock;
    attested.index_name = state_.identity.index_name;
    attested.contents = ToBytes(state_.index);
    return Sign(tpm::SerialiseAttest(attested), {});
  });
}

}  // namespace stele::sim
