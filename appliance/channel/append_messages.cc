#include "appliance/channel/append_messages.h"

#include <algorithm>
#include <utility>

#include "appliance/base/limits.h"

namespace stele::channel {
namespace {

using record::kPeerBytes;

constexpr std::size_t kTypeBytes = 2;  // the frame's own type precedes every body
constexpr std::size_t kBodyBytesMax = limits::kChannelFrameBytes - kTypeBytes;
constexpr std::size_t kReasonBytesMax = limits::kKiB;
constexpr std::size_t kCommitmentAt = 1 + 2 + 4 + 8 + kPeerBytes;
constexpr std::size_t kPeerAt = 1 + 2 + 4 + 8;
constexpr std::size_t kLargeHeaderBytes = kRecordsHeaderBytes - 4 + kRecordHeaderBytes + 4 + 4;

void WriteRecordHeader(Bytes& out, const AppendRecord& r, std::uint32_t length) {
  std::array<std::byte, kRecordHeaderBytes> raw;
  StoreLittle(raw.data(), static_cast<std::uint8_t>(r.kind));
  StoreLittle(raw.data() + 1, r.flags);
  StoreLittle(raw.data() + 3, r.source_local);
  StoreLittle(raw.data() + 7, r.receive_wall_ns);
  std::memcpy(raw.data() + kPeerAt, r.peer.data(), kPeerBytes);
  std::memcpy(raw.data() + kCommitmentAt, r.commitment.data(), kHashBytes);
  StoreLittle(raw.data() + kCommitmentAt + kHashBytes, length);
  Append(out, raw);
}

// The record header at the reader's place; the length is returned apart. Once per record of a flood: one test of the length.
Result<std::uint32_t> ReadRecordHeader(Reader& in, AppendRecord& out) {
  const ByteView header = in.Raw(kRecordHeaderBytes);
  if (!in.ok()) return Fail(Code::kInvalid, "records: frame cut short");
  const std::byte* const at = header.data();
  const auto kind = LoadLittle<std::uint8_t>(at);
  if (!record::IsKind(kind)) return Fail(Code::kInvalid, "records: unknown kind");
  out.kind = static_cast<record::Kind>(kind);
  out.flags = LoadLittle<std::uint16_t>(at + 1);
  out.source_local = LoadLittle<std::uint32_t>(at + 3);
  out.receive_wall_ns = LoadLittle<std::int64_t>(at + 7);
  std::memcpy(out.peer.data(), at + kPeerAt, kPeerBytes);
  std::memcpy(out.commitment.data(), at + kCommitmentAt, kHashBytes);
  return LoadLittle<std::uint32_t>(at + kCommitmentAt + kHashBytes);
}

}  // namespace

FrameBuilder::FrameBuilder() {
  offsets_.reserve(limits::kChannelFrameRecords);
  salts_.reserve(limits::kChannelFrameRecords);
}

void FrameBuilder::Start(std::uint64_t frame_id, const record::SaltKey& salt_key) {
  frame_id_ = frame_id;
  salt_key_ = salt_key;
  count_ = 0;
  offsets_.clear();
  body_.reserve(limits::kChannelFrameBytes);
  body_.assign(kRecordsHeaderBytes, std::byte{0});
}

bool FrameBuilder::FitsAlone(std::size_t payload_bytes) {
  return kRecordsHeaderBytes + kRecordHeaderBytes + payload_bytes <= kBodyBytesMax;
}

bool FrameBuilder::Add(record::Kind kind, std::uint16_t flags, std::uint32_t source_local, std::int64_t receive_wall_ns,
                       const record::Peer& peer, ByteView payload) {
  if (count_ >= limits::kChannelFrameRecords || body_.size() + kRecordHeaderBytes + payload.size() > kBodyBytesMax) {
    return false;
  }
  offsets_.push_back(static_cast<std::uint32_t>(body_.size()));
  AppendRecord r;
  r.kind = kind;
  r.flags = flags;
  r.source_local = source_local;
  r.receive_wall_ns = receive_wall_ns;
  r.peer = peer;
  WriteRecordHeader(body_, r, static_cast<std::uint32_t>(payload.size()));
  Append(body_, payload);
  ++count_;
  return true;
}

Bytes FrameBuilder::Finish(std::uint8_t wants) {
  StoreLittle(body_.data(), frame_id_);
  std::copy(salt_key_.begin(), salt_key_.end(), body_.data() + 8);
  StoreLittle(body_.data() + 24, wants);
  StoreLittle(body_.data() + 25, count_);
  salts_.resize(count_);
  record::DeriveSalts(salt_key_, 0, salts_);
  const auto job = [&](std::uint32_t i, record::CommitmentPrefix& prefix) {
    std::byte* const header = body_.data() + offsets_[i];
    record::Peer peer;
    std::copy_n(header + kPeerAt, kPeerBytes, peer.begin());
    prefix = record::MakeCommitmentPrefix(salts_[i], peer);
    const auto length = LoadLittle<std::uint32_t>(header + kCommitmentAt + kHashBytes);
    return HashJob{prefix, ByteView(header + kRecordHeaderBytes, length)};
  };
  const auto store = [&](std::uint32_t i, const Hash& commitment) {
    std::copy(commitment.begin(), commitment.end(), body_.data() + offsets_[i] + kCommitmentAt);
  };
  for (std::uint32_t i = 0; i < count_; i += 2) {
    const std::uint32_t k = std::min(i + 1, count_ - 1);
    record::CommitmentPrefix first_prefix;
    record::CommitmentPrefix second_prefix;
    Hash first;
    Hash second;
    Sha256Pair(job(i, first_prefix), job(k, second_prefix), first, second);
    store(k, second);
    store(i, first);
  }
  count_ = 0;
  // A full frame leaves in the buffer it was built in; a small one must not hold a large buffer while it waits for its answer.
  if (body_.size() > limits::kChannelFrameBytes / 2) return std::exchange(body_, {});
  return ToBytes(body_);
}

void FrameBuilder::Reuse(Bytes spent) {
  if (spent.capacity() > body_.capacity()) body_.swap(spent);
}

std::vector<Bytes> CutLargeRecord(std::uint64_t frame_id, const record::SaltKey& salt_key, std::uint8_t wants,
                                  record::Kind kind, std::uint16_t flags, std::uint32_t source_local,
                                  std::int64_t receive_wall_ns, const record::Peer& peer, ByteView payload) {
  AppendRecord r;
  r.kind = kind;
  r.flags = flags;
  r.source_local = source_local;
  r.receive_wall_ns = receive_wall_ns;
  r.peer = peer;
  r.commitment = record::CommitPayload(record::DeriveSalt(salt_key, 0), peer, payload);
  std::vector<Bytes> parts;
  std::size_t offset = 0;
  do {
    const std::size_t length = std::min(payload.size() - offset, kBodyBytesMax - kLargeHeaderBytes);
    Bytes body;
    body.reserve(kLargeHeaderBytes + length);
    Writer w(body);
    w.Int(frame_id);
    w.Raw(salt_key);
    w.Int(wants);
    WriteRecordHeader(body, r, static_cast<std::uint32_t>(length));
    w.Int(static_cast<std::uint32_t>(payload.size()));
    w.Int(static_cast<std::uint32_t>(offset));
    w.Raw(payload.subspan(offset, length));
    parts.push_back(std::move(body));
    offset += length;
  } while (offset < payload.size());
  return parts;
}

Result<void> DecodeRecords(ByteView body, RecordsFrame& out) {
  Reader in(body);
  out.frame_id = in.Int<std::uint64_t>();
  const ByteView key = in.Raw(out.salt_key.size());
  std::copy(key.begin(), key.end(), out.salt_key.begin());
  const auto wants = in.Int<std::uint8_t>();
  out.wants_ack = (wants & kWantsAck) != 0;
  out.wants_leaves = (wants & kWantsLeaves) != 0;
  const auto count = in.Int<std::uint32_t>();
  if (!in.ok() || wants > (kWantsAck | kWantsLeaves) || count > limits::kChannelFrameRecords) return Fail(Code::kInvalid, "records: bad frame header");
  out.records.resize(count);  // every field of each is set below
  for (AppendRecord& r : out.records) {
    STELE_TRY(const std::uint32_t length, ReadRecordHeader(in, r));
    r.payload = in.Raw(length);
    if (!in.ok()) return Fail(Code::kInvalid, "records: frame cut short");
  }
  if (!in.AtEnd()) return Fail(Code::kInvalid, "records: bytes left over");
  return {};
}

Result<LargePart> DecodeLargePart(ByteView body) {
  Reader in(body);
  LargePart part;
  part.frame_id = in.Int<std::uint64_t>();
  const ByteView key = in.Raw(part.salt_key.size());
  std::copy(key.begin(), key.end(), part.salt_key.begin());
  const auto wants = in.Int<std::uint8_t>();
  part.wants_ack = (wants & kWantsAck) != 0;
  part.wants_leaves = (wants & kWantsLeaves) != 0;
  STELE_TRY(const std::uint32_t length, ReadRecordHeader(in, part.header));
  part.total_length = in.Int<std::uint32_t>();
  part.offset = in.Int<std::uint32_t>();
  part.header.payload = in.Raw(length);
  const bool fits = wants <= (kWantsAck | kWantsLeaves) && part.total_length <= limits::kMessageBytesCeiling && part.offset <= part.total_length &&
                    length <= part.total_length - part.offset;
  if (!in.AtEnd() || !fits) return Fail(Code::kInvalid, "large record: bad part");
  return part;
}

Bytes EncodeDeclareSource(const DeclareSource& source) {
  Bytes body;
  Writer w(body);
  w.Int(source.local);
  w.Sized(AsBytes(source.description));
  return body;
}

Result<DeclareSource> DecodeDeclareSource(ByteView body) {
  Reader in(body);
  DeclareSource source;
  source.local = in.Int<std::uint32_t>();
  source.description = std::string(AsText(in.Sized(limits::kSourceDescriptionBytes)));
  if (!in.AtEnd()) return Fail(Code::kInvalid, "declare source: bad length");
  return source;
}

Bytes EncodeCommitted(const Committed& committed) {
  Bytes body;
  Writer w(body);
  w.Int(committed.frame_id);
  w.Int(committed.first_sequence);
  w.Int(committed.count);
  return body;
}

Result<Committed> DecodeCommitted(ByteView body) {
  Reader in(body);
  Committed committed;
  committed.frame_id = in.Int<std::uint64_t>();
  committed.first_sequence = in.Int<std::uint64_t>();
  committed.count = in.Int<std::uint32_t>();
  if (!in.AtEnd()) return Fail(Code::kInvalid, "committed: bad length");
  return committed;
}

std::vector<Bytes> EncodeReceipts(std::uint64_t frame_id, std::span<const Hash> leaves) {
  std::vector<Bytes> parts;
  for (std::size_t first = 0; first < leaves.size(); first += kReceiptLeavesMax) {
    Bytes body;
    Writer w(body);
    w.Int(frame_id);
    w.Int(static_cast<std::uint32_t>(first));
    for (const Hash& leaf : leaves.subspan(first, std::min(kReceiptLeavesMax, leaves.size() - first))) w.Raw(leaf);
    parts.push_back(std::move(body));
  }
  return parts;
}

Result<Receipt> DecodeReceipt(ByteView body) {
  Reader in(body);
  Receipt receipt;
  receipt.frame_id = in.Int<std::uint64_t>();
  receipt.first = in.Int<std::uint32_t>();
  const std::size_t count = in.left_bytes() / kHashBytes;
  if (!in.ok() || count == 0 || count > kReceiptLeavesMax || in.left_bytes() != count * kHashBytes ||
      receipt.first + count > limits::kChannelFrameRecords) {
    return Fail(Code::kInvalid, "receipt: bad length");
  }
  receipt.leaves.resize(count);
  for (Hash& leaf : receipt.leaves) leaf = in.ReadHash();
  return receipt;
}

Result<std::string> DecodeCheckpointNote(ByteView body) {
  if (body.empty() || body.size() > kNoteBytesMax) return Fail(Code::kInvalid, "checkpoint note: bad length");
  return std::string(AsText(body));
}

Bytes EncodeRefused(const Refused& refused) {
  Bytes body;
  Writer w(body);
  w.Int(refused.frame_id);
  w.Sized(AsBytes(refused.reason).first(std::min(refused.reason.size(), kReasonBytesMax)));
  return body;
}

Result<Refused> DecodeRefused(ByteView body) {
  Reader in(body);
  Refused refused;
  refused.frame_id = in.Int<std::uint64_t>();
  refused.reason = std::string(AsText(in.Sized(kReasonBytesMax)));
  if (!in.AtEnd()) return Fail(Code::kInvalid, "refused: bad length");
  return refused;
}

Bytes EncodeSettle(const Settle& settle) {
  Bytes body;
  Writer(body).Int(settle.loss_frame_id);
  return body;
}

Result<Settle> DecodeSettle(ByteView body) {
  Reader in(body);
  Settle settle;
  settle.loss_frame_id = in.Int<std::uint64_t>();
  if (!in.AtEnd()) return Fail(Code::kInvalid, "settle: bad length");
  return settle;
}

Bytes EncodeSettled(const Settled& settled) {
  Bytes body;
  Writer w(body);
  w.Int(settled.epoch);
  w.Int(static_cast<std::uint8_t>(settled.loss_frame_committed ? 1 : 0));
  w.Int(static_cast<std::uint32_t>(settled.committed.size()));
  for (const auto& [listener, records] : settled.committed) {
    w.Sized(AsBytes(listener));
    w.Int(records);
  }
  return body;
}

Result<Settled> DecodeSettled(ByteView body) {
  Reader in(body);
  Settled settled;
  settled.epoch = in.Int<std::uint64_t>();
  settled.loss_frame_committed = in.Int<std::uint8_t>() != 0;
  const auto count = in.Int<std::uint32_t>();
  if (!in.ok() || count > limits::kZoneListeners) return Fail(Code::kInvalid, "settled: bad header");
  for (std::uint32_t i = 0; i < count && in.ok(); ++i) {
    const std::string listener(AsText(in.Sized(limits::kListenerNameBytes)));
    settled.committed[listener] = in.Int<std::uint64_t>();
  }
  if (!in.AtEnd()) return Fail(Code::kInvalid, "settled: bad length");
  return settled;
}

Bytes EncodePosition(const Position& position) {
  Bytes body;
  Writer(body).Int(position.size);
  return body;
}

Result<Position> DecodePosition(ByteView body) {
  Reader in(body);
  Position position;
  position.size = in.Int<std::uint64_t>();
  if (!in.AtEnd()) return Fail(Code::kInvalid, "position: bad length");
  return position;
}

}  // namespace stele::channel
