#include "appliance/store/aligned_buffer.h"

#include "appliance/base/limits.h"

namespace stele::store {

AlignedBuffer::AlignedBuffer(std::size_t size_bytes)
    : data_(static_cast<std::byte*>(std::aligned_alloc(limits::kSectorBytes, size_bytes))), size_bytes_(size_bytes) {
  STELE_CHECK(size_bytes % limits::kSectorBytes == 0);
  STELE_CHECK(data_ != nullptr);
}

}  // namespace stele::store
