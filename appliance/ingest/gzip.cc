#include "appliance/ingest/gzip.h"

#include <zlib.h>

#include <algorithm>

#include "appliance/base/limits.h"

namespace stele::ingest {
namespace {

constexpr int kGzipOnly = 16 + MAX_WBITS;

}  // namespace

GzipReader::GzipReader() : stream_(std::make_unique<z_stream>()) {
  usable_ = inflateInit2(stream_.get(), kGzipOnly) == Z_OK;
}

GzipReader::~GzipReader() {
  if (usable_) (void)inflateEnd(stream_.get());  // frees what it holds, whatever it says
}

void GzipReader::Give(ByteView in) {
  // zlib promises not to write through next_in.
  stream_->next_in =
      const_cast<Bytef*>(reinterpret_cast<const Bytef*>(in.data()));  // NOLINT(cppcoreguidelines-pro-type-const-cast)
  stream_->avail_in = static_cast<uInt>(in.size());
  in_bytes_ += in.size();
}

Result<std::size_t> GzipReader::Take(MutableBytes out) {
  if (!usable_) return Fail(Code::kUnavailable, "no memory to inflate the body");
  stream_->next_out = reinterpret_cast<Bytef*>(out.data());
  stream_->avail_out = static_cast<uInt>(out.size());
  while (stream_->avail_out > 0) {
    if (between_members_) {
      if (stream_->avail_in == 0) break;
      if (inflateReset(stream_.get()) != Z_OK) return Fail(Code::kInvalid, "the body is not gzip");
      between_members_ = false;
    }
    const int status = inflate(stream_.get(), Z_NO_FLUSH);
    if (status == Z_STREAM_END) {
      between_members_ = true;
      continue;
    }
    if (status == Z_BUF_ERROR) break;  // no progress: more input is needed
    if (status != Z_OK) return Fail(Code::kInvalid, "the body is not gzip, or damaged");
    if (stream_->avail_in == 0 && stream_->avail_out > 0) break;
  }
  const std::size_t written = out.size() - stream_->avail_out;
  out_bytes_ += written;
  if (out_bytes_ > std::max<std::uint64_t>(limits::kGzipFreeBytes, in_bytes_ * limits::kGzipRatioMax)) {
    return Fail(Code::kUnavailable, "the body inflates too far: it is taken for a bomb");
  }
  return written;
}

Result<void> GzipReader::Finish() const {
  if (!between_members_) return Fail(Code::kInvalid, "the gzip body was cut");
  return {};
}

}  // namespace stele::ingest
