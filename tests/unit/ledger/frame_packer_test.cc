// Goal: frames packed while a batch grows are those that would be packed at its end, and a block made with them is the
// same block. Method: batches that grow record by record, of all codecs, with records smaller and larger than a frame.
#include "appliance/ledger/frame_packer.h"

#include <gtest/gtest.h>

#include "appliance/base/limits.h"
#include "tests/unit/ledger/reference.h"

namespace stele::ledger {
namespace {

constexpr Codec kCodecs[] = {Codec::kNone, Codec::kLz4, Codec::kZstd};

Batch WithPayloads(const std::vector<std::size_t>& lengths) {
  std::mt19937_64 random(5);
  Batch batch;
  for (const std::size_t length : lengths) {
    Bytes payload(length);
    for (auto& b : payload) b = static_cast<std::byte>('a' + random() % 8);
    batch.Add(record::Kind::kSyslog, 0, 1, 1'700'000'000'000'000'000, record::Peer{}, Sha256Of(payload), payload);
  }
  return batch;
}

std::vector<std::size_t> Lengths() {
  std::vector<std::size_t> lengths(700, 300);
  for (const std::size_t length :
       {std::size_t{0}, std::size_t{0}, limits::kFrameRawBytes, limits::kFrameRawBytes + 1, std::size_t{0},
        std::size_t{3 * limits::kFrameRawBytes}, std::size_t{1}, limits::kFrameRawBytes - 1}) {
    lengths.push_back(length);
  }
  lengths.insert(lengths.end(), 300, 250);
  return lengths;
}

Bytes Encoded(Batch batch, Codec codec) {
  Sequencer sequencer(Sha256Of(AsBytes("log")));
  const SequencedBatch sequenced = sequencer.Sequence(std::move(batch));
  MacChain mac(Sha256Of(AsBytes("session")), Sha256Of(AsBytes("key")));
  BlockEncoder encoder;
  return ToBytes(encoder.Encode(sequenced, {3, 8192, 5, {}, {}}, codec, mac));
}

TEST(FramePacker, ABlockOfFramesPackedWhileTheBatchGrewIsTheSameBlock) {
  const std::vector<std::size_t> lengths = Lengths();
  const Batch whole = WithPayloads(lengths);
  for (const Codec codec : kCodecs) {
    FramePacker packer;
    Batch growing;
    std::size_t at = 0;
    for (std::size_t i = 0; i < whole.size(); ++i) {
      growing.Add(record::Kind::kSyslog, 0, 1, whole.wall_ns[i], whole.peers[i], whole.commitments[i],
                  ByteView(whole.payloads).subspan(at, whole.lengths[i]));
      at += whole.lengths[i];
      packer.PackComplete(growing, codec);
    }
    ASSERT_GT(growing.packed.frames.size(), 5U);
    ASSERT_LT(growing.packed.record_count, growing.size());  // the last frame may still grow
    EXPECT_EQ(Encoded(growing, codec), Encoded(whole, codec)) << int{static_cast<std::uint8_t>(codec)};
  }
}

TEST(FramePacker, FramesOfAnotherCodecAreNotUsed) {
  for (const Codec packed : kCodecs) {
    for (const Codec wanted : kCodecs) {
      FramePacker packer;
      Batch batch = WithPayloads(Lengths());
      packer.PackComplete(batch, packed);
      EXPECT_EQ(Encoded(batch, wanted), Encoded(WithPayloads(Lengths()), wanted));
      packer.PackComplete(batch, wanted);
      EXPECT_EQ(Encoded(std::move(batch), wanted), Encoded(WithPayloads(Lengths()), wanted));
    }
  }
}

TEST(FramePacker, ABatchThatIsCutIsPackedAgain) {
  FramePacker packer;
  Batch rest = WithPayloads(Lengths());
  packer.PackComplete(rest, Codec::kLz4);
  Batch expected_rest = WithPayloads(Lengths());
  const Batch expected_first = expected_rest.TakeFirst(333);
  const Batch first = rest.TakeFirst(333);
  EXPECT_EQ(Encoded(first, Codec::kLz4), Encoded(expected_first, Codec::kLz4));
  EXPECT_EQ(Encoded(rest, Codec::kLz4), Encoded(expected_rest, Codec::kLz4));
}

TEST(FramePacker, NothingIsPackedBeforeAFrameIsComplete) {
  FramePacker packer;
  Batch batch = WithPayloads({limits::kFrameRawBytes});
  packer.PackComplete(batch, Codec::kLz4);
  EXPECT_TRUE(batch.packed.frames.empty());
  batch = WithPayloads({limits::kFrameRawBytes, 1});
  packer.PackComplete(batch, Codec::kLz4);
  EXPECT_EQ(batch.packed.frames.size(), 1U);
  EXPECT_EQ(batch.packed.record_count, 1U);
}

}  // namespace
}  // namespace stele::ledger
