// SHA-256 behind one seam: OpenSSL with the digest fetched once, and a SHA-NI implementation that runs two independent
// messages at a time (two chains hide the latency of the instruction). Both give the same bytes; SelfTest() proves it at
// start-up. RFC 6962 section 2.1 for the domain separation of leaves and nodes.
// Thread safety: free functions are safe; a Sha256 object belongs to one thread.
#pragma once

#include <initializer_list>

#include "appliance/base/bytes.h"

namespace stele {

[[nodiscard]] Hash Sha256Of(ByteView data);
[[nodiscard]] Hash Sha256Of(std::initializer_list<ByteView> parts);  // of the concatenation

// Two independent messages, each of two parts (a fixed-size prefix and a body), hashed together.
struct HashJob {
  ByteView prefix;  // at most 64 bytes go the fast way
  ByteView body;
};
[[nodiscard]] Hash Sha256Of(const HashJob& job);
void Sha256Pair(const HashJob& first, const HashJob& second, Hash& first_out, Hash& second_out);

// HMAC-SHA-256 (RFC 2104).
[[nodiscard]] Hash HmacSha256(ByteView key, std::initializer_list<ByteView> parts);

// RFC 6962 section 2.1: leaf = SHA-256(0x00 || data), node = SHA-256(0x01 || left || right), empty tree = SHA-256().
[[nodiscard]] Hash LeafHash(ByteView data);
[[nodiscard]] Hash NodeHash(const Hash& left, const Hash& right);
[[nodiscard]] Hash EmptyTreeHash();

[[nodiscard]] bool HasShaInstructions();
[[nodiscard]] Result<void> HashSelfTest();  // kCorrupt when the two implementations disagree

// XXH3 folded to 32 bits: finds damage, proves nothing.
[[nodiscard]] std::uint32_t Checksum32(ByteView data);
// XXH3 under a seed: recognises what was seen before, proves nothing.
[[nodiscard]] std::uint64_t Fingerprint64(ByteView data, std::uint64_t seed);

}  // namespace stele
