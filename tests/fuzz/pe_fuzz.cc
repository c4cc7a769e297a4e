// PE images under libFuzzer, and EFI signature lists behind them: the input's first two octets say how many of its last
// are the lists. Oracles: the digest is that of the specification's own steps, done here a second time, and reaches
// every byte outside of its three holes; only an image whose digest is in db starts; entries of lists lie in the lists,
// in order.
#include <algorithm>
#include <cstdint>

#include "appliance/base/hash.h"
#include "firmware/measure/authenticode.h"
#include "firmware/measure/predict.h"
#include "firmware/measure/stub.h"

namespace {

using namespace stele;
using namespace stele::measure;

// "Calculating the PE Image Hash", step by step: header parts, then the sections in the order of their places, then the
// rest.
Hash DigestByTheSteps(ByteView file, const PeImage& image) {
  Bytes hashed;
  std::size_t headers_bytes = image.certificates_at;
  std::vector<PeSection> sections = image.sections;
  std::erase_if(sections, [](const PeSection& section) { return section.file_bytes == 0; });
  std::sort(sections.begin(), sections.end(),
            [](const PeSection& a, const PeSection& b) { return a.file_at < b.file_at; });
  if (!sections.empty()) headers_bytes = sections.front().file_at;
  for (std::size_t at = 0; at < headers_bytes; ++at) {
    const bool checksum = at >= image.checksum_at && at < image.checksum_at + 4;
    const bool entry = at >= image.certificates_entry_at && at < image.certificates_entry_at + 8;
    if (!checksum && !entry) hashed.push_back(file[at]);
  }
  std::size_t sum = headers_bytes;
  for (const PeSection& section : sections) {
    Append(hashed, file.subspan(section.file_at, section.file_bytes));
    sum += section.file_bytes;
  }
  Append(hashed, file.subspan(sum, file.size() - (file.size() - image.certificates_at) - sum));
  return Sha256Of(ByteView(hashed));
}

Bytes ListOfDigest(const Hash& digest) {
  Bytes list;
  Writer writer(list);
  writer.Raw(kSha256Digest);
  for (const std::uint32_t number : {28U + 48U, 0U, 48U}) writer.Int(number);
  writer.Raw(Bytes(16));
  writer.Raw(digest);
  return list;
}

void CheckLists(ByteView lists) {
  const auto entries = ParseSignatureLists(lists);
  if (!entries) return;
  const std::byte* at = lists.data();
  for (const SignatureEntry& entry : *entries) {
    STELE_CHECK(entry.whole.data() >= at + (at == lists.data() ? 28 : 0));
    at = entry.whole.data() + entry.whole.size();
    STELE_CHECK(at <= lists.data() + lists.size());
    STELE_CHECK(entry.data.data() == entry.whole.data() + 16 && entry.data.size() + 16 == entry.whole.size());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const ByteView input(reinterpret_cast<const std::byte*>(data), size);
  const std::size_t lists_bytes = std::min<std::size_t>(LoadLittle<std::uint16_t>(input.data()), size - 2);
  const ByteView lists = input.last(lists_bytes);
  const ByteView file = input.subspan(2, size - 2 - lists_bytes);
  CheckLists(lists);
  const auto image = ParsePe(file);
  if (!image) return 0;
  const Hash digest = AuthenticodeDigest(file, *image);
  STELE_CHECK(digest == DigestByTheSteps(file, *image));
  for (const PeSection& section : image->sections) {
    if (const auto content = ContentOf(file, section)) STELE_CHECK(content->size() == section.memory_bytes);
  }
  STELE_CHECK(!AuthorityOf(file, *image, {}, {}));
  const Bytes db = ListOfDigest(digest);
  const auto signatures = SignaturesOf(file, *image);
  STELE_CHECK(AuthorityOf(file, *image, db, {}).has_value() == signatures.has_value());
  STELE_CHECK(!AuthorityOf(file, *image, db, db));
  (void)AuthorityOf(file, *image, lists, {});
  const auto prediction = Predict(file, {db, {}, db, {}}, {"ready"});
  const auto unified = ParseUnifiedImage(file, *image);
  STELE_CHECK(!prediction || (unified && signatures));
  return 0;
}
