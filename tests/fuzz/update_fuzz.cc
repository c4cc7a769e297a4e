// What an update, a note and the firmware's variables say. Oracle: what is taken is within its bounds, and written
// again it is taken as the same.
#include <cstdint>

#include "firmware/update/boot_variables.h"
#include "firmware/update/update_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace stele;
  using namespace stele::update;
  const ByteView bytes = std::as_bytes(std::span(data, size));
  if (const auto head = ParseHead(bytes)) {
    STELE_CHECK(size >= kHeadBytes);
    STELE_CHECK(head->manifest_bytes >= 1 && head->manifest_bytes <= kManifestBytesMax);
  }
  if (const auto manifest = ParseManifest(AsText(bytes))) {
    STELE_CHECK(manifest->root.size_bytes <= kPartBytesMax && manifest->uki.size_bytes >= 1);
    const auto again = ParseManifest(EncodeManifest(*manifest));
    STELE_CHECK(again.has_value());
    STELE_CHECK(*again == *manifest);
  }
  if (const auto identity = ParseIdentity(AsText(bytes))) STELE_CHECK(!identity->model.empty());
  if (const auto note = ParseNote(bytes)) STELE_CHECK(SameBytes(EncodeNote(*note), bytes));
  if (const auto entries = ParseEntries(bytes)) STELE_CHECK(SameBytes(EncodeEntries(*entries), bytes));
  (void)ParseStubPartition(bytes);  // total
  return 0;
}
