// PE32+ images written by hand: small, but whole enough for sbsign and objcopy.
#pragma once

#include <string>
#include <vector>

#include "appliance/base/bytes.h"

namespace stele::measure {

struct MadeSection {
  std::string name;
  std::string content;
};

inline constexpr std::size_t kMadeAlignment = 512;  // of headers and sections in the file
inline constexpr std::size_t kMadePeAt = 64;
inline constexpr std::size_t kMadeOptionalAt = kMadePeAt + 24;
inline constexpr std::size_t kMadeChecksumAt = kMadeOptionalAt + 64;
inline constexpr std::size_t kMadeEntryAt = kMadeOptionalAt + 112 + 4 * 8;  // of the certificate table
inline constexpr std::size_t kMadeTableAt = kMadeOptionalAt + 240;
inline constexpr std::size_t kMadeHeadersBytes = 1024;

inline Bytes MadeImage(const std::vector<MadeSection>& sections) {
  Bytes file(kMadeHeadersBytes);
  const auto put = [&file](std::size_t at, auto value) { StoreLittle(file.data() + at, value); };
  put(0, std::uint16_t{0x5a4d});  // MZ
  put(60, static_cast<std::uint32_t>(kMadePeAt));
  put(kMadePeAt, std::uint32_t{0x4550});  // PE
  put(kMadePeAt + 4, std::uint16_t{0x8664});
  put(kMadePeAt + 6, static_cast<std::uint16_t>(sections.size()));
  put(kMadePeAt + 20, std::uint16_t{240});
  put(kMadePeAt + 22, std::uint16_t{0x0022});
  put(kMadeOptionalAt, std::uint16_t{0x20b});
  put(kMadeOptionalAt + 32, std::uint32_t{4096});
  put(kMadeOptionalAt + 36, static_cast<std::uint32_t>(kMadeAlignment));
  put(kMadeOptionalAt + 60, static_cast<std::uint32_t>(kMadeHeadersBytes));
  put(kMadeOptionalAt + 68, std::uint16_t{10});  // EFI application
  put(kMadeOptionalAt + 108, std::uint32_t{16});
  std::uint32_t memory_at = 4096;
  for (std::size_t i = 0; i < sections.size(); ++i) {
    const std::size_t header = kMadeTableAt + 40 * i;
    const std::string& content = sections[i].content;
    const auto padded = (content.size() + kMadeAlignment - 1) / kMadeAlignment * kMadeAlignment;
    for (std::size_t at = 0; at < sections[i].name.size(); ++at) put(header + at, sections[i].name[at]);
    put(header + 8, static_cast<std::uint32_t>(content.size()));
    put(header + 12, memory_at);
    put(header + 16, static_cast<std::uint32_t>(padded));
    put(header + 20, static_cast<std::uint32_t>(file.size()));
    memory_at += static_cast<std::uint32_t>((padded + 4095) / 4096 * 4096);
    Append(file, AsBytes(content));
    file.resize((file.size() + kMadeAlignment - 1) / kMadeAlignment * kMadeAlignment);
  }
  put(kMadeOptionalAt + 56, memory_at);
  return file;
}

// With a certificate table of one WIN_CERTIFICATE at its end; the file is a multiple of 8 long.
inline Bytes WithSignature(Bytes file, std::string_view signature, std::uint16_t type = 2) {
  const std::size_t at = file.size();
  Writer writer(file);
  writer.Int(static_cast<std::uint32_t>(8 + signature.size()));
  writer.Int(std::uint16_t{0x0200});
  writer.Int(type);
  writer.Raw(AsBytes(signature));
  file.resize((file.size() + 7) / 8 * 8);
  StoreLittle(file.data() + kMadeEntryAt, static_cast<std::uint32_t>(at));
  StoreLittle(file.data() + kMadeEntryAt + 4, static_cast<std::uint32_t>(file.size() - at));
  return file;
}

// A unified kernel image as the stub of Debian 12 sees it; its "kernel" measures what Linux 6.1 measures.
inline std::vector<MadeSection> UnifiedSections() {
  return {{".text", "code"},        {".sdmagic", "#### LoaderInfo: systemd-stub 252.39-1~deb12u2 ####"},
          {".osrel", "ID=stele\n"}, {".cmdline", "lockdown=confidentiality\tpanic=-1 \n"},
          {".pcrsig", "{}"},        {".pcrpkey", "a key\n"},
          {".initrd", "12345"},     {".linux", std::string("kernel LOADED_IMAGE::LoadOptions\0Linux initrd\0", 46)}};
}

}  // namespace stele::measure
