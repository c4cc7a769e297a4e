// Goal: text encodings are exact and strict, and the reader is total. Method: RFC 4648 vectors, every truncation, every byte value.
#include "appliance/base/bytes.h"

#include <gtest/gtest.h>

#include <random>

namespace stele {
namespace {

TEST(Hex, KnownBytesBothWays) {
  const Bytes bytes = {std::byte{0x00}, std::byte{0x7f}, std::byte{0xff}, std::byte{0xa0}};
  EXPECT_EQ(HexOf(bytes), "007fffa0");
  EXPECT_EQ(ParseHex("007fffa0"), bytes);
  EXPECT_EQ(ParseHex("007FFFA0"), bytes);
  EXPECT_EQ(HexOf({}), "");
  EXPECT_EQ(ParseHex(""), Bytes{});
}

TEST(Hex, OddLengthsAndEveryOtherCharacterAreRefused) {
  EXPECT_FALSE(ParseHex("0"));
  EXPECT_FALSE(ParseHex("000"));
  for (int c = 0; c < 256; ++c) {
    const bool digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    EXPECT_EQ(ParseHex(std::string{'0', static_cast<char>(c)}).has_value(), digit) << c;
    EXPECT_EQ(ParseHex(std::string{static_cast<char>(c), '0'}).has_value(), digit) << c;
  }
}

TEST(Hex, AHashIsSixtyFourDigits) {
  EXPECT_TRUE(ParseHash(std::string(64, 'a')));
  EXPECT_FALSE(ParseHash(std::string(62, 'a')));
  EXPECT_FALSE(ParseHash(std::string(66, 'a')));
  EXPECT_FALSE(ParseHash(std::string(63, 'a') + "g"));
}

//= RFC 4648 section 10
//# BASE64("f") = "Zg=="
TEST(Base64, TheVectorsOfTheRfc) {
  const std::pair<const char*, const char*> vectors[] = {{"", ""},         {"f", "Zg=="},         {"fo", "Zm8="},
                                                         {"foo", "Zm9v"},  {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="},
                                                         {"foobar", "Zm9vYmFy"}};
  for (const auto& vector : vectors) {
    EXPECT_EQ(Base64Of(AsBytes(vector.first)), vector.second);
    const auto parsed = ParseBase64(vector.second, 6);
    ASSERT_TRUE(parsed) << vector.second;
    EXPECT_EQ(AsText(*parsed), vector.first);
  }
}

TEST(Base64, OnlyTheOneCanonicalFormIsAccepted) {
  for (const char* text : {"Zg", "Zg=", "Zg==Zg==", "Zh==", "Zm9=", "Zm-v", "Zm_v", "Zm9v\n", " Zm9v", "====", "=m9v", "Z===", "Zm=v",
                           "Zm9vYg==="}) {
    EXPECT_FALSE(ParseBase64(text, 100)) << text;
  }
  int accepted = 0;
  for (int c = 0; c < 256; ++c) accepted += ParseBase64(std::string{'A', 'A', 'A', static_cast<char>(c)}, 3) ? 1 : 0;
  EXPECT_EQ(accepted, 65);  // 64 digits and '='
}

TEST(Base64, TheBoundIsExact) {
  std::mt19937_64 random(1);
  for (std::size_t size = 0; size < 80; ++size) {
    Bytes bytes(size);
    for (auto& b : bytes) b = static_cast<std::byte>(random() & 0xffU);
    const std::string text = Base64Of(bytes);
    EXPECT_EQ(ParseBase64(text, size), bytes);
    if (size > 0) {
      EXPECT_FALSE(ParseBase64(text, size - 1)) << size;
    }
  }
}

TEST(Reader, ReadsWhatTheWriterWrote) {
  Bytes bytes;
  Writer writer(bytes);
  writer.Int(std::uint8_t{1});
  writer.Int(std::uint16_t{0x0203});
  writer.Int(std::uint32_t{0x04050607});
  writer.Int(std::int64_t{-2});
  Hash hash;
  hash.fill(std::byte{0x5a});
  writer.Raw(hash);
  writer.Sized(AsBytes("abc"));
  EXPECT_EQ(HexOf(ByteView(bytes).first(7)), "01030207060504");  // little-endian
  Reader reader(bytes);
  EXPECT_EQ(reader.Int<std::uint8_t>(), 1);
  EXPECT_EQ(reader.Int<std::uint16_t>(), 0x0203);
  EXPECT_EQ(reader.Int<std::uint32_t>(), 0x04050607U);
  EXPECT_EQ(reader.Int<std::int64_t>(), -2);
  EXPECT_EQ(reader.ReadHash(), hash);
  EXPECT_FALSE(reader.AtEnd());
  EXPECT_EQ(AsText(reader.Sized(3)), "abc");
  EXPECT_TRUE(reader.AtEnd());
}

TEST(Reader, EveryTruncationIsNoticedAndReadsAsZero) {
  Bytes bytes;
  Writer writer(bytes);
  writer.Int(std::uint32_t{0xffffffff});
  writer.Sized(AsBytes("hello"));
  writer.Int(std::uint64_t{~std::uint64_t{0}});
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    Reader reader(ByteView(bytes).first(size));
    (void)reader.Int<std::uint32_t>();
    (void)reader.Sized(5);
    EXPECT_EQ(reader.Int<std::uint64_t>(), 0U) << size;
    EXPECT_FALSE(reader.ok()) << size;
    EXPECT_FALSE(reader.AtEnd()) << size;
    EXPECT_TRUE(reader.Raw(1).empty());
  }
}

TEST(Reader, ALengthAboveItsBoundIsRefusedHoweverMuchIsThere) {
  Bytes bytes;
  Writer(bytes).Sized(AsBytes("hello"));
  Reader reader(bytes);
  EXPECT_TRUE(reader.Sized(4).empty());
  EXPECT_FALSE(reader.ok());
  Bytes huge;
  Writer(huge).Int(~std::uint32_t{0});
  Reader other(huge);
  EXPECT_TRUE(other.Sized(~std::size_t{0}).empty());
  EXPECT_FALSE(other.ok());
}

TEST(SameBytes, ComparesLengthAndContent) {
  EXPECT_TRUE(SameBytes({}, {}));
  EXPECT_TRUE(SameBytes(AsBytes("ab"), AsBytes("ab")));
  EXPECT_FALSE(SameBytes(AsBytes("ab"), AsBytes("abc")));
  EXPECT_FALSE(SameBytes(AsBytes("ab"), AsBytes("ac")));
}

}  // namespace
}  // namespace stele
