// Goal: only a whole manifest under the right signature is an update. Method: golden file, every truncation, each
// member missing or out of its bounds, foreign keys and changed bytes; openssl signs.
#include "firmware/update/update_file.h"

#include "tests/unit/golden.h"
#include "tests/unit/update/made_update.h"

namespace stele::update {
namespace {

Hash Filled(unsigned char value) {
  Hash hash;
  hash.fill(static_cast<std::byte>(value));
  return hash;
}

const Manifest kManifest{"stele-model-1", 7, {8192, Filled(1)}, {4096, Filled(2)}, {100, Filled(3)}};

TEST(Manifest, HasTheBytesOfTheFormatAndComesBack) {
  const std::string text = EncodeManifest(kManifest);
  ExpectGolden("update_manifest.json", AsBytes(text));
  const auto parsed = ParseManifest(text);
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(*parsed, kManifest);
}

TEST(Manifest, WhatIsNotWholeIsRefused) {
  const std::string text = EncodeManifest(kManifest);
  for (std::size_t size = 0; size < text.size(); ++size) EXPECT_FALSE(ParseManifest(text.substr(0, size))) << size;
  for (const char* member :
       {"\"model\"", "\"version\"", "\"root\"", "\"tree\"", "\"uki\"", "\"bytes\"", "\"sha256\""}) {
    std::string without = text;
    without.replace(without.find(member), std::string(member).size(), "\"other\"");
    EXPECT_FALSE(ParseManifest(without)) << member;
  }
  EXPECT_FALSE(ParseManifest("[]"));
  EXPECT_FALSE(ParseManifest(text + std::string(kManifestBytesMax, ' ')));
}

TEST(Manifest, ValuesOutOfTheirBoundsAreRefused) {
  const auto refused = [](Manifest manifest, auto change) {
    change(manifest);
    return !ParseManifest(EncodeManifest(manifest)).has_value();
  };
  EXPECT_TRUE(refused(kManifest, [](Manifest& m) { m.root.size_bytes = 0; }));
  EXPECT_TRUE(refused(kManifest, [](Manifest& m) { m.uki.size_bytes = kPartBytesMax + 1; }));
  EXPECT_FALSE(refused(kManifest, [](Manifest& m) { m.uki.size_bytes = kPartBytesMax; }));
  EXPECT_TRUE(refused(kManifest, [](Manifest& m) { m.model = ""; }));
  EXPECT_TRUE(refused(kManifest, [](Manifest& m) { m.model = std::string(kModelBytesMax + 1, 'm'); }));
  EXPECT_TRUE(refused(kManifest, [](Manifest& m) { m.model = "a model\n"; }));
  std::string negative = EncodeManifest(kManifest);
  negative.replace(negative.find(":7"), 2, ":-7");
  EXPECT_FALSE(ParseManifest(negative));
}

TEST(UpdateHead, IsReadAndEveryTruncationIsRefused) {
  Bytes head = ToBytes(AsBytes(kMagic));
  Writer writer(head);
  writer.Int(kFormat);
  writer.Int(std::uint32_t{300});
  writer.Raw(Bytes(kSignatureBytes, std::byte{9}));
  const auto parsed = ParseHead(head);
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->manifest_bytes, 300U);
  EXPECT_EQ(parsed->signature.back(), std::byte{9});
  for (std::size_t size = 0; size < head.size(); ++size) EXPECT_FALSE(ParseHead(ByteView(head).first(size))) << size;
}

TEST(UpdateHead, AnotherMagicFormatOrSizeIsRefused) {
  const auto head = [](std::string_view magic, std::uint32_t format, std::uint32_t manifest_bytes) {
    Bytes bytes = ToBytes(AsBytes(magic));
    Writer writer(bytes);
    writer.Int(format);
    writer.Int(manifest_bytes);
    writer.Raw(Bytes(kSignatureBytes));
    return bytes;
  };
  EXPECT_TRUE(ParseHead(head(kMagic, 1, kManifestBytesMax)));
  EXPECT_FALSE(ParseHead(head(kMagic, 1, kManifestBytesMax + 1)));
  EXPECT_FALSE(ParseHead(head(kMagic, 1, 0)));
  EXPECT_FALSE(ParseHead(head(kMagic, 2, 300)));
  EXPECT_FALSE(ParseHead(head("STELEUPX", 1, 300)));
}

TEST(UpdateSignature, IsThatOfTheUpdateKeyOverThisManifestInThisDomain) {
  const UpdateMaker maker;
  const std::string text = EncodeManifest(kManifest);
  const Bytes signature = maker.Sign(SignedMessage(AsBytes(text)));
  EXPECT_TRUE(CheckSignature(AsBytes(text), signature, maker.PublicKey()));
  EXPECT_EQ(CheckSignature(AsBytes(text + " "), signature, maker.PublicKey()).error().code, Code::kDenied);
  EXPECT_EQ(CheckSignature(AsBytes(text), maker.Sign(AsBytes(text)), maker.PublicKey()).error().code, Code::kDenied);
  EXPECT_EQ(CheckSignature(AsBytes(text), Bytes(kSignatureBytes), maker.PublicKey()).error().code, Code::kDenied);
  maker.MakeKey("stranger");
  const Bytes foreign = maker.Sign(SignedMessage(AsBytes(text)), "stranger");
  EXPECT_EQ(CheckSignature(AsBytes(text), foreign, maker.PublicKey()).error().code, Code::kDenied);
  EXPECT_EQ(CheckSignature(AsBytes(text), signature, "").error().code, Code::kInvalid);
}

TEST(Identity, IsModelAndVersionOfTheImage) {
  const auto identity = ParseIdentity("NAME=\"Stele\"\nIMAGE_ID=stele-model-1\nIMAGE_VERSION=12\n");
  ASSERT_TRUE(identity.has_value());
  EXPECT_EQ(identity->model, "stele-model-1");
  EXPECT_EQ(identity->version, 12U);
  for (const char* wrong : {"", "IMAGE_ID=m\n", "IMAGE_VERSION=1\n", "IMAGE_ID=m\nIMAGE_VERSION=1x\n",
                            "IMAGE_ID=m\nIMAGE_VERSION=\n", "IMAGE_ID=\nIMAGE_VERSION=1\n"})
    EXPECT_FALSE(ParseIdentity(wrong)) << wrong;
}

}  // namespace
}  // namespace stele::update
