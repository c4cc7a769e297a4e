// PE/COFF images as the firmware loads and measures them, read from hostile bytes. Pure.
//
//   Microsoft PE/COFF Specification: DOS header (offset of the PE header at 60), "PE\0\0", COFF header, optional header
//   (PE32 or PE32+), data directories, section table. Windows Authenticode Portable Executable Signature Format,
//   "Calculating the PE Image Hash": the digest leaves out the checksum, the certificate directory entry and the
//   certificates, and goes over header, sections by place, and what lies behind them.
//
// Accepted is only an image in which that digest reaches every other byte, once: headers and sections lie one behind
// the other without gap or overlap, and the certificates are the end of the file. Then every tool and firmware agrees
// on it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "appliance/base/bytes.h"

namespace stele::measure {

struct PeSection {
  std::string name;  // at most 8 bytes
  std::uint32_t memory_at = 0;
  std::uint32_t memory_bytes = 0;
  std::uint32_t file_at = 0;
  std::uint32_t file_bytes = 0;
};

struct PeImage {
  std::uint16_t machine = 0;
  bool is_64_bit = false;                 // PE32+
  std::size_t checksum_at = 0;            // 4 bytes
  std::size_t certificates_entry_at = 0;  // 8 bytes of the directory
  std::size_t certificates_at = 0;        // in the file; its end where there are none
  std::vector<PeSection> sections;        // in the table's order
};

// kInvalid says what is wrong. At most 96 sections, as the specification has it for Windows; 1 GiB.
[[nodiscard]] Result<PeImage> ParsePe(ByteView file);

// What a section holds in memory, as long as it is all in the file (kInvalid otherwise). A view into `file`.
[[nodiscard]] Result<ByteView> ContentOf(ByteView file, const PeSection& section);

// SHA-256 of the image in Authenticode's way: what is signed, and what the firmware extends into PCR 4.
[[nodiscard]] Hash AuthenticodeDigest(ByteView file, const PeImage& image);

// WIN_CERTIFICATE entries of type PKCS_SIGNED_DATA, in order: DER SignedData. Others are passed over. kInvalid: the
// table is malformed. At most 16 entries.
[[nodiscard]] Result<std::vector<ByteView>> SignaturesOf(ByteView file, const PeImage& image);

}  // namespace stele::measure
