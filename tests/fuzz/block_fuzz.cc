// Goal: no bytes on a disk can break the reader of blocks. Method: any input is decoded as a block and as a superblock.
// Oracle: what decodes keeps its own promises (offsets inside the payloads, tables of the counted sizes, entries that chain
// to as many leaves as records), and a header that decodes is the one its checksum was made for.
#include <cstdint>

#include "appliance/base/limits.h"
#include "appliance/ledger/block.h"
#include "appliance/store/segment.h"
#include "firmware/guard/log_label.h"

using namespace stele;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // The checksum would stop almost every input: give the first sector the right one, as an attacker would.
  Bytes bytes(reinterpret_cast<const std::byte*>(data), reinterpret_cast<const std::byte*>(data) + size);
  bytes.resize((bytes.size() + limits::kSectorBytes - 1) / limits::kSectorBytes * limits::kSectorBytes);
  if (bytes.empty() || bytes.size() > 64 * limits::kKiB) return 0;
  constexpr std::size_t kChecksumAt = 284;
  StoreLittle(bytes.data() + kChecksumAt, std::uint32_t{0});
  StoreLittle(bytes.data() + kChecksumAt, Checksum32(ByteView(bytes).first(limits::kSectorBytes)));
  if (const auto header = ledger::DecodeBlockHeader(bytes)) {
    if (const auto tables = ledger::DecodeBlockTables(*header, bytes)) {
      STELE_CHECK(tables->frames.size() == header->frame_count);
      STELE_CHECK(tables->sector_checksums.size() == header->size_bytes / limits::kSectorBytes - 1);
      if (bytes.size() >= header->size_bytes) (void)ledger::DamagedSectors(*header, *tables, bytes);  // only must be total
    }
  }
  for (const bool tolerate : {false, true}) {
    const auto block = ledger::DecodeBlock(bytes, tolerate);
    if (!block) continue;
    STELE_CHECK(block->offsets.back() == block->payloads.size());
    STELE_CHECK(block->Entries().size() == block->header.record_count);
    for (std::size_t i = 0; i < block->kinds.size(); ++i) (void)block->Payload(i);
  }
  StoreLittle(bytes.data() + limits::kSectorBytes - 4, Checksum32(ByteView(bytes).first(limits::kSectorBytes - 4)));
  const auto label = guard::DecodeLogLabel(ByteView(bytes).first<guard::kLogLabelBytes>());
  if (const auto superblock = store::DecodeSuperblock(bytes)) {
    STELE_CHECK(superblock->frontier.size() <= 64);
    STELE_CHECK(label && label->unit == superblock->unit && label->log_id == superblock->log_id);
  }
  return 0;
}
