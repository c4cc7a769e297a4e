// Signed syslog (RFC 5848) as bytes: the Signature Block (SD-ID `ssign`, section 4.2) and the Certificate Block
// (`ssign-cert`, section 5.3.2) of one syslog message.
//
//   ssign       VER RSID SG SPRI GBC FMN CNT HB SIGN              HB: CNT hashes in base64, one space between
//   ssign-cert  VER RSID SG SPRI TPBL INDEX FLEN FRAG SIGN        FRAG: FLEN octets of the Payload Block, from INDEX
//   (1...) VER         "01", hash "1" = SHA-1 or "2" = SHA-256, scheme "1" = OpenPGP DSA SIGN        base64 of two
//   OpenPGP multiprecision integers, r and s (RFC 4880 section 3.2). The signature is over the
//               whole message without ` SIGN="..."` (section 4.2.8), by the hash that VER names
//
// Parameters may come in any order, each exactly once and no other. A DER signature (what NetBSD's syslogd writes) is
// taken too. Blocks say which messages were sent; nothing here decides whether a message is kept.
//
// Pure and total. Views point into the message.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "appliance/base/bytes.h"

namespace stele::ingest {

enum class BlockHash : std::uint8_t { kSha1, kSha256 };

using MessageDigest = Hash;  // SHA-1: 20 bytes and then zeros
// Of a syslog message as it is stored: without its framing (section 4.2.7).
[[nodiscard]] MessageDigest DigestOf(BlockHash hash, ByteView message);

// One signer's numbering: a Signature Group (section 4.2.3).
struct SignatureGroup {
  std::uint8_t kind = 0;      // SG, 0 to 3
  std::uint8_t priority = 0;  // SPRI, 0 to 191
  auto operator<=>(const SignatureGroup&) const = default;
};

struct SignedBlock {
  bool is_certificate = false;
  std::string_view host, app, pid;  // whose counters these are; empty: NILVALUE
  BlockHash hash = BlockHash::kSha1;
  std::uint64_t session = 0;  // RSID; 0: the signer cannot count its reboots
  SignatureGroup group;

  std::uint64_t block_number = 0;   // GBC
  std::uint64_t first_message = 0;  // FMN, from 1
  std::vector<MessageDigest> hashes;

  std::uint32_t payload_bytes = 0;   // TPBL
  std::uint32_t fragment_first = 0;  // INDEX, from 1
  std::string_view fragment;

  // What is signed: these two, one after the other.
  std::string_view signed_head, signed_tail;
  Bytes signature;  // r and s as DER (RFC 3279 section 2.2.2), whatever the message has
};

struct SignedBlockReading {
  enum class Word : std::uint8_t {
    kNone,         // an ordinary message
    kBlock,        // `block` is whole and within the bounds of RFC 5848
    kUnsupported,  // a version, hash or signature scheme that is not known here
    kMalformed,    // claims to be a block and is none
  };
  Word word = Word::kNone;
  const char* reason = "";  // of the last two
  SignedBlock block;
};
[[nodiscard]] SignedBlockReading ReadSignedBlock(ByteView message);

// Whether ReadSignedBlock() can say anything but kNone, in one short search: an SD-ID beyond the first KiB is not
// found.
[[nodiscard]] bool MayBeSignedBlock(ByteView message);

// A signature and the digest it is about: all that must be kept of a block to judge it later.
struct SignatureProof {
  Bytes signature;
  MessageDigest digest{};
  std::size_t digest_bytes = 0;
};
[[nodiscard]] SignatureProof ProofOf(const SignedBlock& block);

// The Payload Block (section 5.2.1): TIMESTAMP SP type SP key blob in base64. Absent when it is none.
struct PayloadBlock {
  char key_type = 'N';  // C: certificate, P: OpenPGP, K: public key, N: none, U: agreed elsewhere
  Bytes key_blob;
};
[[nodiscard]] std::optional<PayloadBlock> ReadPayloadBlock(std::string_view text);

// Two multiprecision integers, exactly, as DER; also takes DER. Absent for anything else.
[[nodiscard]] std::optional<Bytes> DsaSignatureDer(ByteView signature);

// The next multiprecision integer, big-endian, taken off the front; absent when it is cut or above `bits_max`. The
// count of bits is exact, or that of whole octets as in the RFC's own example.
[[nodiscard]] std::optional<ByteView> TakeMpi(ByteView& bytes, std::size_t bits_max);

}  // namespace stele::ingest
