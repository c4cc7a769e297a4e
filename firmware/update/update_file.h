// An update of the image: one file, or the bytes of it on a partition. From bytes alone.
//
//   update   := head manifest root tree uki
//   head     := "STELEUPD" format:u32 = 1 manifest_bytes:u32 signature[64]            80 bytes, little-endian
//   manifest := {"model":TEXT,"version":N,"root":PART,"tree":PART,"uki":PART}         JSON, at most 4,096 bytes
//   PART     := {"bytes":N,"sha256":HEX}
//
// root: file system for a root partition; tree: its dm-verity hash tree; uki: the signed unified kernel image.
// signature: Ed25519 by the update key over "stele/update/v1" || 0 || manifest. What follows uki is not looked at: a
// partition is larger than what it holds.
#pragma once

#include <string>
#include <string_view>

#include "appliance/base/bytes.h"

namespace stele::update {

inline constexpr std::string_view kMagic = "STELEUPD";
inline constexpr std::uint32_t kFormat = 1;
inline constexpr std::size_t kSignatureBytes = 64;
inline constexpr std::size_t kHeadBytes = 8 + 4 + 4 + kSignatureBytes;
static_assert(kHeadBytes == 80);  // DO NOT CHANGE: on disk
inline constexpr std::size_t kManifestBytesMax = 4096;
inline constexpr std::size_t kModelBytesMax = 64;
inline constexpr std::uint64_t kPartBytesMax = std::uint64_t{1} << 29U;  // of each part; all three are kept in memory

struct Head {
  std::uint32_t manifest_bytes = 0;  // 1 to kManifestBytesMax
  std::array<std::byte, kSignatureBytes> signature{};
};
[[nodiscard]] Result<Head> ParseHead(ByteView bytes);  // kInvalid: not an update

struct Part {
  std::uint64_t size_bytes = 0;  // 1 to kPartBytesMax
  Hash digest{};

  friend bool operator==(const Part&, const Part&) = default;
};
struct Manifest {
  std::string model;  // which appliance it is for: IMAGE_ID of /etc/os-release
  std::uint64_t version = 0;
  Part root;
  Part tree;
  Part uki;

  friend bool operator==(const Manifest&, const Manifest&) = default;
};
[[nodiscard]] Result<Manifest> ParseManifest(std::string_view json);  // kInvalid
[[nodiscard]] std::string EncodeManifest(const Manifest& manifest);

[[nodiscard]] Bytes SignedMessage(ByteView manifest);
// kDenied: not signed with this key (Ed25519, PEM); kInvalid: the key is not one.
[[nodiscard]] Result<void> CheckSignature(ByteView manifest, ByteView signature, std::string_view key_pem);

// Which image runs: model and version from the text of its /etc/os-release (IMAGE_ID, IMAGE_VERSION).
struct Identity {
  std::string model;
  std::uint64_t version = 0;
};
[[nodiscard]] Result<Identity> ParseIdentity(std::string_view os_release);  // kCorrupt

}  // namespace stele::update
