// Goal: a PE image is accepted only if Authenticode's digest reaches each of its bytes, and the digest is the
// firmware's. Method: images written by hand, bent at every field that matters, against a second, slower way to the
// digest. Real images against sbsign, osslsigncode and objcopy: tests/integration/measure.sh.
#include "firmware/measure/pe.h"

#include <gtest/gtest.h>

#include "appliance/base/hash.h"
#include "tests/unit/measure/made_image.h"

namespace stele::measure {
namespace {

Bytes TwoSections() { return MadeImage({{".text", "some code"}, {".data", std::string(700, 'd')}}); }

Hash DigestOf(const Bytes& file) { return AuthenticodeDigest(file, ParsePe(file).value()); }

TEST(Pe, SaysWhatIsInTheImage) {
  const Bytes file = TwoSections();
  const auto image = ParsePe(file);
  ASSERT_TRUE(image.has_value()) << Describe(image.error());
  EXPECT_EQ(image->machine, 0x8664);
  EXPECT_TRUE(image->is_64_bit);
  EXPECT_EQ(image->checksum_at, kMadeChecksumAt);
  EXPECT_EQ(image->certificates_entry_at, kMadeEntryAt);
  ASSERT_EQ(image->sections.size(), 2U);
  EXPECT_EQ(image->sections[1].name, ".data");
  EXPECT_EQ(AsText(ContentOf(file, image->sections[0]).value()), "some code");
  EXPECT_EQ(ContentOf(file, image->sections[1]).value().size(), 700U);
  EXPECT_TRUE(SignaturesOf(file, *image).value().empty());
}

TEST(Pe, OnlyChecksumCertificateEntryAndCertificatesAreOutsideOfTheDigest) {
  const Bytes file = WithSignature(TwoSections(), "signature");
  const Hash digest = DigestOf(file);
  const std::size_t certificates_at = ParsePe(file)->certificates_at;
  for (std::size_t at = 0; at < file.size(); ++at) {
    Bytes altered = file;
    altered[at] ^= std::byte{1};
    const auto image = ParsePe(altered);
    if (!image) continue;
    const bool outside = (at >= kMadeChecksumAt && at < kMadeChecksumAt + 4) ||
                         (at >= kMadeEntryAt && at < kMadeEntryAt + 8) || at >= certificates_at;
    EXPECT_EQ(AuthenticodeDigest(altered, *image) == digest, outside) << at;
  }
}

TEST(Pe, ASignatureDoesNotChangeTheDigest) {
  const Bytes plain = TwoSections();
  const Bytes with = WithSignature(plain, "signature");
  EXPECT_EQ(DigestOf(with), DigestOf(plain));
  const auto signatures = SignaturesOf(with, ParsePe(with).value());
  ASSERT_EQ(signatures.value().size(), 1U);
  EXPECT_EQ(AsText(signatures.value()[0]), "signature");
  const Bytes other_type = WithSignature(plain, "signature", 1);
  EXPECT_TRUE(SignaturesOf(other_type, ParsePe(other_type).value()).value().empty());
}

TEST(Pe, WhatLiesBehindTheSectionsCounts) {
  Bytes longer = TwoSections();
  const Hash digest = DigestOf(longer);
  longer.push_back(std::byte{0});
  EXPECT_NE(DigestOf(longer), digest);
}

TEST(Pe, EveryTruncationIsRefused) {
  const Bytes file = WithSignature(TwoSections(), "signature");
  for (std::size_t size = 0; size < file.size(); ++size) EXPECT_FALSE(ParsePe(ByteView(file).first(size))) << size;
}

TEST(Pe, GapsOverlapsAndMisplacedPartsAreRefused) {
  const auto with = [](std::size_t at, std::uint32_t value) {
    Bytes file = TwoSections();
    StoreLittle(file.data() + at, value);
    return file;
  };
  const std::size_t second_place = kMadeTableAt + 40 + 20;
  EXPECT_TRUE(ParsePe(with(second_place, 1536)));   // as it is
  EXPECT_FALSE(ParsePe(with(second_place, 1024)));  // overlaps the first
  EXPECT_FALSE(ParsePe(with(second_place, 1544)));  // a gap before it
  EXPECT_FALSE(ParsePe(with(second_place - 4, 0x7fffffff)));
  EXPECT_FALSE(ParsePe(with(kMadeOptionalAt + 60, 512)));  // headers that do not reach the sections
  EXPECT_FALSE(ParsePe(with(kMadeOptionalAt + 108, 4)));   // no certificate entry
  EXPECT_FALSE(ParsePe(with(kMadeOptionalAt + 108, 17)));  // more directories than there is room for
  EXPECT_FALSE(ParsePe(with(kMadeEntryAt + 4, 8)));        // certificates at 0
  EXPECT_FALSE(ParsePe(with(60, 0xfffffff0)));
  EXPECT_FALSE(ParsePe(with(60, 2)));  // the PE header within the DOS header
  Bytes behind = WithSignature(TwoSections(), "signature");
  behind.resize(behind.size() + 8);  // bytes behind the certificates, which no digest would reach
  EXPECT_FALSE(ParsePe(behind));
}

TEST(Pe, ASectionThatIsNotAllInTheFileHasNoContent) {
  Bytes file = TwoSections();
  StoreLittle(file.data() + kMadeTableAt + 8, std::uint32_t{513});
  EXPECT_FALSE(ContentOf(file, ParsePe(file)->sections[0]));
}

TEST(Pe, AMalformedCertificateTableIsRefused) {
  Bytes file = WithSignature(TwoSections(), "signature");
  const std::size_t at = ParsePe(file)->certificates_at;
  for (const std::uint32_t length : {0U, 7U, 1000U}) {
    StoreLittle(file.data() + at, length);
    EXPECT_FALSE(SignaturesOf(file, ParsePe(file).value())) << length;
  }
}

}  // namespace
}  // namespace stele::measure
