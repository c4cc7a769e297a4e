// What a TPM signed: parser and verifier of TPMS_ATTEST (quote, NV certify, session audit) and TPMT_SIGNATURE (ECDSA
// P-256, SHA-256). Pure: bytes in, verdict out, no TPM and no tpm2-tss, so an auditor runs the same code offline. All
// integers big-endian.
//
//   attest   := magic:u32=ff544347 type:u16 qualifiedSigner:2B extraData:2B clockInfo firmware:u64 attested
//   2B       := size:u16 byte[size]
//   clockInfo:= clock:u64 resetCount:u32 restartCount:u32 safe:u8
//   quote    := (type 8018) count:u32=1 hash:u16=000b size:u8=3 select[3] pcrDigest:2B(32)
//   nv       := (type 8014) indexName:2B offset:u16 nvContents:2B
//   audit    := (type 8016) exclusiveSession:u8 sessionDigest:2B(32)
//   signature:= sigAlg:u16=0018 hash:u16=000b r:2B s:2B
// (TPM 2.0 Library, Part 2: TPMS_ATTEST 10.12.12, TPMT_SIGNATURE 11.3.4)
//
// Total: any input gives a value or kInvalid (not such a structure) or kDenied (well-formed, but not what was
// expected).
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "appliance/base/bytes.h"
#include "appliance/base/seams.h"
#include "tpm/handles.h"
#include "tpm/signing.h"

namespace stele::tpm {

enum class AttestType : std::uint16_t { kNvCertify = 0x8014, kSessionAudit = 0x8016, kQuote = 0x8018 };

struct Attested {
  AttestType type = AttestType::kQuote;
  Bytes qualified_signer;  // Name of the signer, qualified by its ancestors (tpm/names.h: QualifiedNameOf)
  Bytes extra_data;        // qualifyingData
  TpmClock clock;          // of an endorsement-hierarchy key: as the TPM has it, not obfuscated
  std::uint64_t firmware_version = 0;
  PcrSelection selection{};  // quote
  Hash pcr_digest{};         // quote: SHA-256 over the selected values, ascending
  Bytes index_name;          // NV certify; of a session audit: once verified
  std::uint16_t offset = 0;  // NV certify
  Bytes contents;            // NV certify; of a session audit: once verified
  bool exclusive = false;    // session audit: no other command since the session's first one
  Hash session_digest{};     // session audit
};

[[nodiscard]] Result<Attested> ParseAttest(ByteView attest);
[[nodiscard]] Result<EcSignature> ParseSignature(ByteView signature);
[[nodiscard]] Bytes SerialiseAttest(const Attested& attested);  // the inverse of ParseAttest

// Who must have signed. An empty qualified_signer is not compared.
struct Signer {
  std::string_view public_pem;
  ByteView qualified_signer;
};

// Quote: signature, qualifying data, selection = QuoteSelection(pcr).
[[nodiscard]] Result<Attested> VerifyQuote(const TpmAttestation& quote, const Signer& signer,
                                           const Hash& qualifying_data, std::uint32_t anchor_pcr);
// The same, and the quoted digest is that of `values` (one per register of the selection, ascending). Returns the value
// of the anchor's PCR among them.
[[nodiscard]] Result<Hash> VerifyQuotedValues(const Attested& quote, const std::vector<Hash>& values,
                                              std::uint32_t anchor_pcr);

// The quoted values as tpm2-tools keeps them (`tpm2_quote -o`, `tpm2_checkquote -f`), so that stock tools can check a
// quote:
//   blob      := count:u32=1 selection[16] lists:u32 list[lists]              little-endian, as tpm2-tools 5.4 writes
//   it selection := hash:u16 size:u8 select[4] pad[1]     list := count:u32 (size:u16 digest[64])[8]
// `values` as in VerifyQuotedValues; empty when they do not fit the selection.
[[nodiscard]] Bytes ToolPcrBlob(const PcrSelection& selection, const std::vector<Hash>& values);

// The value of an NV index: signature, qualifying data, Name of the index, offset 0, size 8 or 32. Signed by
// TPM2_NV_Certify, or, on TPMs without it, as an audited read: TPM2_NV_Read in a session of its own, then
// TPM2_GetSessionAuditDigest. The latter counts only while the session is exclusive: else somebody could read, write
// the index, and have the old value signed.
struct CertifiedCounter {
  Attested attested;
  std::uint64_t value = 0;
};
struct CertifiedIndex {
  Attested attested;
  Hash value{};
};
// The digest of a session whose one command was the whole read of an index by its own (empty) authorisation:
// H(0^32 || cpHash || rpHash) (TPM 2.0 Library, Part 1, sections 16.7, 16.8 and 32.3).
[[nodiscard]] Hash AuditedReadDigest(ByteView index_name, ByteView contents);
[[nodiscard]] Result<CertifiedCounter> VerifyCounter(const TpmAttestation& certificate, const Signer& signer,
                                                     const Hash& qualifying_data, ByteView counter_name);
[[nodiscard]] Result<CertifiedIndex> VerifyIndex(const TpmAttestation& certificate, const Signer& signer,
                                                 const Hash& qualifying_data, ByteView index_name);

}  // namespace stele::tpm
