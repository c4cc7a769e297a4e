#include "firmware/measure/stub.h"

#include <algorithm>
#include <array>

namespace stele::measure {
namespace {

constexpr std::string_view kMagicSection = ".sdmagic";
constexpr std::string_view kMagicBegin = "#### LoaderInfo: ";
constexpr std::string_view kMagicEnd = " ####";
constexpr std::string_view kSignatureSection = ".pcrsig";
constexpr std::array<std::string_view, 8> kSections = {".linux",  ".osrel", ".cmdline",        ".initrd",
                                                       ".splash", ".dtb",   kSignatureSection, ".pcrpkey"};

tl::unexpected<Error> Bad(const std::string& why) { return Fail(Code::kInvalid, "unified kernel image: " + why); }

// The one section of this name. The stub compares as many bytes as its own name has and takes the last that fits, so
// anything but exactly one exact name is trouble.
Result<const PeSection*> Find(const PeImage& image, std::string_view name) {
  const PeSection* found = nullptr;
  for (const PeSection& section : image.sections) {
    if (!section.name.starts_with(name)) continue;
    if (section.name != name) return Bad("section " + section.name + " would be taken for " + std::string(name));
    if (found != nullptr) return Bad("two sections " + std::string(name));
    found = &section;
  }
  return found;
}

Result<std::string> StubOf(ByteView file, const PeImage& image) {
  STELE_TRY(const PeSection* const section, Find(image, kMagicSection));
  if (section == nullptr) return Bad("no systemd-stub");
  STELE_TRY(const ByteView content, ContentOf(file, *section));
  std::string_view text = AsText(content);
  text = text.substr(0, text.find('\0'));
  if (!text.starts_with(kMagicBegin) || !text.ends_with(kMagicEnd)) return Bad("no systemd-stub");
  text.remove_prefix(kMagicBegin.size());
  text.remove_suffix(std::min(kMagicEnd.size(), text.size()));
  const std::string pinned = "systemd-stub " + std::string(kStubVersion);
  const bool ours = text == pinned || text.starts_with(pinned + ".") || text.starts_with(pinned + "-");
  if (!ours) return Bad("made with another stub than " + pinned + ", which measures otherwise");
  return std::string(text);
}

// One archive member, newc: magic and thirteen fields of eight hexadecimal digits, the name with its NUL, the content;
// name and content padded to multiples of 4.
void AppendCpio(Bytes& archive, std::uint32_t inode, std::uint32_t mode, std::string_view name, ByteView content) {
  const std::array<std::uint32_t, 13> fields = {inode,
                                                mode,
                                                0,
                                                0,
                                                1,
                                                0,
                                                static_cast<std::uint32_t>(content.size()),
                                                0,
                                                0,
                                                0,
                                                0,
                                                static_cast<std::uint32_t>(name.size() + 1),
                                                0};
  Append(archive, AsBytes("070701"));
  for (const std::uint32_t field : fields) {
    std::array<std::byte, 4> big{};
    for (std::size_t i = 0; i < big.size(); ++i) big[i] = static_cast<std::byte>(field >> (8 * (3 - i)));
    Append(archive, AsBytes(HexOf(big)));
  }
  Append(archive, AsBytes(name));
  archive.push_back(std::byte{0});
  while (archive.size() % 4 != 0) archive.push_back(std::byte{0});
  Append(archive, content);
  while (archive.size() % 4 != 0) archive.push_back(std::byte{0});
}

// As the stub has it: another case than in its other headers, and one NUL more than the name needs (124 bytes).
constexpr char kTrailer[] =
    "070701"
    "00000000000000000000000000000000"                  // inode, mode, user, group
    "00000001"                                          // links
    "000000000000000000000000000000000000000000000000"  // time, size, devices
    "0000000B"                                          // name size
    "00000000"                                          // check
    "TRAILER!!!\0\0\0";
static_assert(sizeof kTrailer == 124);

// /.extra/NAME in an archive of its own, as the stub packs it.
Bytes ExtraFile(std::string_view name, ByteView content) {
  constexpr std::uint32_t kDirectory = 0040555;
  constexpr std::uint32_t kFile = 0100444;
  Bytes archive;
  AppendCpio(archive, 1, kDirectory, ".extra", {});
  AppendCpio(archive, 2, kFile, ".extra/" + std::string(name), content);
  Append(archive, AsBytes(std::string_view(kTrailer, sizeof kTrailer)));
  return archive;
}

}  // namespace

ByteView UnifiedImage::Content(std::string_view name) const {
  for (const StubSection& section : sections) {
    if (section.name == name) return section.content;
  }
  return {};
}

Result<UnifiedImage> ParseUnifiedImage(ByteView file, const PeImage& image) {
  UnifiedImage unified;
  STELE_TRY(unified.stub, StubOf(file, image));
  for (const std::string_view name : kSections) {
    STELE_TRY(const PeSection* const section, Find(image, name));
    if (section == nullptr || section->memory_bytes == 0) continue;
    STELE_TRY(const ByteView content, ContentOf(file, *section));
    unified.sections.push_back({name, content, name != kSignatureSection});
  }
  if (unified.Content(".linux").empty()) return Bad("no .linux section");
  if (unified.Content(".cmdline").empty())
    return Bad("no .cmdline section: the stub would take the boot option's command line");
  return unified;
}

Result<Bytes> LoadOptionsOf(const UnifiedImage& image) {
  std::string line(AsText(image.Content(".cmdline")));
  line.resize(std::min(line.find('\0'), line.size()));
  for (char& character : line) {
    const auto octet = static_cast<unsigned char>(character);
    if (octet >= 0x80) return Bad("its command line is not ASCII");
    if (octet < 0x20) character = ' ';
  }
  while (!line.empty() && line.back() == ' ') line.pop_back();
  Bytes options;
  Writer writer(options);
  for (const char character : line) writer.Int(static_cast<std::uint16_t>(character));
  writer.Int(std::uint16_t{0});
  return options;
}

Bytes InitialRamDiskOf(const UnifiedImage& image) {
  Bytes disk = ToBytes(image.Content(".initrd"));
  const ByteView signature = image.Content(kSignatureSection);
  const ByteView key = image.Content(".pcrpkey");
  if (signature.empty() && key.empty()) return disk;
  while (disk.size() % 4 != 0) disk.push_back(std::byte{0});
  if (!signature.empty()) Append(disk, ExtraFile("tpm2-pcr-signature.json", signature));
  if (!key.empty()) Append(disk, ExtraFile("tpm2-pcr-public-key.pem", key));
  return disk;
}

bool KernelMeasures(const UnifiedImage& image, std::string_view event_text) {
  const std::string terminated = std::string(event_text) + '\0';
  return AsText(image.Content(".linux")).find(terminated) != std::string_view::npos;
}

}  // namespace stele::measure
