// The entries and what they hold: one pass over all chunks, in memory of one.
#include <algorithm>

#include "appliance/evidence/bundle_writer.h"
#include "appliance/evidence/verify_state.h"

namespace stele::evidence {
namespace {

std::size_t IndexOf(Part part) { return static_cast<std::size_t>(part) - static_cast<std::size_t>(Part::kEntries); }

// The hashes between the head of a tlog-proof and its blank line; the caller compares the whole with the one right form.
std::vector<Hash> ProofHashes(std::string_view text) {
  std::vector<Hash> hashes;
  for (int line = 0; !text.empty() && hashes.size() < 64; ++line) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view one = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line < 2) continue;
    const auto bytes = ParseBase64(one, kHashBytes);
    if (!bytes || bytes->size() != kHashBytes) break;
    Hash hash{};
    std::copy(bytes->begin(), bytes->end(), hash.begin());
    hashes.push_back(hash);
  }
  return hashes;
}

}  // namespace

RecordsCheck::RecordsCheck(VerifyState& state) : state_(state) {
  if (!state_.info || !state_.checkpoint) return;
  const std::uint64_t size = state_.checkpoint->checkpoint.size;
  if (!state_.info->marks.empty() && state_.info->marks.back() > size) {
    Fail("bundle.json marks a size that the checkpoint does not have", "bundle.json");
    return;
  }
  walk_ = TreeWalk(size, state_.info->marks);
  ready_ = true;
}

void RecordsCheck::Fail(std::string detail, std::string place) {
  state_.checks.Fail("records", "TAMPERED", std::move(detail), std::move(place));
}

void RecordsCheck::TakeProof(std::uint64_t sequence, ByteView content) {
  const std::string place = NameOf({Part::kProof, sequence});
  std::vector<Hash> hashes = ProofHashes(AsText(content));
  if (TlogProof(sequence, hashes, state_.TextOf(Part::kCheckpoint)) != AsText(content)) {
    return state_.checks.Fail("proofs", "TAMPERED", "not a tlog-proof of this entry in this checkpoint", place);
  }
  proofs_.emplace(sequence, std::move(hashes));
}

void RecordsCheck::Take(const Member& member, Bytes content) {
  if (!ready_ || state_.checks.Failed("records")) return;
  if (member.part == Part::kEndTree) return TakeEnd(content);
  const std::string name = NameOf(member);
  if (member.number != next_chunk_ || member.part != next_part_) {
    return Fail("not the next part of the records", name);
  }
  parts_[IndexOf(member.part)] = std::move(content);
  const Part last = state_.info->payloads ? Part::kPayloads : Part::kTree;
  if (member.part != last) {
    next_part_ = static_cast<Part>(static_cast<int>(member.part) + 1);
    return;
  }
  place_.clear();
  if (const auto checked = CheckChunk(); !checked) {
    return Fail(checked.error().context, place_.empty() ? NameOf({Part::kEntries, member.number}) : place_);
  }
  for (Bytes& part : parts_) part.clear();
  next_part_ = Part::kEntries;
  ++next_chunk_;
}

void RecordsCheck::TakeEnd(ByteView tree) {
  ended_ = true;
  if (next_part_ != Part::kEntries) return Fail("the last chunk is not whole", NameOf({next_part_, next_chunk_}));
  Reader hashes(tree);
  const auto skipped = walk_.SkipTo(state_.facts.size, hashes);
  if (!skipped || !hashes.AtEnd()) Fail("not exactly the hashes behind the last entry", NameOf({Part::kEndTree}));
}

Result<void> RecordsCheck::CheckChunk() {
  const Bytes& entries = parts_[IndexOf(Part::kEntries)];
  const std::size_t count = entries.size() / record::kEntryBytes;
  if (count == 0 || entries.size() % record::kEntryBytes != 0) return tl::unexpected(Error{Code::kInvalid, "not whole entries"});
  const bool payloads = state_.info->payloads;
  if (payloads && (parts_[IndexOf(Part::kSalts)].size() != count * record::kSaltBytes ||
                   parts_[IndexOf(Part::kPeers)].size() != count * record::kPeerBytes)) {
    return tl::unexpected(Error{Code::kInvalid, "not one salt and one peer for each entry"});
  }
  Reader tree(parts_[IndexOf(Part::kTree)]);
  std::size_t payload_at = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const ByteView bytes = ByteView(entries).subspan(i * record::kEntryBytes, record::kEntryBytes);
    STELE_TRY(const record::Entry entry, record::DecodeEntry(bytes));
    place_ = "record " + std::to_string(entry.sequence);
    STELE_TRY_VOID(walk_.SkipTo(entry.sequence, tree));
    if (entry.sequence >= state_.facts.size) return tl::unexpected(Error{Code::kInvalid, "it lies above the checkpoint"});
    const Hash leaf = LeafHash(bytes);
    STELE_TRY_VOID(CheckEntry(entry, leaf));
    walk_.Push(leaf);
    if (payloads) STELE_TRY_VOID(CheckPayload(entry, i, payload_at));
    NoteEntry(entry);
  }
  place_.clear();
  if (!tree.AtEnd()) return tl::unexpected(Error{Code::kInvalid, "the tree's hashes are not exactly those needed"});
  if (payload_at != parts_[IndexOf(Part::kPayloads)].size()) {
    return tl::unexpected(Error{Code::kInvalid, "the payloads are not as long as their entries say"});
  }
  return {};
}

// Its place in the chain, as far as its neighbour is here.
Result<void> RecordsCheck::CheckEntry(const record::Entry& entry, const Hash& leaf) {
  const Hash* before = nullptr;
  if (!last_sequence_) {
    if (entry.sequence != 0) return tl::unexpected(Error{Code::kDenied, "entry 0, which names the log, is missing"});
    before = &state_.info->log_id;
  } else if (entry.sequence == *last_sequence_ + 1) {
    before = &last_leaf_;
  }
  if (before != nullptr && entry.previous != *before) {
    return tl::unexpected(Error{Code::kDenied, entry.sequence == 0 ? "entry 0 is of another log" : "the chain breaks here"});
  }
  last_sequence_ = entry.sequence;
  last_leaf_ = leaf;
  if (proofs_.contains(entry.sequence)) proven_leaves_.emplace(entry.sequence, leaf);
  return {};
}

Result<void> RecordsCheck::CheckPayload(const record::Entry& entry, std::size_t i, std::size_t& payload_at) {
  const Bytes& payloads = parts_[IndexOf(Part::kPayloads)];
  if (entry.payload_length > payloads.size() - payload_at) return tl::unexpected(Error{Code::kInvalid, "its payload is cut short"});
  const ByteView payload = ByteView(payloads).subspan(payload_at, entry.payload_length);
  payload_at += entry.payload_length;
  record::Salt salt;
  record::Peer peer;
  std::copy_n(parts_[IndexOf(Part::kSalts)].begin() + static_cast<std::ptrdiff_t>(i * salt.size()), salt.size(), salt.begin());
  std::copy_n(parts_[IndexOf(Part::kPeers)].begin() + static_cast<std::ptrdiff_t>(i * peer.size()), peer.size(), peer.begin());
  if (record::CommitPayload(salt, peer, payload) != entry.commitment) {
    return tl::unexpected(Error{Code::kDenied, "its payload is not the one it commits to"});
  }
  ++state_.facts.disclosed;
  return {};
}

void RecordsCheck::NoteEntry(const record::Entry& entry) {
  Facts& facts = state_.facts;
  ++facts.records;
  ++facts.kinds[record::KindName(entry.kind)];
  if (entry.sequence == 0) return;
  const bool first = facts.last_sequence == 0;
  facts.contiguous = first || (facts.contiguous && entry.sequence == facts.last_sequence + 1);
  if (first) facts.first_sequence = entry.sequence;
  facts.last_sequence = entry.sequence;
  facts.first_wall_ns = first ? entry.receive_wall_ns : std::min(facts.first_wall_ns, entry.receive_wall_ns);
  facts.last_wall_ns = first ? entry.receive_wall_ns : std::max(facts.last_wall_ns, entry.receive_wall_ns);
}

void RecordsCheck::CheckMarks() {
  for (const auto& [size, root] : state_.anchored_roots) {
    const auto proven = state_.facts.roots.find(size);
    const std::string place = "size " + std::to_string(size);
    if (proven == state_.facts.roots.end()) {
      return state_.checks.Fail("marks", "TAMPERED", "no proof that an anchored log of this size is a beginning of this one", place);
    }
    if (proven->second != root) {
      return state_.checks.Fail("marks", "TAMPERED", "an anchored log of this size was another one", place);
    }
  }
  state_.checks.Pass("marks", std::to_string(state_.anchored_roots.size()) + " anchored sizes are beginnings of this log");
}

void RecordsCheck::CheckProofs() {
  for (const auto& [sequence, proof] : proofs_) {
    const auto leaf = proven_leaves_.find(sequence);
    if (leaf == proven_leaves_.end() || !ledger::VerifyInclusion(leaf->second, sequence, state_.facts.size, proof, state_.facts.root)) {
      return state_.checks.Fail("proofs", "TAMPERED", "the proof does not lead from its entry to the checkpoint",
                                NameOf({Part::kProof, sequence}));
    }
  }
  if (!state_.checks.Failed("proofs")) state_.checks.Pass("proofs", std::to_string(proofs_.size()) + " tlog-proofs");
}

void RecordsCheck::Finish() {
  if (!ready_) {
    for (const char* name : {"records", "marks", "proofs"}) state_.checks.Skip(name, "there is no checkpoint to lead to");
    return;
  }
  if (!state_.checks.Failed("records")) {
    if (!ended_) {
      Fail("the end of the records is missing", NameOf({Part::kEndTree}));
    } else if (walk_.end() != state_.facts.size || walk_.Root() != state_.facts.root) {
      Fail("the entries do not lead to the root of the checkpoint");
    } else if (state_.facts.records != state_.info->records) {
      Fail("not as many entries as bundle.json says", "bundle.json");
    }
  }
  if (state_.checks.Failed("records")) {
    state_.checks.Skip("marks", "the records failed");
    state_.checks.Skip("proofs", "the records failed");
    return;
  }
  state_.facts.roots = walk_.roots();
  state_.facts.roots.emplace(walk_.end(), walk_.Root());
  state_.checks.Pass("records", std::to_string(state_.facts.records) + " entries in their places, " +
                                    std::to_string(state_.facts.disclosed) + " payloads as committed");
  CheckMarks();
  CheckProofs();
}

}  // namespace stele::evidence
