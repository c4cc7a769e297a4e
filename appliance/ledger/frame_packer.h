// Frames of a block: the payloads of a batch, cut at record borders into stretches of at most 64 KiB (unless one record
// is larger), each compressed alone. Frames depend on nothing but the payloads, so those that no further record can
// join may be packed while the batch still grows and the block before it is being written.
//
// Pure: the same batch gives the same frames, whenever they are packed. A FramePacker belongs to one thread.
#pragma once

#include "appliance/ledger/codec.h"

namespace stele::ledger {

class FramePacker {
 public:
  // Adds to batch.packed the frames that are complete. Frames of another codec are given up first.
  void PackComplete(Batch& batch, Codec codec);
  // The frames behind those that `batch` has packed already (all, where they are of another codec), to the end.
  void PackRest(const Batch& batch, Codec codec, PackedFrames& rest);

 private:
  void Pack(const Batch& batch, bool to_end, PackedFrames& packed);

  Compressor compressor_;
};

}  // namespace stele::ledger
