#include "appliance/store/segment.h"

#include <algorithm>

#include "appliance/base/limits.h"

namespace stele::store {
namespace {

using limits::kSectorBytes;
constexpr std::string_view kMagic = "STELESEG";
constexpr std::uint16_t kVersion = 1;
constexpr std::size_t kChecksumAt = kSectorBytes - 4;
constexpr std::size_t kMacAt = kChecksumAt - kHashBytes;
constexpr std::size_t kFrontierMax = 64;

}  // namespace

Bytes EncodeSuperblock(const Superblock& s, const ledger::MacChain& mac) {
  STELE_CHECK(s.frontier.size() <= kFrontierMax);
  STELE_CHECK(s.abandons.size() <= kSuperblockAbandonsMax);
  Bytes out;
  out.reserve(kSectorBytes);
  Writer w(out);
  w.Raw(AsBytes(kMagic));
  w.Int(kVersion);
  w.Int(std::uint16_t{0});
  w.Int(s.unit);
  w.Int(s.size_bytes);
  w.Raw(s.log_id);
  w.Int(s.first_sequence);
  w.Raw(s.head);
  w.Int(s.created_wall_ns);
  w.Int(s.landmarks.checkpoint);
  w.Int(s.landmarks.previous_checkpoint);
  w.Int(s.landmarks.anchor_checkpoint);
  w.Int(s.landmarks.anchor);
  w.Int(s.landmarks.next_source);
  w.Raw(mac.session());
  w.Int(mac.number());
  w.Int(static_cast<std::uint32_t>(s.frontier.size()));
  for (const Hash& hash : s.frontier) w.Raw(hash);
  w.Int(static_cast<std::uint32_t>(s.abandons.size()));
  for (const ledger::Abandon& abandon : s.abandons) {
    w.Int(abandon.unit);
    w.Int(abandon.from);
    w.Int(abandon.to);
  }
  STELE_CHECK(out.size() <= kMacAt);
  out.resize(kSectorBytes);
  const Hash tag = mac.Mac(ledger::kSuperblockMacLabel, SuperblockMacDigest(out));
  std::copy(tag.begin(), tag.end(), out.begin() + kMacAt);
  StoreLittle(out.data() + kChecksumAt, Checksum32(ByteView(out).first(kChecksumAt)));
  return out;
}

Result<Superblock> DecodeSuperblock(ByteView sector) {
  if (sector.size() < kSectorBytes) return Fail(Code::kCorrupt, "superblock: cut short");
  sector = sector.first(kSectorBytes);
  if (std::all_of(sector.begin(), sector.end(), [](std::byte b) { return b == std::byte{0}; })) {
    return Fail(Code::kNotFound, "superblock: nothing written");
  }
  if (LoadLittle<std::uint32_t>(sector.data() + kChecksumAt) != Checksum32(sector.first(kChecksumAt))) {
    return Fail(Code::kCorrupt, "superblock: wrong checksum");
  }
  Reader in(sector.first(kMacAt));
  Superblock s;
  if (AsText(in.Raw(kMagic.size())) != kMagic) return Fail(Code::kCorrupt, "superblock: wrong magic");
  if (in.Int<std::uint16_t>() != kVersion) return Fail(Code::kCorrupt, "superblock: unknown version");
  if (in.Int<std::uint16_t>() != 0) return Fail(Code::kCorrupt, "superblock: reserved bits set");
  s.unit = in.Int<std::uint32_t>();
  s.size_bytes = in.Int<std::uint64_t>();
  s.log_id = in.ReadHash();
  s.first_sequence = in.Int<std::uint64_t>();
  s.head = in.ReadHash();
  s.created_wall_ns = in.Int<std::int64_t>();
  s.landmarks.checkpoint = in.Int<std::uint64_t>();
  s.landmarks.previous_checkpoint = in.Int<std::uint64_t>();
  s.landmarks.anchor_checkpoint = in.Int<std::uint64_t>();
  s.landmarks.anchor = in.Int<std::uint64_t>();
  s.landmarks.next_source = in.Int<std::uint32_t>();
  s.session = in.ReadHash();
  s.session_block = in.Int<std::uint64_t>();
  const auto frontier_count = in.Int<std::uint32_t>();
  if (frontier_count > kFrontierMax) return Fail(Code::kCorrupt, "superblock: impossible counts");
  s.frontier.resize(frontier_count);
  for (Hash& hash : s.frontier) hash = in.ReadHash();
  const auto abandon_count = in.Int<std::uint32_t>();
  if (abandon_count > kSuperblockAbandonsMax) return Fail(Code::kCorrupt, "superblock: impossible counts");
  s.abandons.resize(abandon_count);
  for (ledger::Abandon& abandon : s.abandons) {
    abandon.unit = in.Int<std::uint32_t>();
    abandon.from = in.Int<std::uint64_t>();
    abandon.to = in.Int<std::uint64_t>();
  }
  if (!in.ok()) return Fail(Code::kCorrupt, "superblock: cut short");
  while (in.left_bytes() > 0) {
    if (in.Int<std::uint8_t>() != 0) return Fail(Code::kCorrupt, "superblock: padding is not zero");
  }
  std::copy_n(sector.begin() + kMacAt, kHashBytes, s.mac.begin());
  return s;
}

Result<Superblock> ReadSuperblock(Device& device) {
  Bytes sector(limits::kSectorBytes);
  if (device.size_bytes() < sector.size()) return Fail(Code::kNotFound, "superblock: nothing written");
  STELE_TRY_VOID(device.Read(0, sector));
  return DecodeSuperblock(sector);
}

Hash SuperblockMacDigest(ByteView sector) { return Sha256Of(sector.first(kMacAt)); }

}  // namespace stele::store
