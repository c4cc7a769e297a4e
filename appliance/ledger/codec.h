// The two compressors of blocks behind one call. zstd level 1 with a small hash table (hashLog 13, minMatch 7) normally,
// LZ4 under pressure: figures in docs/performance.md.
#pragma once

#include <memory>
#include <optional>

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

// Which codec a block takes where the configuration leaves it open: zstd, but LZ4 while full batches come one after the other,
// which means that records arrive faster than they can be written. A few blocks of the other kind change nothing.
class CodecChoice {
 public:
  explicit CodecChoice(std::optional<Codec> fixed = std::nullopt) : fixed_(fixed) {}
  [[nodiscard]] Codec Next(bool batch_full) {
    if (fixed_) return *fixed_;
    against_ = batch_full == pressure_ ? 0 : against_ + 1;
    if (against_ == kTurnBlocks) {
      pressure_ = !pressure_;
      against_ = 0;
    }
    return pressure_ ? Codec::kLz4 : Codec::kZstd;
  }
  static constexpr int kTurnBlocks = 8;

 private:
  std::optional<Codec> fixed_;
  bool pressure_ = false;
  int against_ = 0;  // blocks in a row that speak against the present choice
};

// Exactly out.size() bytes or kCorrupt. stored.size() == out.size() means stored raw.
[[nodiscard]] Result<void> Decompress(Codec codec, ByteView stored, MutableBytes out);
[[nodiscard]] std::size_t CompressBound(std::size_t raw_bytes);

}  // namespace stele::ledger
