// Makes a bundle, piece by piece, so that one of any size is written in bounded memory: head, chunks of records, end.
// Pure: the pieces come from the caller. Nothing here is trusted by the verifier. Thread safety: one thread.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "appliance/anchor/entries.h"
#include "appliance/anchor/provisioning_record.h"
#include "appliance/evidence/bundle_format.h"
#include "appliance/evidence/event_log.h"

namespace stele::evidence {

// Members to archive bytes; keeps the manifest.
class BundleWriter {
 public:
  explicit BundleWriter(std::int64_t created_ns) : time_s_(created_ns / 1'000'000'000) {}
  // Appends one member to `out`. In archive order (programmer's error otherwise).
  void Add(const Member& member, ByteView content, Bytes& out);
  // The manifest and the archive's end.
  void Finish(Bytes& out);

 private:
  void Append(std::string_view name, ByteView content, Bytes& out) const;
  std::int64_t time_s_;
  std::optional<Member> last_;
  struct Listed {
    std::string name;
    std::uint64_t size_bytes = 0;
    Hash digest{};
  };
  std::vector<Listed> files_;
};

// Everything before the records.
struct BundleHead {
  BundleInfo info;
  anchor::SignedRecord record;
  std::vector<anchor::SignedRecord> epochs;  // of each later epoch, in order
  std::string ek_chain_pem;
  std::string vkey;
  anchor::AuditEntry audit;
  std::optional<std::string> receipt;         // payload of the newest anchor entry
  std::optional<std::string> receipt_before;  // of anchor info.anchors_first - 1
  std::vector<AnchorEvent> anchors;
  std::vector<CheckpointEvent> events;
  Bytes boot_log;
  std::string cosigned_note;  // the newest checkpoint with a quorum of cosignatures, at most as large as the quoted one
  std::string witness_policy;  // the box's own, for information
  bool verify_page = false;    // whether verify.html will come at the end: the README says so
  std::vector<std::pair<std::uint64_t, std::vector<Hash>>> proofs;  // sequence, inclusion proof in the checkpoint
};
// provisioning/epochs.json.
[[nodiscard]] std::string EncodeEpochs(const std::vector<anchor::SignedRecord>& epochs);
// kCorrupt: the provisioning record or what the TPM said does not parse.
[[nodiscard]] Result<void> WriteHead(const BundleHead& head, BundleWriter& writer, Bytes& out);

// Gathers entries until a chunk is full.
class ChunkWriter {
 public:
  explicit ChunkWriter(bool payloads, std::uint64_t number = 0) : payloads_(payloads), number_(number) {}
  [[nodiscard]] bool empty() const { return count_ == 0; }
  // Whether a record of this size still belongs into the chunk.
  [[nodiscard]] bool HasRoom(std::size_t payload_bytes) const;
  // `gap`: the hashes between the entry before and this one (tree_walk.h).
  void Add(const record::EntryBytes& entry, const record::Salt& salt, const record::Peer& peer, ByteView payload,
           const std::vector<Hash>& gap);
  // Appends the chunk's members and begins the next.
  void Take(BundleWriter& writer, Bytes& out);

 private:
  bool payloads_;
  std::uint64_t number_;
  std::size_t count_ = 0;
  Bytes entries_;
  Bytes tree_;
  Bytes salts_;
  Bytes peers_;
  Bytes payload_bytes_;
};

// The gap behind the last entry; after the last chunk.
void WriteEndTree(const std::vector<Hash>& gap, BundleWriter& writer, Bytes& out);

// https://c2sp.org/tlog-proof: an inclusion proof with the checkpoint it leads to, as one text.
[[nodiscard]] std::string TlogProof(std::uint64_t sequence, const std::vector<Hash>& proof, std::string_view note);

}  // namespace stele::evidence
