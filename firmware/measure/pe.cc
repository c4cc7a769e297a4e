#include "firmware/measure/pe.h"

#include <algorithm>

#include "appliance/base/hash.h"

namespace stele::measure {
namespace {

constexpr std::size_t kFileBytesMax = std::size_t{1} << 30U;
constexpr std::size_t kSectionsMax = 96;
constexpr std::size_t kSignaturesMax = 16;
constexpr std::size_t kDosHeaderBytes = 64;
constexpr std::size_t kPeOffsetAt = 60;
constexpr std::size_t kCoffHeaderBytes = 4 + 20;  // with the signature in front
constexpr std::size_t kSectionHeaderBytes = 40;
constexpr std::size_t kChecksumInOptional = 64;
constexpr std::size_t kHeadersBytesInOptional = 60;
constexpr std::uint16_t kMagic32 = 0x10b;
constexpr std::uint16_t kMagic64 = 0x20b;
constexpr std::size_t kCertificatesDirectory = 4;
constexpr std::size_t kDirectoryBytes = 8;
constexpr std::uint16_t kPkcsSignedData = 0x0002;
constexpr std::size_t kCertificateHeaderBytes = 8;

tl::unexpected<Error> Bad(const std::string& why) { return Fail(Code::kInvalid, "PE image: " + why); }

constexpr std::size_t UpToEight(std::size_t bytes) { return (bytes + 7) & ~std::size_t{7}; }

PeSection SectionAt(const std::byte* at) {
  PeSection section;
  const std::string_view name = AsText(ByteView(at, 8));
  section.name = std::string(name.substr(0, name.find('\0')));
  section.memory_bytes = LoadLittle<std::uint32_t>(at + 8);
  section.memory_at = LoadLittle<std::uint32_t>(at + 12);
  section.file_bytes = LoadLittle<std::uint32_t>(at + 16);
  section.file_at = LoadLittle<std::uint32_t>(at + 20);
  return section;
}

// Where the last section ends, if all of them lie one behind the other from `headers_bytes` on.
Result<std::size_t> EndOfSections(const std::vector<PeSection>& sections, std::size_t headers_bytes) {
  std::vector<const PeSection*> by_place;
  for (const PeSection& section : sections) {
    if (section.file_bytes != 0) by_place.push_back(&section);
  }
  std::sort(by_place.begin(), by_place.end(),
            [](const PeSection* a, const PeSection* b) { return a->file_at < b->file_at; });
  std::size_t end = headers_bytes;
  for (const PeSection* section : by_place) {
    if (section->file_at != end)
      return Bad("its sections leave a gap or overlap at " + std::to_string(section->file_at));
    end += section->file_bytes;
  }
  return end;
}

}  // namespace

Result<PeImage> ParsePe(ByteView file) {
  if (file.size() > kFileBytesMax) return Bad("larger than 1 GiB");
  if (file.size() < kDosHeaderBytes || AsText(file.first(2)) != "MZ") return Bad("no DOS header");
  const std::size_t pe_at = LoadLittle<std::uint32_t>(file.data() + kPeOffsetAt);
  if (pe_at < kDosHeaderBytes || pe_at > file.size() || file.size() - pe_at < kCoffHeaderBytes)
    return Bad("no PE header");
  if (AsText(file.subspan(pe_at, 4)) != std::string_view("PE\0\0", 4)) return Bad("no PE header");

  PeImage image;
  image.machine = LoadLittle<std::uint16_t>(file.data() + pe_at + 4);
  const std::size_t sections = LoadLittle<std::uint16_t>(file.data() + pe_at + 6);
  const std::size_t optional_bytes = LoadLittle<std::uint16_t>(file.data() + pe_at + 20);
  const std::size_t optional_at = pe_at + kCoffHeaderBytes;
  if (sections > kSectionsMax) return Bad("more than 96 sections");
  if (file.size() - optional_at < optional_bytes + sections * kSectionHeaderBytes)
    return Bad("it ends within its headers");

  const std::uint16_t magic =
      optional_bytes < 2 ? std::uint16_t{0} : LoadLittle<std::uint16_t>(file.data() + optional_at);
  image.is_64_bit = magic == kMagic64;
  if (!image.is_64_bit && magic != kMagic32) return Bad("neither PE32 nor PE32+");
  const std::size_t directories_at = image.is_64_bit ? 112 : 96;  // in the optional header
  const std::size_t entry_in_optional = directories_at + kCertificatesDirectory * kDirectoryBytes;
  if (optional_bytes < entry_in_optional + kDirectoryBytes) return Bad("no place for a certificate table");
  const auto directories = LoadLittle<std::uint32_t>(file.data() + optional_at + directories_at - 4);
  if (directories <= kCertificatesDirectory ||
      directories_at + std::uint64_t{directories} * kDirectoryBytes > optional_bytes) {
    return Bad("no place for a certificate table");
  }
  image.checksum_at = optional_at + kChecksumInOptional;
  image.certificates_entry_at = optional_at + entry_in_optional;

  const std::size_t table_at = optional_at + optional_bytes;
  const std::size_t headers_bytes = LoadLittle<std::uint32_t>(file.data() + optional_at + kHeadersBytesInOptional);
  if (headers_bytes < table_at + sections * kSectionHeaderBytes)
    return Bad("its headers do not hold its section table");
  for (std::size_t i = 0; i < sections; ++i) {
    image.sections.push_back(SectionAt(file.data() + table_at + i * kSectionHeaderBytes));
  }
  STELE_TRY(const std::size_t end, EndOfSections(image.sections, headers_bytes));

  const std::size_t certificates_at = LoadLittle<std::uint32_t>(file.data() + image.certificates_entry_at);
  const std::size_t certificates_bytes = LoadLittle<std::uint32_t>(file.data() + image.certificates_entry_at + 4);
  image.certificates_at = certificates_bytes == 0 ? file.size() : certificates_at;
  if (end > image.certificates_at) return Bad("it ends within its sections");
  if (certificates_bytes != 0 && (certificates_at % 8 != 0 || certificates_at > file.size() ||
                                  file.size() - certificates_at != certificates_bytes)) {
    return Bad("its certificates are not the end of the file");
  }
  return image;
}

Result<ByteView> ContentOf(ByteView file, const PeSection& section) {
  if (section.memory_bytes == 0) return ByteView();
  if (section.memory_bytes > section.file_bytes) return Bad("section " + section.name + " is not all in the file");
  return file.subspan(section.file_at, section.memory_bytes);
}

Hash AuthenticodeDigest(ByteView file, const PeImage& image) {
  const std::size_t behind_checksum = image.checksum_at + 4;
  const std::size_t behind_entry = image.certificates_entry_at + kDirectoryBytes;
  return Sha256Of({file.first(image.checksum_at),
                   file.subspan(behind_checksum, image.certificates_entry_at - behind_checksum),
                   file.subspan(behind_entry, image.certificates_at - behind_entry)});
}

// WIN_CERTIFICATE: length u32 (header and data), revision u16, type u16, data; the next one begins at a multiple of 8.
Result<std::vector<ByteView>> SignaturesOf(ByteView file, const PeImage& image) {
  ByteView table = file.subspan(image.certificates_at);
  std::vector<ByteView> signatures;
  while (!table.empty()) {
    if (table.size() < kCertificateHeaderBytes) return Bad("its certificate table is malformed");
    const std::size_t length = LoadLittle<std::uint32_t>(table.data());
    const auto type = LoadLittle<std::uint16_t>(table.data() + 6);
    if (length < kCertificateHeaderBytes || length > table.size()) return Bad("its certificate table is malformed");
    if (type == kPkcsSignedData) {
      if (signatures.size() == kSignaturesMax) return Bad("more than 16 signatures");
      signatures.push_back(table.subspan(kCertificateHeaderBytes, length - kCertificateHeaderBytes));
    }
    table = table.subspan(std::min(UpToEight(length), table.size()));
  }
  return signatures;
}

}  // namespace stele::measure
