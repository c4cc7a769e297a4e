// Goal: an entry has the bytes of docs/format.md for ever; a commitment binds salt, peer and payload. Method: a golden file, offsets
// written out by hand, every truncation, every changed bit, salts against a second derivation.
#include "appliance/record/entry.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <set>

#include "tests/unit/golden.h"

namespace stele::record {
namespace {

Entry Sample() {
  Entry entry;
  entry.kind = Kind::kJson;
  entry.flags = kFlagTruncated | kFlagRestamped;
  entry.source = 0x01020304;
  entry.sequence = 0x1112131415161718;
  entry.receive_wall_ns = -0x2122232425262728;
  entry.previous = Sha256Of(AsBytes("previous"));
  entry.commitment = Sha256Of(AsBytes("commitment"));
  entry.payload_length = 0x31323334;
  return entry;
}

TEST(Entry, GoldenBytes) { ExpectGolden("entry.bin", EncodeEntry(Sample())); }

TEST(Entry, FieldsLieWhereTheFormatSays) {
  const EntryBytes bytes = EncodeEntry(Sample());
  const ByteView view = bytes;
  EXPECT_EQ(HexOf(view.first(24)), "01021100040302011817161514131211d8d8d9dadbdcddde");
  EXPECT_TRUE(SameBytes(view.subspan(24, 32), Sha256Of(AsBytes("previous"))));
  EXPECT_TRUE(SameBytes(view.subspan(56, 32), Sha256Of(AsBytes("commitment"))));
  EXPECT_EQ(HexOf(view.last(4)), "34333231");
}

TEST(Entry, DecodesToWhatWasEncoded) {
  const auto entry = DecodeEntry(EncodeEntry(Sample()));
  ASSERT_TRUE(entry);
  EXPECT_EQ(EncodeEntry(*entry), EncodeEntry(Sample()));
  EXPECT_EQ(entry->kind, Kind::kJson);
  EXPECT_EQ(entry->receive_wall_ns, -0x2122232425262728);
}

TEST(Entry, EveryOtherLengthVersionAndKindIsCorrupt) {
  const EntryBytes bytes = EncodeEntry(Sample());
  for (std::size_t size = 0; size < bytes.size(); ++size) EXPECT_FALSE(DecodeEntry(ByteView(bytes).first(size))) << size;
  Bytes longer(bytes.begin(), bytes.end());
  longer.push_back(std::byte{0});
  EXPECT_FALSE(DecodeEntry(longer));
  for (int value = 0; value < 256; ++value) {
    EntryBytes version = bytes;
    version[0] = static_cast<std::byte>(value);
    EXPECT_EQ(DecodeEntry(version).has_value(), value == 1) << value;
    EntryBytes kind = bytes;
    kind[1] = static_cast<std::byte>(value);
    EXPECT_EQ(DecodeEntry(kind).has_value(), value >= 1 && value <= 13) << value;
  }
}

TEST(Entry, EveryBitIsInTheLeafHash) {
  EntryBytes bytes = EncodeEntry(Sample());
  std::set<Hash> leaves{LeafHash(bytes)};
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    leaves.insert(LeafHash(bytes));
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
  }
  EXPECT_EQ(leaves.size(), kEntryBytes * 8 + 1);
}

TEST(Commitment, IsTheHashOfLabelSaltPeerAndPayload) {
  Salt salt;
  salt.fill(std::byte{0x11});
  Peer peer;
  peer.fill(std::byte{0x22});
  const std::string payload = "a payload that is longer than what goes the fast way: " + std::string(200, 'x');
  const Hash expected = Sha256Of({AsBytes("stele/payload/v1"), salt, peer, AsBytes(payload)});
  EXPECT_EQ(CommitPayload(salt, peer, AsBytes(payload)), expected);
  EXPECT_EQ(CommitPayload(salt, peer, {}), Sha256Of({AsBytes("stele/payload/v1"), salt, peer}));
  Peer other_peer = peer;
  other_peer[17] ^= std::byte{1};
  Salt other_salt = salt;
  other_salt[15] ^= std::byte{1};
  EXPECT_NE(CommitPayload(salt, other_peer, AsBytes(payload)), expected);
  EXPECT_NE(CommitPayload(other_salt, peer, AsBytes(payload)), expected);
}

TEST(Salts, AreAesOfThePosition) {
  SaltKey key;
  for (std::size_t i = 0; i < key.size(); ++i) key[i] = static_cast<std::byte>(i);
  // FIPS 197 appendix C.1 has this key; its block is 00112233..., ours is a position, so compute it with OpenSSL directly.
  EVP_CIPHER_CTX* ctx = EVP_CIPHER_CTX_new();
  ASSERT_EQ(EVP_EncryptInit_ex(ctx, EVP_aes_128_ecb(), nullptr, reinterpret_cast<const unsigned char*>(key.data()), nullptr), 1);
  for (const std::uint32_t position : {0U, 1U, 255U, 256U, 65'535U, 0x01020304U, 0xffffffffU}) {
    std::array<unsigned char, 16> block{};
    for (std::size_t b = 0; b < 4; ++b) block[12 + b] = static_cast<unsigned char>(position >> (24 - 8 * b));
    std::array<unsigned char, 32> out{};
    int written = 0;
    ASSERT_EQ(EVP_EncryptUpdate(ctx, out.data(), &written, block.data(), 16), 1);
    ASSERT_GE(written, 16);
    EXPECT_TRUE(SameBytes(DeriveSalt(key, position), std::as_bytes(std::span(out).first(16)))) << position;
  }
  EVP_CIPHER_CTX_free(ctx);
}

TEST(Salts, ManyAtOnceAreTheSameOneByOneAndAllDifferent) {
  SaltKey key;
  key.fill(std::byte{7});
  std::vector<Salt> salts(5000);
  DeriveSalts(key, 100, salts);
  std::set<Salt> distinct(salts.begin(), salts.end());
  EXPECT_EQ(distinct.size(), salts.size());
  for (std::uint32_t i = 0; i < salts.size(); i += 37) EXPECT_EQ(salts[i], DeriveSalt(key, 100 + i));
  DeriveSalts(key, 0, {});
}

TEST(Names, KindsFlagsAndPeers) {
  std::set<std::string> names;
  for (std::uint8_t kind = 1; kind <= kKindMax; ++kind) names.insert(KindName(static_cast<Kind>(kind)));
  EXPECT_EQ(names.size(), kKindMax);
  EXPECT_FALSE(IsKind(0));
  EXPECT_FALSE(IsKind(kKindMax + 1));
  EXPECT_EQ(FlagNames(0), "");
  EXPECT_EQ(FlagNames(kFlagTruncated | kFlagOverflowSource), "truncated,overflow_source");
  Peer peer{};
  EXPECT_EQ(PeerText(peer), "");
  peer[10] = peer[11] = std::byte{0xff};
  peer[12] = std::byte{192};
  peer[14] = std::byte{2};
  peer[15] = std::byte{1};
  peer[16] = std::byte{2};
  peer[17] = std::byte{2};
  EXPECT_EQ(PeerText(peer), "192.0.2.1:514");
  Peer six{};
  six[0] = std::byte{0x20};
  six[1] = std::byte{0x01};
  six[2] = std::byte{0x0d};
  six[3] = std::byte{0xb8};
  six[15] = std::byte{1};
  six[17] = std::byte{80};
  EXPECT_EQ(PeerText(six), "[2001:db8::1]:80");
}

}  // namespace
}  // namespace stele::record
