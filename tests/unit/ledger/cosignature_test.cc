// Goal: a cosignature is exactly C2SP's, names its witness and its time, and nothing else is taken for one.
// Method: a golden file made with openssl (seed 0x40..0x5f), every flipped byte and every truncation of its line.
#include "appliance/ledger/cosignature.h"

#include <gtest/gtest.h>

#include "tests/unit/golden.h"

namespace stele::ledger {
namespace {

constexpr std::uint64_t kTime = 1679315147;

std::string Golden(const char* name) { return std::string(AsText(ReadGolden(name))); }

Cosigner GoldenCosigner() {
  Bytes seed;
  for (int i = 0x40; i < 0x60; ++i) seed.push_back(static_cast<std::byte>(i));
  auto cosigner = Cosigner::FromSeed("witness.invalid/w1", seed);
  EXPECT_TRUE(cosigner.has_value());
  return std::move(*cosigner);
}

CosignerKey GoldenKey() {
  const std::string vkey = Golden("cosigner.vkey");
  const auto key = ParseCosignerVkey(std::string_view(vkey).substr(0, vkey.size() - 1));
  EXPECT_TRUE(key.has_value());
  return key.value_or(CosignerKey{});
}

TEST(Cosignature, IsWhatOpensslAndTheFormatSay) {
  const std::string checkpoint = Golden("checkpoint.note");
  const auto note = ParseNote(checkpoint);
  ASSERT_TRUE(note.has_value());
  EXPECT_EQ(checkpoint + GoldenCosigner().Cosign(note->text, kTime), Golden("cosigned.note"));
  EXPECT_EQ(GoldenCosigner().key().Vkey() + "\n", Golden("cosigner.vkey"));
}

TEST(Cosignature, GoldenNoteIsCosignedAtItsTime) {
  const auto note = ParseNote(Golden("cosigned.note"));
  ASSERT_TRUE(note.has_value());
  const auto time_s = VerifyCosignature(*note, GoldenKey());
  ASSERT_TRUE(time_s.has_value()) << Describe(time_s.error());
  EXPECT_EQ(*time_s, kTime);
}

TEST(Cosignature, NewestOfTwoCounts) {
  auto note = ParseNote(Golden("cosigned.note"));
  ASSERT_TRUE(note.has_value());
  const auto later = ParseSignatureLines(GoldenCosigner().Cosign(note->text, kTime + 5));
  ASSERT_TRUE(later.has_value());
  note->signatures.insert(note->signatures.begin(), later->front());
  EXPECT_EQ(VerifyCosignature(*note, GoldenKey()).value_or(0), kTime + 5);
}

TEST(Cosignature, NoteWithoutOneIsNotFoundAndALogsSignatureIsNone) {
  const auto note = ParseNote(Golden("checkpoint.note"));
  ASSERT_TRUE(note.has_value());
  const auto missing = VerifyCosignature(*note, GoldenKey());
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error().code, Code::kNotFound);
  // The same key as a log's: another type, so another key id, and no cosignature.
  EXPECT_FALSE(ParseVkey(GoldenKey().Vkey()).has_value());
  const std::string log_vkey = Golden("checkpoint.vkey");
  EXPECT_FALSE(ParseCosignerVkey(std::string_view(log_vkey).substr(0, log_vkey.size() - 1)).has_value());
}

TEST(Cosignature, EveryFlippedByteOfTheSignatureIsDenied) {
  const auto good = ParseNote(Golden("cosigned.note"));
  ASSERT_TRUE(good.has_value());
  for (std::size_t i = 0; i < kCosignatureBytes; ++i) {
    Note bad = *good;
    bad.signatures[1].signature[i] ^= std::byte{1};
    const auto verified = VerifyCosignature(bad, GoldenKey());
    ASSERT_FALSE(verified.has_value()) << i;
    EXPECT_EQ(verified.error().code, Code::kDenied) << i;
  }
}

TEST(Cosignature, AnotherTextIsDenied) {
  auto note = ParseNote(Golden("cosigned.note"));
  ASSERT_TRUE(note.has_value());
  note->text[note->text.find('\n') + 1] ^= 1;
  EXPECT_EQ(VerifyCosignature(*note, GoldenKey()).error().code, Code::kDenied);
}

TEST(Cosignature, EveryTruncationOfItsLineIsRefused) {
  const std::string good = Golden("cosigned.note");
  for (std::size_t size = Golden("checkpoint.note").size() + 1; size < good.size(); ++size) {
    const auto note = ParseNote(good.substr(0, size));
    EXPECT_FALSE(note.has_value() && VerifyCosignature(*note, GoldenKey()).has_value()) << size;
  }
}

}  // namespace
}  // namespace stele::ledger
