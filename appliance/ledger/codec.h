// The two compressors of blocks behind one call. zstd level 1 with a small hash table (hashLog 13, minMatch 7) normally,
// LZ4 under pressure: figures in docs/performance.md.
#pragma once

#include <memory>

#include "appliance/ledger/block.h"

namespace stele::ledger {

class Compressor {
 public:
  Compressor();
  ~Compressor();
  // Appends the compressed form of `raw` to `out`, or `raw` itself where that is not smaller. Returns the stored size.
  std::uint32_t Append(Codec codec, ByteView raw, Bytes& out);

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

// Exactly out.size() bytes or kCorrupt. stored.size() == out.size() means stored raw.
[[nodiscard]] Result<void> Decompress(Codec codec, ByteView stored, MutableBytes out);
[[nodiscard]] std::size_t CompressBound(std::size_t raw_bytes);

}  // namespace stele::ledger
