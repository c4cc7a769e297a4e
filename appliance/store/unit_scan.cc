#include "appliance/store/unit_scan.h"

#include <algorithm>

#include "appliance/ledger/spine.h"

namespace stele::store {
namespace {

using limits::kSectorBytes;

bool AllZero(ByteView bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

ScanStep Bad(ScanStep::What what, std::uint64_t offset_bytes, std::string detail) {
  ScanStep step;
  step.what = what;
  step.offset_bytes = offset_bytes;
  step.end_bytes = offset_bytes;
  step.detail = std::move(detail);
  return step;
}

}  // namespace

Result<ScanStep> UnitScan::ReadBlockAt(std::uint64_t offset_bytes) {
  Bytes sector(kSectorBytes);
  STELE_TRY_VOID(device_.Read(offset_bytes, sector));
  auto header = ledger::DecodeBlockHeader(sector);
  if (!header) {
    const auto what = header.error().code == Code::kNotFound ? ScanStep::What::kTorn : ScanStep::What::kDamaged;
    return Bad(what, offset_bytes, header.error().context);
  }
  if (header->unit != unit_ || header->offset_bytes != offset_bytes) {
    return Bad(ScanStep::What::kDamaged, offset_bytes, "block: written for another place");
  }
  if (header->size_bytes > device_.size_bytes() - offset_bytes) {
    return Bad(ScanStep::What::kDamaged, offset_bytes, "block: reaches beyond its unit");
  }
  ScanStep step;
  step.offset_bytes = offset_bytes;
  step.end_bytes = offset_bytes + header->size_bytes;
  step.header = *header;
  step.bytes.resize(header->size_bytes);
  STELE_TRY_VOID(device_.Read(offset_bytes, step.bytes));
  auto tables = ledger::DecodeBlockTables(step.header, step.bytes);
  if (!tables) {
    // The tables may lie in sectors that never reached the medium.
    bool zero_sector = false;
    for (std::size_t at = kSectorBytes; at < step.header.header_bytes; at += kSectorBytes) {
      zero_sector = zero_sector || AllZero(ByteView(step.bytes).subspan(at, kSectorBytes));
    }
    ScanStep bad = Bad(zero_sector ? ScanStep::What::kTorn : ScanStep::What::kDamaged, offset_bytes, tables.error().context);
    bad.end_bytes = offset_bytes + header->size_bytes;  // a successor must not lie inside what the header claims
    return bad;
  }
  step.tables = std::move(*tables);
  step.header_good = true;
  step.bad_sectors = ledger::DamagedSectors(step.header, step.tables, step.bytes);
  step.what = ScanStep::What::kBlock;
  if (step.bad_sectors.empty()) return step;
  const bool all_zero = std::all_of(step.bad_sectors.begin(), step.bad_sectors.end(), [&](std::uint32_t sector_index) {
    return AllZero(ByteView(step.bytes).subspan(sector_index * kSectorBytes, kSectorBytes));
  });
  step.what = all_zero ? ScanStep::What::kTorn : ScanStep::What::kDamaged;
  step.detail = "block: " + std::to_string(step.bad_sectors.size()) + " of " +
                std::to_string(step.header.size_bytes / kSectorBytes) + " sectors do not match their checksum";
  return step;
}

Result<bool> UnitScan::BlocksBehind(std::uint64_t from_bytes) {
  const auto header = NextHeader(device_, unit_, from_bytes);
  if (header) return true;
  if (header.error().code == Code::kNotFound) return false;
  return tl::unexpected(header.error());
}

Result<std::uint64_t> UnitScan::LastNonZeroEnd(std::uint64_t from_bytes) {
  std::uint64_t end = from_bytes;
  Bytes part(std::min<std::uint64_t>(limits::kMiB, device_.size_bytes()));
  for (std::uint64_t base = from_bytes; base < device_.size_bytes(); base += part.size()) {
    const std::size_t length = std::min<std::uint64_t>(part.size(), device_.size_bytes() - base);
    const auto view = MutableBytes(part).first(length);
    STELE_TRY_VOID(device_.Read(base, view));
    for (std::size_t i = 0; i < length; i += kSectorBytes) {
      if (!AllZero(ByteView(view).subspan(i, kSectorBytes))) end = base + i + kSectorBytes;
    }
  }
  return end;
}

Result<ScanStep> UnitScan::Next() {
  while (const auto to = AbandonedTo(abandons_, unit_, at_)) {
    if (*to <= at_) break;
    at_ = *to;
  }
  if (at_ + kSectorBytes > device_.size_bytes()) {
    ScanStep end;
    end.offset_bytes = at_;
    end.end_bytes = at_;
    return end;
  }
  STELE_TRY(ScanStep step, ReadBlockAt(at_));
  if (step.what == ScanStep::What::kBlock) {
    at_ = step.end_bytes;
    return step;
  }
  STELE_TRY(const std::uint64_t nonzero_end, LastNonZeroEnd(at_));
  if (nonzero_end == at_) step.what = ScanStep::What::kEnd;
  step.end_bytes = std::max(step.end_bytes, nonzero_end);
  if (step.what == ScanStep::What::kTorn) {
    STELE_TRY(const bool blocks_behind, BlocksBehind(at_ + kSectorBytes));
    if (blocks_behind) {
      step.what = ScanStep::What::kDamaged;
      step.detail += "; later blocks are there";
    }
  }
  return step;
}

std::optional<std::uint64_t> AbandonedTo(const std::vector<ledger::Abandon>& abandons, std::uint32_t unit,
                                         std::uint64_t offset_bytes) {
  for (const ledger::Abandon& abandon : abandons) {
    if (abandon.unit == unit && abandon.from == offset_bytes) return abandon.to;
  }
  return std::nullopt;
}

Result<ledger::BlockHeader> NextHeader(Device& device, std::uint32_t unit, std::uint64_t from_bytes) {
  constexpr std::string_view kMagicStart = "STELEBLK";
  Bytes part;
  std::uint64_t part_bytes = kSectorBytes;  // usually the next block begins right here; only a gap is worth large reads
  for (std::uint64_t base = from_bytes; base + kSectorBytes <= device.size_bytes(); base += part.size()) {
    const std::uint64_t left = (device.size_bytes() - base) / kSectorBytes * kSectorBytes;
    part.resize(std::min(part_bytes, left));
    part_bytes = std::min<std::uint64_t>(part_bytes * 4, limits::kMiB);
    const MutableBytes view(part);
    STELE_TRY_VOID(device.Read(base, view));
    for (std::size_t i = 0; i < view.size(); i += kSectorBytes) {
      const ByteView sector = ByteView(view).subspan(i, kSectorBytes);
      if (!AsText(sector).starts_with(kMagicStart)) continue;
      const auto header = ledger::DecodeBlockHeader(sector);
      if (header && header->unit == unit && header->offset_bytes == base + i) return *header;
    }
  }
  return Fail(Code::kNotFound, "no further block");
}

Result<std::vector<ledger::Abandon>> AbandonsIn(Device& device, std::uint32_t unit) {
  std::vector<ledger::Abandon> abandons;
  const auto superblock = ReadSuperblock(device);
  if (superblock) abandons = superblock->abandons;
  if (!superblock && superblock.error().code == Code::kIo) return tl::unexpected(superblock.error());
  if (!superblock && superblock.error().code == Code::kNotFound) return abandons;  // never begun: the superblock comes first
  Bytes region;
  std::uint64_t at = kSectorBytes;
  while (true) {
    const auto header = NextHeader(device, unit, at);
    if (!header) {
      if (header.error().code == Code::kNotFound) return abandons;
      return tl::unexpected(header.error());
    }
    at = header->offset_bytes + kSectorBytes;  // a torn block's own size may reach over its successor
    if (header->size_bytes <= device.size_bytes() - header->offset_bytes) {
      region.resize((header->header_bytes + kSectorBytes - 1) / kSectorBytes * kSectorBytes);
      if (header->abandon_count > 0) {
        STELE_TRY_VOID(device.Read(header->offset_bytes, region));
        if (const auto tables = ledger::DecodeBlockTables(*header, region)) {
          abandons.insert(abandons.end(), tables->abandons.begin(), tables->abandons.end());
        }
      }
      at = header->offset_bytes + header->size_bytes;
    }
  }
}

Result<std::vector<ledger::Abandon>> AbandonsInAll(DeviceShelf& shelf) {
  std::vector<ledger::Abandon> all;
  STELE_TRY(const std::vector<std::uint32_t> units, shelf.List());
  for (const std::uint32_t unit : units) {
    STELE_TRY(const auto device, shelf.Open(unit, false));
    STELE_TRY(const std::vector<ledger::Abandon> some, AbandonsIn(*device, unit));
    all.insert(all.end(), some.begin(), some.end());
  }
  for (const std::uint32_t unit : shelf.Expired()) {
    const auto bytes = shelf.Spine(unit);
    const auto spine = bytes ? ledger::DecodeSpine(*bytes) : tl::unexpected(bytes.error());
    if (spine) all.insert(all.end(), spine->abandons.begin(), spine->abandons.end());  // a damaged one is found where it is read
  }
  return all;
}

}  // namespace stele::store
