// TPM structures are big-endian: the writer and the total reader for them, over base's byte strings.
#pragma once

#include "appliance/base/bytes.h"

namespace stele::tpm {

class BigWriter {
 public:
  explicit BigWriter(Bytes& out) : out_(out) {}
  template <std::unsigned_integral T>
  void Int(T value) {
    for (std::size_t i = sizeof(T); i-- > 0;) out_.push_back(static_cast<std::byte>(value >> (8 * i)));
  }
  void Raw(ByteView bytes) { Append(out_, bytes); }
  void Sized(ByteView bytes) {  // TPM2B: u16 size, then the bytes
    Int(static_cast<std::uint16_t>(bytes.size()));
    Raw(bytes);
  }

 private:
  Bytes& out_;
};

// After the first short read everything reads as zero and AtEnd() is false. Views point into the input.
class BigReader {
 public:
  explicit BigReader(ByteView in) : in_(in) {}
  template <std::unsigned_integral T>
  [[nodiscard]] T Int() {
    const ByteView raw = in_.Raw(sizeof(T));
    std::uint64_t value = 0;
    for (const std::byte b : raw) value = (value << 8) | std::to_integer<std::uint64_t>(b);
    return static_cast<T>(value);
  }
  [[nodiscard]] ByteView Raw(std::size_t size_bytes) { return in_.Raw(size_bytes); }
  [[nodiscard]] ByteView Sized() { return in_.Raw(Int<std::uint16_t>()); }
  [[nodiscard]] bool ok() const { return in_.ok(); }
  [[nodiscard]] bool AtEnd() const { return in_.AtEnd(); }

 private:
  Reader in_;
};

}  // namespace stele::tpm
