// The provisioning record: what is pinned about a log, its TPM and its checkpoint key. The one place that reads and
// writes it. Its SHA-256 (of the exact bytes) is the log id; leaf 0 of the log holds it; the signature over it is the
// pin that auditors keep.
//
//   state/provisioning.json := {"record_b64","signature_b64","public_key_pem"}       signature: DER ECDSA P-256,
//   SHA-256 record := one JSON object:
//     log="stele" version=1 created_ns ek_certificate_b64 ek_name ak_name ak_public_pem ak_public_b64 counter_name
//     index_name counter_start index_start pcr reset_count firmware_version software_tpm
//     handles={"ek","ak","counter","index"} optional: origin, checkpoint_key_b64 (Ed25519, 32 bytes), pcr_baseline,
//     genesis_random, manufacturer, vendor, handles.storage,
//     seal={"name","registers":{"14":"<hex>"}}: the checkpoint key's seed is sealed to this TPM under that policy,
//     locked_down=true: hierarchy authorisations were set and TPM2_Clear forbidden,
//     activated=true: the signer saw the AK prove, by credential activation, that it lives beside this EK,
//     ek_chain_verified=true: the signer verified the EK certificate up to a root of his,
//     epoch={..}: this record does not begin a log, it continues one on another TPM state (EpochClaim)
//   Names and hashes are hexadecimal; handles are numbers.
//
// Pure. Decode functions are total: kCorrupt names the member.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "appliance/anchor/facts.h"
#include "appliance/base/seams.h"
#include "tpm/device.h"
#include "tpm/provision.h"

namespace stele::anchor {

inline constexpr std::size_t kProvisioningBytesMax = std::size_t{256} * 1024;
inline constexpr std::uint64_t kEpochsMax = 1'000;
inline constexpr std::size_t kReasonBytesMax = 1024;

// What a record says that continues a log instead of beginning one. Epoch 0 is the genesis record's. The whole log as it
// was then stands under the provisioning key's signature: the old keys may be lost, its past may not.
//
//   epoch := {"number","log_id","reason","log_size","log_root","log_frontier":[hex],"verdicts":[word],"detail","anchor",
//             "anchored_size","checkpoint_size"}
struct EpochClaim {
  std::uint64_t number = 0;  // 1, 2, ...
  Hash log_id{};
  std::string reason;            // the operator's words
  std::uint64_t log_size = 0;    // the log then: its next leaf is this epoch's entry
  Hash log_root{};
  std::vector<Hash> log_frontier;     // compact range [0, log_size)
  std::vector<std::string> verdicts;  // how each epoch before ended, from 0 on
  std::string detail;                 // of the last of them
  std::uint64_t anchor = 0;           // of the epoch before: its newest receipted anchor, 0: none
  std::uint64_t anchored_size = 0;    // what that covers; above it the old TPM says nothing
  std::uint64_t checkpoint_size = 0;  // what its newest signed checkpoint covers
};

struct ProvisioningRecord {
  std::int64_t created_ns = 0;
  Bytes ek_certificate;  // DER; empty when the TPM carries none
  TpmIdentity identity;
  std::string ak_public_pem;
  Bytes ak_public;                  // TPM2B_PUBLIC
  std::uint64_t counter_start = 0;  // C0
  Hash index_start{};               // X0
  std::uint32_t pcr = tpm::kDefaultPcr;
  std::uint32_t reset_count = 0;
  std::uint64_t firmware_version = 0;
  bool software_tpm = false;
  tpm::Handles handles;
  std::string origin;     // empty: OriginOf() derives it from the log id
  Bytes checkpoint_key;   // empty: not pinned
  Hash pcr_baseline{};    // zero unless the host's firmware extends the anchor's PCR
  Hash genesis_random{};  // X0 = SHA-256(0^32 || SHA-256("stele/genesis/v1" || genesis_random))
  std::string manufacturer;
  std::string vendor;
  Bytes sealed_name;  // Name of the sealed seed; empty: the seed is a file
  tpm::SealPolicy seal_policy;
  bool locked_down = false;
  bool activated = false;
  bool ek_chain_verified = false;
  std::optional<EpochClaim> epoch;  // absent: it begins a log

  [[nodiscard]] std::uint64_t epoch_number() const { return epoch ? epoch->number : 0; }
  [[nodiscard]] bool key_sealed() const { return !sealed_name.empty(); }
};
[[nodiscard]] ProvisioningRecord RecordOf(const tpm::ProvisionResult& result, std::int64_t created_ns);
[[nodiscard]] Bytes EncodeRecord(const ProvisioningRecord& record);
[[nodiscard]] Result<ProvisioningRecord> DecodeRecord(ByteView bytes);

struct SignedRecord {
  Bytes record;     // the exact bytes that were signed
  Bytes signature;  // DER
  std::string public_key_pem;
};
[[nodiscard]] Result<SignedRecord> SignRecord(Bytes record, std::string_view private_key_pem);
[[nodiscard]] std::string EncodeSignedRecord(const SignedRecord& record);
[[nodiscard]] Result<SignedRecord> DecodeSignedRecord(std::string_view text);
// kDenied: the signature does not verify under the key the file itself carries. Whether that key is the right one only
// a pin kept elsewhere can say.
[[nodiscard]] Result<void> VerifySignedRecord(const SignedRecord& record);

// Lower-case hexadecimal SHA-256 of the key's DER: `openssl pkey -pubin -outform DER | sha256sum`.
[[nodiscard]] std::string FingerprintOf(std::string_view public_key_pem);

[[nodiscard]] Hash LogIdOf(ByteView record);  // of a record that begins a log
// Of any: the one a later epoch claims, else that of `bytes`.
[[nodiscard]] Hash LogIdOf(const ProvisioningRecord& record, ByteView bytes);
// The configured origin, or stele.invalid/log/<first 16 hex digits of the log id>.
[[nodiscard]] std::string OriginOf(const ProvisioningRecord& record, const Hash& log_id);
// The payload of an entry of kind epoch (docs/entries.md), leaf 0 or a later epoch's; public_key_b64 is the DER
// SubjectPublicKeyInfo.
[[nodiscard]] Result<std::string> EpochPayload(const SignedRecord& record);
// Back from the log, which somebody may have had in hand. The key is given as PEM by the caller: what an entry says of
// its own signer proves nothing.
[[nodiscard]] Result<SignedRecord> DecodeEpochPayload(std::string_view payload, std::string_view public_key_pem);

[[nodiscard]] Pins PinsOf(const ProvisioningRecord& record, const Hash& log_id);
[[nodiscard]] tpm::AnchorConfig DeviceConfigOf(const ProvisioningRecord& record,
                                               std::string_view provisioning_public_pem);

}  // namespace stele::anchor
