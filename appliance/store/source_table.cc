#include "appliance/store/source_table.h"

#include "appliance/ledger/block.h"

namespace stele::store {

Result<std::vector<DeclaredSource>> SourcesOf(DeviceShelf& shelf, const Tail& tail) {
  std::vector<DeclaredSource> declared;
  if (tail.fresh) return declared;
  STELE_TRY(const auto device, shelf.Open(tail.unit, false));
  for (const TailBlock& one : tail.blocks) {
    if (one.header.type != ledger::BlockType::kData || one.header.source_entries == 0) continue;
    Bytes bytes(one.header.size_bytes);
    STELE_TRY_VOID(device->Read(one.header.offset_bytes, bytes));
    STELE_TRY(const ledger::DecodedBlock block, ledger::DecodeBlock(bytes));
    for (std::size_t i = 0; i < block.kinds.size(); ++i) {
      if (block.kinds[i] != static_cast<std::uint8_t>(record::Kind::kSource)) continue;
      declared.push_back({block.sources[i], std::string(AsText(block.Payload(i)))});
    }
  }
  return declared;
}

}  // namespace stele::store
