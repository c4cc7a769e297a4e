// The anchor's own memory of what it signed last, in two slots written in turn, so that one of them is always whole.
//
//   slot  := magic[8]="STLSLOT1" generation:u64 log_id[32] size:u64 root[32] frontier_count:u8 frontier[32]*count
//            number:u64 anchor:u64 index[32] counter:u64 pcr[32] reset_count:u32 restart_count:u32 clock_ms:u64
//            wall_ns:i64 mac[32]                                                      little-endian, at most 2.3 KiB
//   mac   := HMAC-SHA-256(slot key, everything before)
//
// The slot is persisted *before* the signature leaves: a signed checkpoint is never unknown to its signer. The slots
// lie on another partition than the log, so a log rolled back alone is seen even within one boot.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "appliance/base/seams.h"

namespace stele::anchor {

struct SlotState {
  std::uint64_t generation = 0;
  Hash log_id{};
  std::uint64_t size = 0;
  Hash root{};
  std::vector<Hash> frontier;  // compact range [0, size)
  std::uint64_t number = 0;    // q: this checkpoint's number within its boot
  std::uint64_t anchor = 0;    // a: anchors intended, this one included
  Hash index{};                // X before this checkpoint
  std::uint64_t counter = 0;   // C before
  Hash pcr{};                  // P before
  std::uint32_t reset_count = 0;
  std::uint32_t restart_count = 0;
  std::uint64_t clock_ms = 0;  // TPM clock
  std::int64_t wall_ns = 0;
};
[[nodiscard]] Bytes EncodeSlot(const SlotState& state, ByteView key);
[[nodiscard]] Result<SlotState> DecodeSlot(ByteView bytes, ByteView key);  // kCorrupt: torn, altered, or another key

class SlotPair {
 public:
  // The slots and the key must outlive the pair.
  SlotPair(StateSlot& first, StateSlot& second, ByteView key) : slots_{&first, &second}, key_(key) {}

  struct Loaded {
    std::optional<SlotState> newest;
    int unreadable = 0;  // present but damaged, or not readable
  };
  // Reads both; remembers which is older.
  [[nodiscard]] Loaded Load();
  // Writes over the older one and numbers the state. After an error the other slot still holds the last state and the
  // next Store goes to the same slot again.
  [[nodiscard]] Result<void> Store(SlotState state);

 private:
  StateSlot* slots_[2];
  ByteView key_;
  std::size_t older_ = 0;
  std::uint64_t generation_ = 0;
};

// A slot in a file, replaced whole (temporary file, fsync, rename, fsync of the directory).
class FileSlot final : public StateSlot {
 public:
  explicit FileSlot(std::filesystem::path path) : path_(std::move(path)) {}
  [[nodiscard]] Result<Bytes> Load() override;
  [[nodiscard]] Result<void> Store(ByteView data) override;

 private:
  std::filesystem::path path_;
};

}  // namespace stele::anchor
