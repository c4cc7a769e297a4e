#include "appliance/store/medium.h"

#include <array>

#include "appliance/store/file_device.h"
#include "firmware/guard/seal_mark.h"

namespace stele::store {

Result<Medium> Medium::Open(MediumPlace place, MediumUse use) {
  Medium medium(std::move(place), use);
  if (medium.on_partitions()) {
    STELE_TRY(medium.partitions_, OpenPartitions(medium.place_.partitions, use));
    medium.spines_ = std::make_shared<SpineFolder>(medium.place_.directory);
  }
  return medium;
}

Result<OpenedShelf> Medium::Shelf(const std::optional<Hash>& log_id) const {
  if (on_partitions()) {
    STELE_TRY(auto shelf, PartitionShelf::Open(partitions_, log_id));
    shelf->KeepSpinesIn(spines_);
    PartitionShelf* partitions = shelf.get();
    return OpenedShelf{std::move(shelf), partitions};
  }
  const FileShelf::Options options{.immutable_when_sealed = false, .direct_reads = use_ != MediumUse::kRead};
  return OpenedShelf{std::make_unique<FileShelf>(place_.directory, options), nullptr};
}

Result<std::uint32_t> SealAgain(const std::vector<std::string>& partitions) {
  if (partitions.empty()) return 0;
  STELE_TRY(const std::vector<Partition> opened, OpenPartitions(partitions, MediumUse::kReadDirect));
  std::uint32_t sealed = 0;
  for (const Partition& partition : opened) {
    const auto at = guard::SealMarkAt(partition.device->size_bytes());
    if (!at) continue;
    std::array<std::byte, guard::kSealMarkBytes> mark{};
    STELE_TRY_VOID(partition.device->Read(*at, mark));
    if (!guard::DecodeSealMark(mark)) continue;
    ++sealed;
    (void)partition.device->MakeReadOnly();  // without the right to it the mark and the chain still tell
  }
  return sealed;
}

}  // namespace stele::store
