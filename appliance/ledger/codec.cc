#include "appliance/ledger/codec.h"

#include <lz4.h>
#include <zstd.h>

#include <algorithm>

namespace stele::ledger {
namespace {

// LZ4 is for the time in which the processor is what is short: at 5 it takes a quarter less of it than at 1, for a tenth more
// disk (varied syslog lines of 256 bytes in frames of 64 KiB).
constexpr int kLz4Acceleration = 5;

}  // namespace


struct Compressor::Context {
  struct Free {
    void operator()(ZSTD_CCtx* ctx) const { ZSTD_freeCCtx(ctx); }
  };
  std::unique_ptr<ZSTD_CCtx, Free> zstd{ZSTD_createCCtx()};
  Bytes scratch;  // as large as anything needed so far, so that nothing is cleared for each frame
};

Compressor::Compressor() : context_(std::make_unique<Context>()) {
  ZSTD_CCtx* ctx = context_->zstd.get();
  STELE_CHECK(ctx != nullptr);
  const std::pair<ZSTD_cParameter, int> parameters[] = {
      {ZSTD_c_compressionLevel, 1}, {ZSTD_c_strategy, ZSTD_fast}, {ZSTD_c_hashLog, 13},       {ZSTD_c_minMatch, 7},
      {ZSTD_c_windowLog, 17},       {ZSTD_c_checksumFlag, 0},     {ZSTD_c_contentSizeFlag, 0}};
  for (const auto& [name, value] : parameters) STELE_CHECK(ZSTD_isError(ZSTD_CCtx_setParameter(ctx, name, value)) == 0);
}

Compressor::~Compressor() = default;

std::uint32_t Compressor::Append(Codec codec, ByteView raw, Bytes& out) {
  ByteView stored = raw;
  if (codec != Codec::kNone && !raw.empty()) {
    Bytes& scratch = context_->scratch;
    const std::size_t bound = CompressBound(raw.size());
    if (scratch.size() < bound) scratch.resize(bound);
    std::size_t size = 0;  // 0: could not
    if (codec == Codec::kZstd) {
      const std::size_t n = ZSTD_compress2(context_->zstd.get(), scratch.data(), bound, raw.data(), raw.size());
      if (ZSTD_isError(n) == 0) size = n;
    } else {
      const int n = LZ4_compress_fast(reinterpret_cast<const char*>(raw.data()), reinterpret_cast<char*>(scratch.data()),
                                      static_cast<int>(raw.size()), static_cast<int>(bound), kLz4Acceleration);
      if (n > 0) size = static_cast<std::size_t>(n);
    }
    if (size != 0 && size < raw.size()) stored = ByteView(scratch).first(size);
  }
  stele::Append(out, stored);
  return static_cast<std::uint32_t>(stored.size());
}

Result<void> Decompress(Codec codec, ByteView stored, MutableBytes out) {
  if (stored.size() == out.size()) {
    std::copy(stored.begin(), stored.end(), out.begin());
    return {};
  }
  if (stored.size() > out.size()) return Fail(Code::kCorrupt, "codec: stored form larger than raw");
  if (codec == Codec::kZstd) {
    const std::size_t n = ZSTD_decompress(out.data(), out.size(), stored.data(), stored.size());
    if (ZSTD_isError(n) != 0 || n != out.size()) return Fail(Code::kCorrupt, "codec: zstd frame is damaged");
    return {};
  }
  if (codec == Codec::kLz4) {
    const int n = LZ4_decompress_safe(reinterpret_cast<const char*>(stored.data()), reinterpret_cast<char*>(out.data()),
                                      static_cast<int>(stored.size()), static_cast<int>(out.size()));
    if (n < 0 || static_cast<std::size_t>(n) != out.size()) return Fail(Code::kCorrupt, "codec: lz4 frame is damaged");
    return {};
  }
  return Fail(Code::kCorrupt, "codec: unknown");
}

std::size_t CompressBound(std::size_t raw_bytes) {
  return std::max(ZSTD_compressBound(raw_bytes), raw_bytes + raw_bytes / 255 + 64);
}

}  // namespace stele::ledger
