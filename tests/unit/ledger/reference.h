// The tree of RFC 6962 section 2.1, written as the RFC writes it: recursive, slow, and sharing no code with the product but the hash.
#pragma once

#include <random>
#include <span>
#include <vector>

#include "appliance/ledger/merkle.h"
#include "appliance/ledger/sequencer.h"

namespace stele::ledger {

inline std::size_t SlowSplit(std::size_t n) {  // the largest power of two smaller than n
  std::size_t k = 1;
  while (k * 2 < n) k *= 2;
  return k;
}

//= RFC 6962 section 2.1
//# MTH(D[n]) = SHA-256(0x01 || MTH(D[0:k]) || MTH(D[k:n]))
inline Hash SlowRoot(std::span<const Hash> leaves) {
  if (leaves.empty()) return Sha256Of(ByteView());
  if (leaves.size() == 1) return leaves[0];
  const std::size_t k = SlowSplit(leaves.size());
  const std::byte one{1};
  return Sha256Of({ByteView(&one, 1), SlowRoot(leaves.first(k)), SlowRoot(leaves.subspan(k))});
}

//= RFC 6962 section 2.1.1
//# PATH(m, D[n]) = PATH(m, D[0:k]) : MTH(D[k:n]) for m < k
inline std::vector<Hash> SlowPath(std::size_t m, std::span<const Hash> leaves) {
  if (leaves.size() <= 1) return {};
  const std::size_t k = SlowSplit(leaves.size());
  std::vector<Hash> path = m < k ? SlowPath(m, leaves.first(k)) : SlowPath(m - k, leaves.subspan(k));
  path.push_back(m < k ? SlowRoot(leaves.subspan(k)) : SlowRoot(leaves.first(k)));
  return path;
}

//= RFC 6962 section 2.1.2
//# SUBPROOF(m, D[n], b) = SUBPROOF(m, D[0:k], b) : MTH(D[k:n])
inline std::vector<Hash> SlowSubProof(std::size_t m, std::span<const Hash> leaves, bool whole) {
  if (m == leaves.size()) return whole ? std::vector<Hash>() : std::vector<Hash>{SlowRoot(leaves)};
  const std::size_t k = SlowSplit(leaves.size());
  std::vector<Hash> proof = m <= k ? SlowSubProof(m, leaves.first(k), whole) : SlowSubProof(m - k, leaves.subspan(k), false);
  proof.push_back(m <= k ? SlowRoot(leaves.subspan(k)) : SlowRoot(leaves.first(k)));
  return proof;
}

inline std::vector<Hash> SlowConsistency(std::size_t m, std::span<const Hash> leaves) {
  return m == 0 ? std::vector<Hash>() : SlowSubProof(m, leaves, true);
}

// Nodes computed from the leaves each time.
class SlowNodes final : public NodeSource {
 public:
  explicit SlowNodes(std::span<const Hash> leaves) : leaves_(leaves) {}
  Result<Hash> Node(unsigned level, std::uint64_t index) override {
    const std::uint64_t width = std::uint64_t{1} << level;
    if ((index + 1) * width > leaves_.size()) return Fail(Code::kNotFound, "no such node");
    return SlowRoot(leaves_.subspan(index * width, width));
  }

 private:
  std::span<const Hash> leaves_;
};

inline std::vector<Hash> NumberedLeaves(std::size_t count, std::uint64_t salt = 0) {
  std::vector<Hash> leaves;
  for (std::size_t i = 0; i < count; ++i) {
    Bytes raw;
    Writer writer(raw);
    writer.Int(salt);
    writer.Int(static_cast<std::uint64_t>(i));
    leaves.push_back(LeafHash(raw));
  }
  return leaves;
}

// A batch with real payloads, salts and commitments, its columns varied.
inline Batch RandomBatch(std::mt19937_64& random, std::size_t count, std::size_t payload_bytes_max) {
  Batch batch;
  std::size_t i = 0;
  while (i < count) {
    SaltRun run;
    run.first = static_cast<std::uint32_t>(i);
    run.count = static_cast<std::uint32_t>(std::min<std::size_t>(count - i, 1 + random() % 40));
    run.position = static_cast<std::uint32_t>(random() % 1000);
    for (auto& b : run.key) b = static_cast<std::byte>(random() & 0xffU);
    for (std::uint32_t k = 0; k < run.count; ++k, ++i) {
      Bytes payload(payload_bytes_max == 0 ? 0 : random() % (payload_bytes_max + 1));
      for (auto& b : payload) b = static_cast<std::byte>('a' + random() % 20);
      record::Peer peer{};
      if (random() % 8 != 0) {
        peer[10] = peer[11] = std::byte{0xff};
        peer[12] = std::byte{192};
        peer[15] = static_cast<std::byte>(random() % 6);
        peer[17] = static_cast<std::byte>(random() % 2);
      }
      const auto kind = static_cast<record::Kind>(1 + random() % record::kKindMax);
      batch.Add(kind, static_cast<std::uint16_t>(random() % 128), static_cast<std::uint32_t>(random() % 5),
                1'700'000'000'000'000'000 + static_cast<std::int64_t>(random() % 1'000'000'000), peer,
                record::CommitPayload(record::DeriveSalt(run.key, run.position + k), peer, payload), payload);
    }
    batch.salt_runs.push_back(run);
  }
  return batch;
}

}  // namespace stele::ledger
