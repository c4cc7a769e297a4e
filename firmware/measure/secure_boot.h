// UEFI Secure Boot's variables as bytes. Pure.
//
//   UEFI 2.10, section 32.4.1, little-endian:
//   signature lists := list*
//   list     := type:guid size:u32 header_bytes:u32 entry_bytes:u32 header entry*   size: of the whole list
//   entry    := owner:guid data                             EFI_SIGNATURE_DATA, entry_bytes long
//
//   TCG PC Client Platform Firmware Profile, section 10.2.6, UEFI_VARIABLE_DATA: what is measured of a variable
//   variable := namespace:guid name_characters:u64 data_bytes:u64 name[name_characters]:u16 data
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "appliance/base/bytes.h"

namespace stele::measure {

using Guid = std::array<std::byte, 16>;  // as in memory: the first three fields are little-endian
[[nodiscard]] std::string TextOf(const Guid& guid);
[[nodiscard]] constexpr Guid MakeGuid(std::uint32_t a, std::uint16_t b, std::uint16_t c, std::uint64_t rest) {
  Guid guid{};
  for (std::size_t i = 0; i < 4; ++i) guid[i] = static_cast<std::byte>(a >> (8 * i));
  for (std::size_t i = 0; i < 2; ++i) guid[4 + i] = static_cast<std::byte>(b >> (8 * i));
  for (std::size_t i = 0; i < 2; ++i) guid[6 + i] = static_cast<std::byte>(c >> (8 * i));
  for (std::size_t i = 0; i < 8; ++i) guid[8 + i] = static_cast<std::byte>(rest >> (8 * (7 - i)));
  return guid;
}

inline constexpr Guid kGlobalVariable =
    MakeGuid(0x8be4df61, 0x93ca, 0x11d2, 0xaa0d00e098032b8c);                                     // SecureBoot, PK, KEK
inline constexpr Guid kImageDatabase = MakeGuid(0xd719b2cb, 0x3d3a, 0x4596, 0xa3bcdad00e67656f);  // db, dbx
inline constexpr Guid kX509Certificate = MakeGuid(0xa5c059a1, 0x94e4, 0x4aa7, 0x87b5ab155c2bf072);  // types of lists
inline constexpr Guid kSha256Digest = MakeGuid(0xc1c41626, 0x504c, 0x4092, 0xaca941f936934328);

struct SignatureEntry {
  Guid type{};
  Guid owner{};
  ByteView whole;  // owner and data: what is measured when it lets an image start
  ByteView data;   // a certificate in DER, a digest
};
// The entries of all lists, in order. kInvalid: malformed, or more than 4,096. No bytes are no entries.
[[nodiscard]] Result<std::vector<SignatureEntry>> ParseSignatureLists(ByteView lists);

[[nodiscard]] Bytes VariableData(const Guid& name_space, std::string_view ascii_name, ByteView data);

}  // namespace stele::measure
