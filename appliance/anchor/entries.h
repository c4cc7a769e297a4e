// The two entries of the log that the anchor writes the payload of (docs/entries.md): the intent (kind checkpoint) and
// the receipt (kind anchor). Encode* gives the one serialisation Stele writes; Decode* takes bytes back from a disk
// that somebody may have had in hand, and is total. The JSON is UTF-8 in one line; members are in alphabetical order.
//
//   qualifyingData := SHA-256("stele/qd/v1" || purpose || log_id[32] || anchor_number:u64 || d[32] ||
//   nonce[32])
//                     purpose: ASCII without terminator, one of receipt-quote certify-C certify-X audit (none begins
//                     another, and what follows has a fixed length); the number little-endian;
//                     nonce: 32 zero bytes in a receipt, the auditor's in an audit
//
// The caller never supplies raw qualifying data: an auditor's nonce would otherwise buy a forged receipt.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "appliance/base/seams.h"
#include "appliance/ledger/note.h"

namespace stele::anchor {

struct IntentEntry {
  std::string note;  // the signed checkpoint
  std::uint64_t size = 0;
  Hash root{};
  Hash digest{};  // of the note: what PCR and NV index are extended by
  std::uint32_t reset_count = 0;
  std::uint32_t restart_count = 0;
  std::uint64_t number = 0;  // j: 1, 2, ... within one boot
  Hash pcr_before{};         // P_(j-1)
  std::uint64_t anchor = 0;  // 0: PCR only; counted within the epoch
  std::uint64_t epoch = 0;   // written from 1 on
};
[[nodiscard]] std::string EncodeIntent(const IntentEntry& intent);
// kCorrupt: not such a payload. kDenied: well-formed, but the note is not this log's, or the members do not agree with
// it.
[[nodiscard]] Result<IntentEntry> DecodeIntent(std::string_view payload, const ledger::VerifyKey& key);

struct ReceiptEntry {
  std::uint64_t number = 0;
  std::uint64_t size = 0;  // of the checkpoint
  Hash digest{};
  Hash pcr{};                 // the anchor's PCR when quoted
  Hash index{};               // X_a
  std::uint64_t counter = 0;  // C = C0 + a
  bool late = false;          // finished by recovery: the quoted PCR is not the one right after this checkpoint
  std::uint32_t reset_count = 0;
  std::uint32_t restart_count = 0;
  std::uint64_t clock_ms = 0;
  std::int64_t wall_ns = 0;
  TpmAttestation quote;
  TpmAttestation certify_counter;
  TpmAttestation certify_index;
  std::uint64_t epoch = 0;  // written from 1 on
};
[[nodiscard]] std::string EncodeReceipt(const ReceiptEntry& receipt);
[[nodiscard]] Result<ReceiptEntry> DecodeReceipt(std::string_view payload);  // kCorrupt

enum class Purpose { kReceiptQuote, kCertifyCounter, kCertifyIndex, kAudit };
[[nodiscard]] Hash QualifyingData(Purpose purpose, const Hash& log_id, std::uint64_t anchor, const Hash& digest,
                                  const Hash& nonce);

// What a receipt is measured against: the provisioning record's pins.
struct ReceiptPins {
  Hash log_id{};
  std::string ak_public_pem;
  std::uint32_t pcr = 14;
  Bytes counter_name;
  Bytes index_name;
  std::uint64_t counter_start = 0;  // C0
  std::uint64_t epoch = 0;
};
// A receipt for anchor a counts only if the attestation key signed all three structures over this log's qualifying
// data, the certified C is C0 + a, the certified X is the receipt's, and all name one resetCount. kDenied says which
// fails. Its clock must not be ahead of the quote's. The quoted PCR values, where the quote carries them, must include the receipt's own.
[[nodiscard]] Result<void> CheckReceipt(const ReceiptEntry& receipt, const ReceiptPins& pins);

// What an auditor's nonce got from the TPM (attest.json of a bundle, GET /api/v1/attest; docs/format.md). All three
// structures are signed over QualifyingData(kAudit, log_id, anchor, digest, nonce).
struct AuditEntry {
  Hash log_id{};
  std::string origin;
  Hash nonce{};
  std::uint64_t anchor = 0;  // the newest receipted anchor, 0: none
  Hash digest{};             // of `note`
  std::string note;          // the newest checkpoint in the PCR
  std::uint32_t pcr = 14;
  std::uint64_t counter = 0;
  Hash index{};
  std::uint32_t reset_count = 0;
  std::uint32_t restart_count = 0;
  std::uint64_t clock_ms = 0;
  std::int64_t wall_ns = 0;
  std::string demand;  // made refused not_asked: the anchor that was asked for with the nonce
  std::string demand_text;
  TpmAttestation quote;
  TpmAttestation certify_counter;
  TpmAttestation certify_index;
  std::uint64_t epoch = 0;  // written from 1 on
};
[[nodiscard]] std::string EncodeAudit(const AuditEntry& audit);
[[nodiscard]] Result<AuditEntry> DecodeAudit(std::string_view text);  // kCorrupt

// A register's next value, PCR and NV index alike: SHA-256(old || digest).
[[nodiscard]] Hash Extended(const Hash& old, const Hash& digest);

}  // namespace stele::anchor
