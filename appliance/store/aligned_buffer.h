// Memory as O_DIRECT wants it: on a 4,096-byte boundary.
#pragma once

#include <cstdlib>
#include <memory>

#include "appliance/base/bytes.h"

namespace stele::store {

class AlignedBuffer {
 public:
  // `size_bytes`: a multiple of limits::kSectorBytes.
  explicit AlignedBuffer(std::size_t size_bytes);
  [[nodiscard]] MutableBytes bytes() const { return {data_.get(), size_bytes_}; }

 private:
  struct Free {
    void operator()(std::byte* p) const { std::free(p); }  // NOLINT(cppcoreguidelines-no-malloc)  // aligned_alloc's
  };
  std::unique_ptr<std::byte, Free> data_;
  std::size_t size_bytes_;
};

}  // namespace stele::store
