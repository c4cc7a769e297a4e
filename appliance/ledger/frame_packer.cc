#include "appliance/ledger/frame_packer.h"

#include "appliance/base/limits.h"

namespace stele::ledger {

void FramePacker::Pack(const Batch& batch, bool to_end, PackedFrames& packed) {
  while (packed.record_count < batch.size()) {
    if (!to_end && batch.payloads.size() - packed.raw_bytes <= limits::kFrameRawBytes) return;
    std::size_t end = packed.record_count;
    std::size_t raw = 0;
    while (end < batch.size() && (end == packed.record_count || raw + batch.lengths[end] <= limits::kFrameRawBytes)) {
      raw += batch.lengths[end];
      ++end;
    }
    if (!to_end && end == batch.size()) return;
    PackedFrames::Frame frame;
    frame.record_count = static_cast<std::uint32_t>(end - packed.record_count);
    frame.raw_bytes = static_cast<std::uint32_t>(raw);
    frame.stored_bytes =
        compressor_.Append(packed.codec, ByteView(batch.payloads).subspan(packed.raw_bytes, raw), packed.bytes);
    packed.frames.push_back(frame);
    packed.record_count = end;
    packed.raw_bytes += raw;
  }
}

void FramePacker::PackComplete(Batch& batch, Codec codec) {
  if (batch.packed.codec != codec) batch.packed.Clear();
  batch.packed.codec = codec;
  Pack(batch, false, batch.packed);
}

void FramePacker::PackRest(const Batch& batch, Codec codec, PackedFrames& rest) {
  rest.Clear();
  rest.codec = codec;
  if (batch.packed.codec == codec) {
    rest.record_count = batch.packed.record_count;
    rest.raw_bytes = batch.packed.raw_bytes;
  }
  Pack(batch, true, rest);
}

}  // namespace stele::ledger
