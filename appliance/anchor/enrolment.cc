#include "appliance/anchor/enrolment.h"

#include <openssl/crypto.h>
#include <sodium.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "appliance/anchor/members.h"
#include "appliance/base/hash.h"
#include "tpm/attest.h"
#include "tpm/certificate.h"
#include "tpm/names.h"

namespace stele::anchor {
namespace {

using nlohmann::json;

constexpr std::size_t kSignatureBytes = 2 * kHashBytes;
constexpr std::size_t kWrappedBytes = crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES + 2 * kSignatureBytes;
constexpr std::size_t kPcrValuesMax = 24;

const unsigned char* Raw(ByteView bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); }
unsigned char* Raw(Bytes& bytes) { return reinterpret_cast<unsigned char*>(bytes.data()); }

Secret Derived(const Secret& key, std::string_view label) { return Secret(HmacSha256(key.view(), {AsBytes(label)})); }

std::string Dump(const json& object) { return object.dump(2, ' ', false, json::error_handler_t::replace) + "\n"; }

// The object of a file of the exchange, or which of its first members is wrong.
Result<json> Open(std::string_view text, const char* what) {
  if (text.size() > kEnrolmentBytesMax) return Fail(Code::kInvalid, std::string(what) + ": too long");
  json object = json::parse(text, nullptr, false);
  Members members(object);
  std::string name;
  std::uint32_t version = 0;
  members.Text("stele", true, name);
  members.Number("version", version);
  if (!members.fault().empty() || name != what || version != 1) {
    return Fail(Code::kInvalid, std::string("not a file of the kind ") + what + ", version 1");
  }
  return object;
}

Result<void> NoFault(const Members& members, const char* what) {
  if (members.fault().empty()) return {};
  return Fail(Code::kInvalid, std::string(what) + ": member " + members.fault());
}

json AttestationJson(const TpmAttestation& attestation) {
  json out = {{"attest_b64", Base64Of(attestation.attest)}, {"signature_b64", Base64Of(attestation.signature)}};
  if (!attestation.pcr_values.empty()) {
    json values = json::array();
    for (const Hash& value : attestation.pcr_values) values.push_back(HexOf(value));
    out["pcr_values"] = std::move(values);
  }
  if (!attestation.contents.empty()) out["contents_b64"] = Base64Of(attestation.contents);
  return out;
}

void TakeAttestation(Members& body, const char* name, TpmAttestation& out) {
  const json* object = body.Find(name, true);
  if (object == nullptr) return;
  Members members(*object);
  members.Base64("attest_b64", true, out.attest);
  members.Base64("signature_b64", true, out.signature);
  members.Base64("contents_b64", false, out.contents);
  if (const json* values = members.Find("pcr_values", false)) {
    if (!values->is_array() || values->size() > kPcrValuesMax) return body.Blame(name);
    for (const json& value : *values) {
      const auto hash = value.is_string() ? ParseHash(value.get_ref<const std::string&>()) : std::nullopt;
      if (!hash) return body.Blame(name);
      out.pcr_values.push_back(*hash);
    }
  }
  if (!members.fault().empty()) body.Blame(name);
}

Result<EnrolAnswer> DecodeBody(ByteView bytes) {
  const json object = json::parse(AsText(bytes), nullptr, false);
  Members members(object);
  EnrolAnswer answer;
  members.Base64("checkpoint_key_b64", true, answer.checkpoint_key);
  members.Digest("pcr_baseline", true, answer.pcr_baseline);
  members.Boolean("locked_down", answer.locked_down);
  TakeAttestation(members, "quote", answer.evidence.quote);
  TakeAttestation(members, "counter", answer.evidence.counter);
  TakeAttestation(members, "index", answer.evidence.index);
  if (const json* seal = members.Find("seal", false)) {
    Members sealed(*seal);
    tpm::SealedSecret secret;
    sealed.Base64("public_b64", true, secret.public_area);
    const json* registers = sealed.Find("registers", true);
    const auto policy = registers == nullptr ? std::nullopt : PolicyOf(*registers);
    if (policy && sealed.fault().empty()) {
      secret.policy = *policy;
      answer.sealed = std::move(secret);
    } else {
      members.Blame("seal");
    }
  }
  STELE_TRY_VOID(NoFault(members, "answer"));
  if (answer.checkpoint_key.size() != kHashBytes) return Fail(Code::kInvalid, "answer: member checkpoint_key_b64");
  return answer;
}

Result<tpm::EcSignature> SignFirstWrite(std::string_view key_pem, std::string_view public_pem, tpm::FirstWrite which,
                                        const EnrolRequest& request) {
  STELE_TRY(const Hash command, tpm::FirstWriteCommandHash(which, request.handles, public_pem, request.genesis_random));
  const Hash& nonce = which == tpm::FirstWrite::kCounter ? request.counter_nonce : request.index_nonce;
  return tpm::SignRaw(key_pem, tpm::FirstWriteMessage(nonce, command));
}

Bytes Wrap(const FirstWriteSignatures& signatures, const Secret& key, Entropy& entropy) {
  Bytes plain;
  for (const Hash& part : {signatures.counter.r, signatures.counter.s, signatures.index.r, signatures.index.s})
    Append(plain, part);
  Bytes out(crypto_secretbox_NONCEBYTES);
  entropy.Fill(out);
  const Secret wrap = Derived(key, "stele/enrol/wrap/v1");
  Bytes box(plain.size() + crypto_secretbox_MACBYTES);
  (void)crypto_secretbox_easy(Raw(box), Raw(plain), plain.size(), Raw(out), Raw(wrap.view()));  // always 0
  Append(out, box);
  return out;
}

}  // namespace

std::string EncodeRequest(const EnrolRequest& request) {
  json object = {{"stele", "enrol-request"},
               {"version", 1},
               {"created_ns", request.created_ns},
               {"pcr", request.pcr},
               {"handles",
                {{"ek", request.handles.ek},
                 {"ak", request.handles.ak},
                 {"storage", request.handles.storage},
                 {"counter", request.handles.counter},
                 {"index", request.handles.index}}},
               {"origin", request.origin},
               {"ek_public_b64", Base64Of(request.ek_public)},
               {"ek_certificate_b64", Base64Of(request.ek_certificate)},
               {"ak_public_b64", Base64Of(request.ak_public)},
               {"genesis_random", HexOf(request.genesis_random)},
               {"counter_nonce", HexOf(request.counter_nonce)},
               {"index_nonce", HexOf(request.index_nonce)},
               {"manufacturer", request.manufacturer},
               {"vendor", request.vendor},
               {"firmware_version", request.firmware_version},
               {"software_tpm", request.software_tpm}};
  if (request.epoch) object["epoch"] = EpochJson(*request.epoch);
  return Dump(object);
}

Result<EnrolRequest> DecodeRequest(std::string_view text) {
  STELE_TRY(const json object, Open(text, "enrol-request"));
  Members members(object);
  EnrolRequest request;
  members.Number("created_ns", request.created_ns);
  members.Number("pcr", request.pcr);
  members.Text("origin", true, request.origin);
  members.Base64("ek_public_b64", true, request.ek_public);
  members.Base64("ek_certificate_b64", true, request.ek_certificate);
  members.Base64("ak_public_b64", true, request.ak_public);
  members.Digest("genesis_random", true, request.genesis_random);
  members.Digest("counter_nonce", true, request.counter_nonce);
  members.Digest("index_nonce", true, request.index_nonce);
  members.Text("manufacturer", true, request.manufacturer);
  members.Text("vendor", true, request.vendor);
  members.Number("firmware_version", request.firmware_version);
  members.Boolean("software_tpm", request.software_tpm);
  if (const json* handles = members.Find("handles", true)) {
    Members handle(*handles);
    handle.Number("ek", request.handles.ek);
    handle.Number("ak", request.handles.ak);
    handle.Number("storage", request.handles.storage);
    handle.Number("counter", request.handles.counter);
    handle.Number("index", request.handles.index);
    if (!handle.fault().empty()) members.Blame("handles");
  }
  if (const json* epoch = members.Find("epoch", false)) {
    request.epoch = EpochOf(*epoch);
    if (!request.epoch) members.Blame("epoch");
  }
  STELE_TRY_VOID(NoFault(members, "request"));
  if (!tpm::IsAnchorPcr(request.pcr)) return Fail(Code::kInvalid, "request: member pcr");
  return request;
}

std::string EncodeChallenge(const EnrolChallenge& challenge) {
  return Dump({{"stele", "enrol-challenge"},
               {"version", 1},
               {"request_sha256", HexOf(challenge.request_sha256)},
               {"blob_b64", Base64Of(challenge.credential.blob)},
               {"secret_b64", Base64Of(challenge.credential.secret)},
               {"signatures_b64", Base64Of(challenge.signatures)}});
}

Result<EnrolChallenge> DecodeChallenge(std::string_view text) {
  STELE_TRY(const json object, Open(text, "enrol-challenge"));
  Members members(object);
  EnrolChallenge challenge;
  members.Digest("request_sha256", true, challenge.request_sha256);
  members.Base64("blob_b64", true, challenge.credential.blob);
  members.Base64("secret_b64", true, challenge.credential.secret);
  members.Base64("signatures_b64", true, challenge.signatures);
  STELE_TRY_VOID(NoFault(members, "challenge"));
  return challenge;
}

std::string EncodeAnswer(const EnrolAnswer& answer, const Hash& request_sha256, const Secret& key) {
  json body = {{"checkpoint_key_b64", Base64Of(answer.checkpoint_key)},
               {"pcr_baseline", HexOf(answer.pcr_baseline)},
               {"locked_down", answer.locked_down},
               {"quote", AttestationJson(answer.evidence.quote)},
               {"counter", AttestationJson(answer.evidence.counter)},
               {"index", AttestationJson(answer.evidence.index)}};
  if (answer.sealed) {
    body["seal"] = {{"public_b64", Base64Of(answer.sealed->public_area)},
                    {"registers", RegistersJson(answer.sealed->policy)}};
  }
  const std::string text = body.dump();
  const Hash mac = HmacSha256(Derived(key, "stele/enrol/answer/v1").view(), {AsBytes(text)});
  return Dump({{"stele", "enrol-answer"},
               {"version", 1},
               {"request_sha256", HexOf(request_sha256)},
               {"body_b64", Base64Of(AsBytes(text))},
               {"mac", HexOf(mac)}});
}

Result<EnrolAnswer> DecodeAnswer(std::string_view text, const Hash& request_sha256, const Secret& key) {
  STELE_TRY(const json object, Open(text, "enrol-answer"));
  Members members(object);
  Hash answered{};
  Hash mac{};
  Bytes body;
  members.Digest("request_sha256", true, answered);
  members.Digest("mac", true, mac);
  members.Base64("body_b64", true, body);
  STELE_TRY_VOID(NoFault(members, "answer"));
  if (answered != request_sha256) return Fail(Code::kDenied, "the answer is for another request");
  const Hash expected = HmacSha256(Derived(key, "stele/enrol/answer/v1").view(), {body});
  if (CRYPTO_memcmp(expected.data(), mac.data(), mac.size()) != 0) {
    return Fail(Code::kDenied, "the answer does not come from the TPM that was challenged");
  }
  return DecodeBody(body);
}

Hash AttestChallenge(const Secret& key) { return HmacSha256(key.view(), {AsBytes("stele/enrol/attest/v1")}); }

tpm::HierarchyAuths EscrowedAuths(const Secret& key) {
  return {HmacSha256(key.view(), {AsBytes("stele/escrow/owner/v1")}),
          HmacSha256(key.view(), {AsBytes("stele/escrow/endorsement/v1")}),
          HmacSha256(key.view(), {AsBytes("stele/escrow/lockout/v1")})};
}

Result<FirstWriteSignatures> UnwrapSignatures(ByteView wrapped, const Secret& key) {
  if (wrapped.size() != kWrappedBytes) return Fail(Code::kInvalid, "challenge: member signatures_b64");
  const ByteView nonce = wrapped.first(crypto_secretbox_NONCEBYTES);
  const ByteView box = wrapped.subspan(crypto_secretbox_NONCEBYTES);
  const Secret wrap = Derived(key, "stele/enrol/wrap/v1");
  Bytes plain(box.size() - crypto_secretbox_MACBYTES);
  if (crypto_secretbox_open_easy(Raw(plain), Raw(box), box.size(), Raw(nonce), Raw(wrap.view())) != 0) {
    return Fail(Code::kDenied, "the challenge's signatures are not for this TPM");
  }
  Reader in(plain);
  FirstWriteSignatures out;
  for (Hash* part : {&out.counter.r, &out.counter.s, &out.index.r, &out.index.s}) *part = in.ReadHash();
  return out;
}

Enroller::Enroller(std::string provisioning_key_pem, std::string ek_authorities_pem, Clock& clock, Entropy& entropy)
    : key_pem_(std::move(provisioning_key_pem)),
      authorities_pem_(std::move(ek_authorities_pem)),
      clock_(clock),
      entropy_(entropy) {}

Result<Secret> Enroller::KeyFor(std::string_view request_text) const {
  STELE_TRY(const Hash key, tpm::DeriveFrom(key_pem_, "stele/enrol/v1", Sha256Of(AsBytes(request_text))));
  return Secret(key);
}

// True: verified up to a root. Without a certificate or without roots nothing says that the EK is a TPM's at all.
Result<bool> Enroller::CheckEk(const EnrolRequest& request) {
  if (!request.ek_certificate.empty()) {
    STELE_TRY_VOID(tpm::CheckEkCertificate(request.ek_certificate, request.ek_public));
  }
  if (authorities_pem_.empty()) return false;
  if (request.ek_certificate.empty()) return Fail(Code::kDenied, "the TPM carries no EK certificate to verify");
  STELE_TRY_VOID(tpm::VerifyEkChain(request.ek_certificate, authorities_pem_, clock_.WallNs()));
  return true;
}

Result<EnrolChallenge> Enroller::Challenge(std::string_view request_text) {
  STELE_TRY(const EnrolRequest request, DecodeRequest(request_text));
  STELE_TRY_VOID(CheckEk(request));
  STELE_TRY(const tpm::AttestationKey ak, tpm::ParseAttestationKey(request.ak_public));
  STELE_TRY(const std::string public_pem, tpm::PublicPemOf(key_pem_));
  STELE_TRY(const Secret key, KeyFor(request_text));
  FirstWriteSignatures signatures;
  STELE_TRY(signatures.counter, SignFirstWrite(key_pem_, public_pem, tpm::FirstWrite::kCounter, request));
  STELE_TRY(signatures.index, SignFirstWrite(key_pem_, public_pem, tpm::FirstWrite::kIndex, request));
  Hash wrapped_key{};
  std::memcpy(wrapped_key.data(), key.view().data(), wrapped_key.size());
  EnrolChallenge challenge;
  challenge.request_sha256 = Sha256Of(AsBytes(request_text));
  STELE_TRY(challenge.credential, tpm::MakeCredential(request.ek_public, ak.name, wrapped_key, entropy_));
  OPENSSL_cleanse(wrapped_key.data(), wrapped_key.size());
  challenge.signatures = Wrap(signatures, key, entropy_);
  return challenge;
}

Result<SignedRecord> Enroller::Record(std::string_view request_text, std::string_view answer_text) {
  STELE_TRY(const EnrolRequest request, DecodeRequest(request_text));
  STELE_TRY(const Secret key, KeyFor(request_text));
  STELE_TRY(const EnrolAnswer answer, DecodeAnswer(answer_text, Sha256Of(AsBytes(request_text)), key));
  STELE_TRY(const bool chain_verified, CheckEk(request));
  STELE_TRY(const tpm::AttestationKey ak, tpm::ParseAttestationKey(request.ak_public));
  STELE_TRY(const std::string public_pem, tpm::PublicPemOf(key_pem_));

  tpm::ProvisionResult made;
  made.pcr = request.pcr;
  made.handles = request.handles;
  made.ek_certificate_der = request.ek_certificate;
  made.ak_public = request.ak_public;
  made.ak_public_pem = ak.public_pem;
  made.identity.ek_name = tpm::NameOfPublicArea(ByteView(request.ek_public).subspan(2));
  made.identity.ak_name = ak.name;
  STELE_TRY(made.identity.counter_name, tpm::WrittenCounterName(request.handles, public_pem));
  STELE_TRY(made.identity.index_name, tpm::WrittenIndexName(request.handles, public_pem));
  made.genesis_random = request.genesis_random;
  made.manufacturer = request.manufacturer;
  made.vendor = request.vendor;
  made.software_tpm = request.software_tpm;
  made.locked_down = answer.locked_down;
  made.sealed = answer.sealed;

  const Hash challenge = AttestChallenge(key);
  const Bytes qualified = tpm::QualifiedNameOf(made.identity.ek_name, made.identity.ak_name);
  const tpm::Signer signer{made.ak_public_pem, qualified};
  STELE_TRY(const auto quote, tpm::VerifyQuote(answer.evidence.quote, signer, challenge, request.pcr));
  STELE_TRY(const auto counter,
            tpm::VerifyCounter(answer.evidence.counter, signer, challenge, made.identity.counter_name));
  STELE_TRY(const auto index, tpm::VerifyIndex(answer.evidence.index, signer, challenge, made.identity.index_name));
  if (index.value != tpm::GenesisIndexValue(request.genesis_random)) {
    return Fail(Code::kDenied, "the anchor index does not hold its first value");
  }
  if (counter.attested.clock.reset_count != quote.clock.reset_count ||
      index.attested.clock.reset_count != quote.clock.reset_count) {
    return Fail(Code::kDenied, "the attestations are of different boots");
  }
  if (answer.sealed) {
    STELE_TRY_VOID(tpm::CheckSealed(*answer.sealed));
    const auto anchored = answer.sealed->policy.registers.find(request.pcr);
    if (anchored == answer.sealed->policy.registers.end() || anchored->second != answer.pcr_baseline) {
      return Fail(Code::kDenied, "the seed's policy does not ask for the anchor's PCR at its baseline");
    }
  }
  made.counter_start = counter.value;
  made.index_start = index.value;
  made.reset_count = quote.clock.reset_count;
  made.firmware_version = quote.firmware_version;
  ProvisioningRecord record = RecordOf(made, clock_.WallNs());
  record.origin = request.origin;
  record.checkpoint_key = answer.checkpoint_key;
  record.pcr_baseline = answer.pcr_baseline;
  record.activated = true;
  record.ek_chain_verified = chain_verified;
  record.epoch = request.epoch;
  return SignRecord(EncodeRecord(record), key_pem_);
}

Result<tpm::HierarchyAuths> Enroller::Auths(std::string_view request_text) const {
  STELE_TRY(const Secret key, KeyFor(request_text));
  return EscrowedAuths(key);
}

}  // namespace stele::anchor
