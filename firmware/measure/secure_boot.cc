#include "firmware/measure/secure_boot.h"

#include <algorithm>

namespace stele::measure {
namespace {

constexpr std::size_t kEntriesMax = 4'096;
constexpr std::size_t kGuidBytes = sizeof(Guid);
constexpr std::size_t kListHeaderBytes = kGuidBytes + 3 * 4;

tl::unexpected<Error> Bad(const std::string& why) { return Fail(Code::kInvalid, "EFI signature lists: " + why); }

Guid GuidAt(ByteView at) {
  Guid guid{};
  std::copy_n(at.begin(), guid.size(), guid.begin());
  return guid;
}

}  // namespace

std::string TextOf(const Guid& guid) {
  constexpr std::array<std::size_t, 16> kOrder = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
  Guid shown{};
  for (std::size_t i = 0; i < kOrder.size(); ++i) shown[i] = guid[kOrder[i]];
  std::string text = HexOf(shown);
  for (const std::size_t at : {20U, 16U, 12U, 8U}) text.insert(at, 1, '-');
  return text;
}

Result<std::vector<SignatureEntry>> ParseSignatureLists(ByteView lists) {
  std::vector<SignatureEntry> entries;
  while (!lists.empty()) {
    if (lists.size() < kListHeaderBytes) return Bad("it ends within a list");
    const Guid type = GuidAt(lists);
    const std::size_t list_bytes = LoadLittle<std::uint32_t>(lists.data() + 16);
    const std::size_t header_bytes = LoadLittle<std::uint32_t>(lists.data() + 20);
    const std::size_t entry_bytes = LoadLittle<std::uint32_t>(lists.data() + 24);
    if (list_bytes < kListHeaderBytes || list_bytes > lists.size()) return Bad("a list of an impossible size");
    if (header_bytes > list_bytes - kListHeaderBytes) return Bad("a header longer than its list");
    ByteView rest = lists.subspan(kListHeaderBytes + header_bytes, list_bytes - kListHeaderBytes - header_bytes);
    if (entry_bytes <= kGuidBytes || rest.size() % entry_bytes != 0) return Bad("entries of an impossible size");
    for (; !rest.empty(); rest = rest.subspan(entry_bytes)) {
      if (entries.size() == kEntriesMax) return Bad("more than 4096 entries");
      const ByteView whole = rest.first(entry_bytes);
      entries.push_back({type, GuidAt(whole), whole, whole.subspan(kGuidBytes)});
    }
    lists = lists.subspan(list_bytes);
  }
  return entries;
}

Bytes VariableData(const Guid& name_space, std::string_view ascii_name, ByteView data) {
  Bytes out;
  Writer writer(out);
  writer.Raw(name_space);
  writer.Int(std::uint64_t{ascii_name.size()});
  writer.Int(std::uint64_t{data.size()});
  for (const char character : ascii_name) writer.Int(static_cast<std::uint16_t>(static_cast<unsigned char>(character)));
  writer.Raw(data);
  return out;
}

}  // namespace stele::measure
