// What systemd-stub 252 (Debian 12: systemd-boot-efi), and the Linux kernel behind it, measure of a unified kernel
// image. Pure.
//
//   PCR 11   the stub; of each section that is there, whatever the order in the file:
//              .linux .osrel .cmdline .initrd .splash .dtb .pcrpkey (not .pcrsig)
//            the name with its terminating NUL, then the content (VirtualSize bytes)
//   PCR 12   nothing: the image has a command line, so under Secure Boot the stub takes no other. It would measure
//            credentials on the ESP, which nobody signs: zero means that there were none
//   PCR 9    the kernel's EFI stub, each only where the kernel in .linux has the event's text (Debian 12's 6.1: both):
//              LOADED_IMAGE::LoadOptions   the command line in UTF-16 with its NUL
//              Linux initrd                .initrd, zeros to a multiple of 4, archives with .pcrsig and .pcrpkey
//   PCR 4    nothing more: under Secure Boot this stub starts the kernel behind the firmware's back
//
// Sources: systemd 252.39, src/boot/efi/{stub,cpio,linux,pe}.c, src/fundamental/tpm-pcr.c; Linux, efi-stub-helper.c in
// drivers/firmware/efi/libstub. Later stubs measure other sections and other inputs: they are refused, not guessed at.
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

// kInvalid: another stub or version, no .linux or no .cmdline, a section that is there twice, or one whose name only
// begins like one of the stub's (which takes it all the same). Views are into `file`.
[[nodiscard]] Result<UnifiedImage> ParseUnifiedImage(ByteView file, const PeImage& image);

// What the kernel is handed: the load options, and the initial RAM disk (empty where there is none).
// kInvalid: a command line that is not ASCII.
[[nodiscard]] Result<Bytes> LoadOptionsOf(const UnifiedImage& image);
[[nodiscard]] Bytes InitialRamDiskOf(const UnifiedImage& image);
[[nodiscard]] bool KernelMeasures(const UnifiedImage& image, std::string_view event_text);

inline constexpr std::string_view kLoadOptionsEvent = "LOADED_IMAGE::LoadOptions";
inline constexpr std::string_view kInitialRamDiskEvent = "Linux initrd";

}  // namespace stele::measure
