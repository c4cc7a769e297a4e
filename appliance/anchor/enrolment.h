// Enrolment: how a provisioning key that is kept elsewhere, on a machine without a TPM and perhaps without a network,
// comes to sign what it has seen proven. Four files, two round trips; each file is one JSON object in UTF-8.
//
//   request    appliance -> enroller  {"stele":"enrol-request","version":1,"created_ns","pcr","handles":{..},"origin",
//              "ek_public_b64","ek_certificate_b64","ak_public_b64","genesis_random","counter_nonce","index_nonce"
//              (hex), "manufacturer","vendor","firmware_version","software_tpm","epoch"?}
//              epoch: what a later epoch of a log claims (provisioning_record.h); the signer copies it into the record
//   challenge  enroller -> appliance  {"stele":"enrol-challenge","version":1,"request_sha256","blob_b64","secret_b64",
//              "signatures_b64"}     blob, secret: the credential (tpm/credential.h) that wraps K for this EK and this
//              AK
//   answer     appliance -> enroller  {"stele":"enrol-answer","version":1,"request_sha256","body_b64","mac"}
//              body: {"checkpoint_key_b64","pcr_baseline","seal":{"public_b64","registers"}?,"locked_down",
//              "quote","counter","index"}, attestations
//              {"attest_b64","signature_b64"[,"pcr_values":[hex]][,"contents_b64"]}
//   record     enroller -> appliance  the signed provisioning record (provisioning_record.h)
//
//   K          := HMAC-SHA-256(private scalar, "stele/enrol/v1" || SHA-256(request))
//   signatures := secretbox under HMAC(K, "stele/enrol/wrap/v1") of the two first-write signatures, r || s each:
//   nonce24 || box mac        := HMAC(HMAC(K, "stele/enrol/answer/v1"), body)     attestations are over HMAC(K,
//   "stele/enrol/attest/v1") auths      := HMAC(K, "stele/escrow/owner/v1"), .../endorsement/v1, .../lockout/v1
//
// Whoever unwraps K has both the certified EK and the AK: the answer's MAC is the activation's proof. The enroller
// keeps nothing but its key between the trips, and the escrowed authorisations never travel: it can make them again
// from the request. It signs only command hashes it has computed, over nonces that die with the appliance's sessions.
//
// Pure: bytes in, bytes out. Everything parsed here is hostile: kInvalid says which member, kDenied what is not
// believed.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "appliance/anchor/keys.h"
#include "appliance/anchor/provisioning_record.h"
#include "tpm/credential.h"
#include "tpm/provision.h"

namespace stele::anchor {

inline constexpr std::size_t kEnrolmentBytesMax = std::size_t{256} * 1024;

struct EnrolRequest {
  std::int64_t created_ns = 0;
  std::uint32_t pcr = tpm::kDefaultPcr;
  tpm::Handles handles;
  std::string origin;
  Bytes ek_public;
  Bytes ek_certificate;
  Bytes ak_public;
  Hash genesis_random{};
  Hash counter_nonce{};
  Hash index_nonce{};
  std::string manufacturer;
  std::string vendor;
  std::uint64_t firmware_version = 0;
  bool software_tpm = false;
  std::optional<EpochClaim> epoch;
};
[[nodiscard]] std::string EncodeRequest(const EnrolRequest& request);
[[nodiscard]] Result<EnrolRequest> DecodeRequest(std::string_view text);

struct EnrolChallenge {
  Hash request_sha256{};
  tpm::Credential credential;
  Bytes signatures;  // wrapped
};
[[nodiscard]] std::string EncodeChallenge(const EnrolChallenge& challenge);
[[nodiscard]] Result<EnrolChallenge> DecodeChallenge(std::string_view text);

struct EnrolAnswer {
  Bytes checkpoint_key;  // Ed25519, 32 bytes
  Hash pcr_baseline{};
  std::optional<tpm::SealedSecret> sealed;  // the public area and the policy; no private area
  bool locked_down = false;
  tpm::Provisioning::Evidence evidence;
};
// Body and MAC: `key` is K.
[[nodiscard]] std::string EncodeAnswer(const EnrolAnswer& answer, const Hash& request_sha256, const Secret& key);
[[nodiscard]] Result<EnrolAnswer> DecodeAnswer(std::string_view text, const Hash& request_sha256, const Secret& key);

// What both sides derive from K.
[[nodiscard]] Hash AttestChallenge(const Secret& key);
[[nodiscard]] tpm::HierarchyAuths EscrowedAuths(const Secret& key);
struct FirstWriteSignatures {
  tpm::EcSignature counter;
  tpm::EcSignature index;
};
// kDenied: not wrapped under this K.
[[nodiscard]] Result<FirstWriteSignatures> UnwrapSignatures(ByteView wrapped, const Secret& key);

// The enroller's machine.
class Enroller {
 public:
  // `ek_authorities_pem`: roots and intermediates the EK certificate must chain to; empty: not checked, and the record
  // does not say that it was.
  Enroller(std::string provisioning_key_pem, std::string ek_authorities_pem, Clock& clock, Entropy& entropy);

  // kDenied: no certificate, not for this EK, not from these roots; not an attestation key of ours.
  [[nodiscard]] Result<EnrolChallenge> Challenge(std::string_view request_text);
  // Verifies the proof, the attestations and the policy of the sealed seed, and signs the record.
  [[nodiscard]] Result<SignedRecord> Record(std::string_view request_text, std::string_view answer_text);
  // The authorisations this request's TPM gets at its lock-down.
  [[nodiscard]] Result<tpm::HierarchyAuths> Auths(std::string_view request_text) const;

 private:
  [[nodiscard]] Result<Secret> KeyFor(std::string_view request_text) const;
  [[nodiscard]] Result<bool> CheckEk(const EnrolRequest& request);

  std::string key_pem_;
  std::string authorities_pem_;
  Clock& clock_;
  Entropy& entropy_;
};

}  // namespace stele::anchor
