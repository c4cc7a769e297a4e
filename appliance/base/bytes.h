// Byte strings: views, hexadecimal, base64, and little-endian fields read by a total reader.
#pragma once

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "appliance/base/result.h"

namespace stele {

static_assert(std::endian::native == std::endian::little, "Stele's formats are little-endian and so are its hosts");

using Bytes = std::vector<std::byte>;
using ByteView = std::span<const std::byte>;
using MutableBytes = std::span<std::byte>;

inline constexpr std::size_t kHashBytes = 32;
using Hash = std::array<std::byte, kHashBytes>;  // a SHA-256 digest

[[nodiscard]] inline ByteView AsBytes(std::string_view text) { return std::as_bytes(std::span(text.data(), text.size())); }
[[nodiscard]] inline std::string_view AsText(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
[[nodiscard]] inline Bytes ToBytes(ByteView bytes) { return {bytes.begin(), bytes.end()}; }
inline void Append(Bytes& out, ByteView bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); }
[[nodiscard]] bool SameBytes(ByteView a, ByteView b);  // not constant time; secrets use CRYPTO_memcmp

[[nodiscard]] std::string HexOf(ByteView bytes);                                       // lower case
[[nodiscard]] std::optional<Bytes> ParseHex(std::string_view text);                    // even length, hex digits only
[[nodiscard]] std::optional<Hash> ParseHash(std::string_view text);                    // exactly 64 hex digits
[[nodiscard]] std::string Base64Of(ByteView bytes);                                    // RFC 4648 section 4, padded
[[nodiscard]] std::optional<Bytes> ParseBase64(std::string_view text, std::size_t size_bytes_max);  // strict, padded

// Fixed-width little-endian integers at a place the caller has already bounded.
template <std::integral T>
[[nodiscard]] inline T LoadLittle(const std::byte* at) {
  T value{};
  std::memcpy(&value, at, sizeof value);
  return value;
}
template <std::integral T>
inline void StoreLittle(std::byte* at, T value) {
  std::memcpy(at, &value, sizeof value);
}

// Appends fields to a byte string.
class Writer {
 public:
  explicit Writer(Bytes& out) : out_(out) {}
  template <std::integral T>
  void Int(T value) {
    std::array<std::byte, sizeof(T)> raw;
    StoreLittle(raw.data(), value);
    Append(out_, raw);
  }
  void Raw(ByteView bytes) { Append(out_, bytes); }
  void Sized(ByteView bytes) {  // u32 length, then the bytes
    Int(static_cast<std::uint32_t>(bytes.size()));
    Raw(bytes);
  }

 private:
  Bytes& out_;
};

// Reads fields from hostile or damaged bytes. After the first short read everything reads as zero and ok() is false:
// callers read a whole structure, then test once. Views point into the input.
class Reader {
 public:
  explicit Reader(ByteView in) : in_(in) {}
  template <std::integral T>
  [[nodiscard]] T Int() {
    const ByteView raw = Raw(sizeof(T));
    return raw.size() == sizeof(T) ? LoadLittle<T>(raw.data()) : T{};
  }
  [[nodiscard]] ByteView Raw(std::size_t size_bytes) {
    if (size_bytes > in_.size() - at_) {
      ok_ = false;
      at_ = in_.size();
      return {};
    }
    const ByteView part = in_.subspan(at_, size_bytes);
    at_ += size_bytes;
    return part;
  }
  [[nodiscard]] ByteView Sized(std::size_t size_bytes_max) {
    const auto size_bytes = Int<std::uint32_t>();
    if (size_bytes > size_bytes_max) {
      ok_ = false;
      return {};
    }
    return Raw(size_bytes);
  }
  [[nodiscard]] Hash ReadHash() {
    Hash hash{};
    const ByteView raw = Raw(kHashBytes);
    if (raw.size() == kHashBytes) std::memcpy(hash.data(), raw.data(), kHashBytes);
    return hash;
  }
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] bool AtEnd() const { return ok_ && at_ == in_.size(); }  // nothing missing, nothing left over
  [[nodiscard]] std::size_t left_bytes() const { return in_.size() - at_; }

 private:
  ByteView in_;
  std::size_t at_ = 0;
  bool ok_ = true;
};

}  // namespace stele
