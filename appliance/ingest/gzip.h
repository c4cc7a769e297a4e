// A gzip stream (RFC 1952, members one after the other) inflated as it arrives, in steps the caller sizes.
//
// Bounds: more than limits::kGzipRatioMax bytes out per byte in, once limits::kGzipFreeBytes are out, is a bomb. How
// much comes out in all is the caller's to bound. Thread safety: one stream = one thread.
#pragma once

#include <memory>

#include "appliance/base/bytes.h"

struct z_stream_s;

namespace stele::ingest {

class GzipReader {
 public:
  GzipReader();
  ~GzipReader();
  GzipReader(const GzipReader&) = delete;
  GzipReader& operator=(const GzipReader&) = delete;

  void Give(ByteView in);  // only when Take() has returned 0; the view is kept until then
  // Bytes written to `out`; 0: give more. kInvalid: not gzip, damaged. kUnavailable: a bomb.
  [[nodiscard]] Result<std::size_t> Take(MutableBytes out);
  [[nodiscard]] Result<void> Finish() const;  // kInvalid: the stream was cut

 private:
  std::unique_ptr<z_stream_s> stream_;
  bool usable_ = false;
  bool between_members_ = false;  // a member has ended and nothing of another has come
  std::uint64_t in_bytes_ = 0;
  std::uint64_t out_bytes_ = 0;
};

}  // namespace stele::ingest
