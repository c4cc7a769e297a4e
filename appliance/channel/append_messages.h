// Appending to the log: from stele-receive and stele-query to stele-ledger.
//
//   kDeclareSource := local:u32 description:sized            JSON without "source"; before its first use on this channel
//   kRecords       := frame_id:u64 salt_key[16] wants:u8 count:u32 record*count     wants: bit 0 an answer soon, bit 1 leaf hashes
//   record         := kind:u8 flags:u16 source_local:u32 receive_wall_ns:i64 peer[18] commitment[32] length:u32 payload
//   kLargeRecord   := frame_id:u64 salt_key[16] wants:u8 record-header total_length:u32 offset:u32 part   in order, one at a time
//   kCounters      := JSON {"listeners":[...]}               for status
//   kSettle        := loss_frame_id:u64                       first on a receiver's channel; nothing of it is committed before the answer
//   kReceipt       := frame_id:u64 first:u32 leaf_hash[32]*  of records first, first + 1, ... of a frame that wants them; in order, all
//                                                            before the frame's kCommitted
//   kCommitted     := frame_id:u64 first_sequence:u64 count:u32
//   kRefused       := frame_id:u64 reason:sized               nothing of the frame was stored
//   kCheckpointNote := note                                   the newest signed note, once it is in the log; to receivers
//   kSettled       := epoch:u64 loss_frame_committed:u8 count:u32 { listener:sized records:u64 }*count
//                     records nobody waited for, committed from this receiver's earlier channels since the ledger's start `epoch`
//
// Record i of a frame has the salt AES-128(salt_key, i). Source 0 is "no source" (Stele's own entries). Frames are
// committed in order; at most `credits` are open. The kinds a channel may append are fixed when the channel is made.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "appliance/base/bytes.h"
#include "appliance/record/entry.h"

namespace stele::channel {

inline constexpr std::size_t kRecordHeaderBytes = 1 + 2 + 4 + 8 + record::kPeerBytes + kHashBytes + 4;
inline constexpr std::size_t kRecordsHeaderBytes = 8 + 16 + 1 + 4;

// Bits of `wants`.
inline constexpr std::uint8_t kWantsAck = 1;     // commit soon, somebody waits
inline constexpr std::uint8_t kWantsLeaves = 2;  // answer with the records' leaf hashes: 32 bytes each

struct AppendRecord {
  record::Kind kind = record::Kind::kSyslog;
  std::uint16_t flags = 0;
  std::uint32_t source_local = 0;
  std::int64_t receive_wall_ns = 0;
  record::Peer peer{};
  Hash commitment{};
  ByteView payload;
};

// Builds kRecords bodies; no allocation per record, and none per frame where spent bodies are given back.
class FrameBuilder {
 public:
  FrameBuilder();
  void Start(std::uint64_t frame_id, const record::SaltKey& salt_key);
  // False when the record does not fit any more (send first) — or never will: see FitsAlone().
  [[nodiscard]] bool Add(record::Kind kind, std::uint16_t flags, std::uint32_t source_local, std::int64_t receive_wall_ns,
                         const record::Peer& peer, ByteView payload);
  [[nodiscard]] static bool FitsAlone(std::size_t payload_bytes);
  // Computes the commitments (two streams at a time) and returns the body. The builder is empty then.
  [[nodiscard]] Bytes Finish(std::uint8_t wants);
  void Reuse(Bytes spent);  // between Finish() and Start(): the buffer for the next frame
  [[nodiscard]] std::uint32_t count() const { return count_; }
  [[nodiscard]] std::uint64_t frame_id() const { return frame_id_; }
  [[nodiscard]] std::size_t size_bytes() const { return body_.size(); }

 private:
  Bytes body_;
  std::vector<std::uint32_t> offsets_;  // of each record's header
  std::vector<record::Salt> salts_;
  record::SaltKey salt_key_{};
  std::uint64_t frame_id_ = 0;
  std::uint32_t count_ = 0;
};

// A message too large for one frame, cut into kLargeRecord bodies.
[[nodiscard]] std::vector<Bytes> CutLargeRecord(std::uint64_t frame_id, const record::SaltKey& salt_key, std::uint8_t wants,
                                                record::Kind kind, std::uint16_t flags, std::uint32_t source_local,
                                                std::int64_t receive_wall_ns, const record::Peer& peer, ByteView payload);

struct RecordsFrame {
  std::uint64_t frame_id = 0;
  record::SaltKey salt_key{};
  bool wants_ack = false;
  bool wants_leaves = false;
  std::vector<AppendRecord> records;  // payloads view into the body
};
// Total; kInvalid names what is wrong. `out` is reused between calls.
[[nodiscard]] Result<void> DecodeRecords(ByteView body, RecordsFrame& out);

struct LargePart {
  std::uint64_t frame_id = 0;
  record::SaltKey salt_key{};
  bool wants_ack = false;
  bool wants_leaves = false;
  AppendRecord header;  // payload = this part
  std::uint32_t total_length = 0;
  std::uint32_t offset = 0;
};
[[nodiscard]] Result<LargePart> DecodeLargePart(ByteView body);

struct DeclareSource {
  std::uint32_t local = 0;
  std::string description;
};
[[nodiscard]] Bytes EncodeDeclareSource(const DeclareSource& source);
[[nodiscard]] Result<DeclareSource> DecodeDeclareSource(ByteView body);

struct Committed {
  std::uint64_t frame_id = 0;
  std::uint64_t first_sequence = 0;
  std::uint32_t count = 0;
};
[[nodiscard]] Bytes EncodeCommitted(const Committed& committed);
[[nodiscard]] Result<Committed> DecodeCommitted(ByteView body);

// The leaf hashes of one frame, cut so that each part fits a channel frame.
inline constexpr std::size_t kReceiptLeavesMax = 1'024;
struct Receipt {
  std::uint64_t frame_id = 0;
  std::uint32_t first = 0;    // index in the frame of the first leaf here
  std::vector<Hash> leaves;
};
[[nodiscard]] std::vector<Bytes> EncodeReceipts(std::uint64_t frame_id, std::span<const Hash> leaves);
[[nodiscard]] Result<Receipt> DecodeReceipt(ByteView body);

inline constexpr std::size_t kNoteBytesMax = std::size_t{8} * 1024;
[[nodiscard]] Result<std::string> DecodeCheckpointNote(ByteView body);  // the body is the note

struct Refused {
  std::uint64_t frame_id = 0;
  std::string reason;
};
[[nodiscard]] Bytes EncodeRefused(const Refused& refused);
[[nodiscard]] Result<Refused> DecodeRefused(ByteView body);

// What became of a receiver's earlier channels, so that the next receiver can say what was lost with the one before.
struct Settle {
  std::uint64_t loss_frame_id = 0;  // 0: none was under way
};
[[nodiscard]] Bytes EncodeSettle(const Settle& settle);
[[nodiscard]] Result<Settle> DecodeSettle(ByteView body);

struct Settled {
  std::uint64_t epoch = 0;  // of this start of the ledger, never 0
  bool loss_frame_committed = false;
  std::map<std::string, std::uint64_t> committed;  // by listener; loss entries not counted
};
[[nodiscard]] Bytes EncodeSettled(const Settled& settled);
[[nodiscard]] Result<Settled> DecodeSettled(ByteView body);

// ledger -> query after each commit (coalesced): how far readers may read.
struct Position {
  std::uint64_t size = 0;
};
[[nodiscard]] Bytes EncodePosition(const Position& position);
[[nodiscard]] Result<Position> DecodePosition(ByteView body);

}  // namespace stele::channel
