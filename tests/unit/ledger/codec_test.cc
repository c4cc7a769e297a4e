// Goal: what was compressed comes back, and damaged forms are refused. Method: round trips over sizes and kinds of data, truncations,
// changed bytes.
#include "appliance/ledger/codec.h"

#include <gtest/gtest.h>

#include <random>

namespace stele::ledger {
namespace {

Bytes Data(std::mt19937_64& random, std::size_t size, unsigned letters) {
  Bytes bytes(size);
  for (auto& b : bytes) b = static_cast<std::byte>(random() % letters);
  return bytes;
}

TEST(Codec, WhatWasCompressedComesBack) {
  std::mt19937_64 random(1);
  Compressor compressor;
  for (const Codec codec : {Codec::kNone, Codec::kLz4, Codec::kZstd}) {
    for (const std::size_t size : {0U, 1U, 2U, 100U, 4095U, 4096U, 65'535U, 65'536U, 65'537U, 1'048'576U}) {
      for (const unsigned letters : {1U, 4U, 256U}) {
        const Bytes raw = Data(random, size, letters);
        Bytes out = {std::byte{0x77}};
        const std::uint32_t stored = compressor.Append(codec, raw, out);
        ASSERT_EQ(out.size(), stored + 1U);
        EXPECT_EQ(out[0], std::byte{0x77});
        EXPECT_LE(stored, raw.size());
        Bytes back(size, std::byte{0xaa});
        ASSERT_TRUE(Decompress(codec, ByteView(out).subspan(1), back)) << size << " " << letters;
        EXPECT_EQ(back, raw);
      }
    }
  }
}

TEST(Codec, RepetitiveDataShrinksAndNoiseIsStoredRaw) {
  std::mt19937_64 random(2);
  Compressor compressor;
  for (const Codec codec : {Codec::kLz4, Codec::kZstd}) {
    Bytes out;
    EXPECT_LT(compressor.Append(codec, Data(random, 65'536, 1), out), 1000U);
    EXPECT_EQ(compressor.Append(codec, Data(random, 65'536, 256), out), 65'536U);
  }
}

TEST(Codec, ZstdGivesWayToLz4WhileFullBatchesFollowEachOtherAndComesBack) {
  CodecChoice choice;
  for (int i = 0; i < 100; ++i) ASSERT_EQ(choice.Next(i % CodecChoice::kTurnBlocks != 0), Codec::kZstd) << i;  // bursts
  for (int i = 0; i < CodecChoice::kTurnBlocks; ++i) (void)choice.Next(true);
  for (int i = 0; i < 100; ++i) ASSERT_EQ(choice.Next(i % CodecChoice::kTurnBlocks == 0), Codec::kLz4) << i;  // breaths
  for (int i = 0; i < CodecChoice::kTurnBlocks; ++i) (void)choice.Next(false);
  EXPECT_EQ(choice.Next(false), Codec::kZstd);
}

TEST(Codec, AConfiguredCodecStays) {
  CodecChoice choice(Codec::kZstd);
  for (int i = 0; i < 50; ++i) ASSERT_EQ(choice.Next(true), Codec::kZstd);
}

TEST(Codec, DamagedFormsNeverComeBackWithAnotherLength) {
  std::mt19937_64 random(3);
  Compressor compressor;
  const Bytes raw = Data(random, 5000, 4);
  for (const Codec codec : {Codec::kLz4, Codec::kZstd}) {
    Bytes stored;
    compressor.Append(codec, raw, stored);
    Bytes back(raw.size());
    for (std::size_t size = 0; size < stored.size(); ++size) {
      const auto done = Decompress(codec, ByteView(stored).first(size), back);
      EXPECT_FALSE(done) << size;
      if (!done) {
        EXPECT_EQ(done.error().code, Code::kCorrupt);
      }
    }
    Bytes longer(raw.size() + 1);
    EXPECT_FALSE(Decompress(codec, stored, longer));
    Bytes shorter(raw.size() - 1);
    EXPECT_FALSE(Decompress(codec, stored, shorter));
    for (std::size_t at = 0; at < stored.size(); ++at) {
      Bytes changed = stored;
      changed[at] ^= static_cast<std::byte>(1 + random() % 255);
      (void)Decompress(codec, changed, back);  // may decode to other bytes: the hashes see that; it must not overrun
    }
  }
  Bytes back(10);
  EXPECT_FALSE(Decompress(Codec::kNone, ByteView(raw).first(9), back));
  EXPECT_FALSE(Decompress(Codec::kNone, ByteView(raw).first(11), back));
}

}  // namespace
}  // namespace stele::ledger
