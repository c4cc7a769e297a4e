// What systemd-stub 252 (Debian 12: systemd-boot-efi) and the Linux kernel behind it measure of a unified kernel image. Pure.
//
//   PCR 11   the stub, per section that is there, in this order and whatever the order in the file: .linux .osrel .cmdline
//            .initrd .splash .dtb .pcrpkey (not .pcrsig): its name with the terminating NUL, then its content (VirtualSize bytes)
//   PCR 12   nothing: the image has a command line, so under Secure Boot the stub takes no other; credentials on the ESP
//            would be measured here, unsigned, so that zero means there were none
//   PCR 9    the kernel's own EFI stub: "LOADED_IMAGE::LoadOptions", the command line in UTF-16 with its NUL, then "Linux
//            initrd", what the stub hands over: .initrd, zeros to a multiple of 4, an archive with .pcrsig, one with .pcrpkey
//            (each event only where the kernel in .linux has its text, as Debian 12's 6.1 has both)
//   PCR 4    nothing more: under Secure Boot this stub starts the kernel behind the firmware's back
// (systemd 252.39: src/boot/efi/stub.c, cpio.c, linux.c, src/fundamental/tpm-pcr.c; Linux 6.1: drivers/firmware/efi/libstub)
//
// Other versions measure otherwise (253 adds .uname, 254 adds .sbat and loads addons): they are refused, not guessed at.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "firmware/measure/pe.h"

namespace stele::measure {

inline constexpr std::string_view kStubVersion = "252";

struct StubSection {
  std::string_view name;
  ByteView content;
  bool measured = true;
};

struct UnifiedImage {
  std::string stub;                   // "systemd-stub 252.39-1~deb12u2"
  std::vector<StubSection> sections;  // those that are there and not empty, in the stub's order

  [[nodiscard]] ByteView Content(std::string_view name) const;  // empty where there is none
};

// kInvalid: another stub or version, no .linux or no .cmdline, a section that is there twice, or one whose name only begins
// like one of the stub's (which takes it all the same). Views are into `file`.
[[nodiscard]] Result<UnifiedImage> ParseUnifiedImage(ByteView file, const PeImage& image);

// What the kernel is handed: the load options, and the initial RAM disk (empty where there is none).
// kInvalid: a command line that is not ASCII.
[[nodiscard]] Result<Bytes> LoadOptionsOf(const UnifiedImage& image);
[[nodiscard]] Bytes InitialRamDiskOf(const UnifiedImage& image);
[[nodiscard]] bool KernelMeasures(const UnifiedImage& image, std::string_view event_text);

inline constexpr std::string_view kLoadOptionsEvent = "LOADED_IMAGE::LoadOptions";
inline constexpr std::string_view kInitialRamDiskEvent = "Linux initrd";

}  // namespace stele::measure
