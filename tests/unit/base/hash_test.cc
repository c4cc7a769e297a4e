// Goal: every hash is the published one, whichever implementation makes it. Method: FIPS 180-4, RFC 4231 and RFC 6962 vectors; the
// instruction set's SHA against OpenSSL at every length around the block borders.
#include "appliance/base/hash.h"

#include <gtest/gtest.h>

#include <random>

#include "appliance/base/sha256_ni.h"

namespace stele {
namespace {

Bytes RandomBytes(std::mt19937_64& random, std::size_t size) {
  Bytes bytes(size);
  for (auto& b : bytes) b = static_cast<std::byte>(random() & 0xffU);
  return bytes;
}

TEST(Sha256, ThePublishedVectors) {
  EXPECT_EQ(HexOf(Sha256Of(ByteView())), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(HexOf(Sha256Of(AsBytes("abc"))), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(HexOf(Sha256Of(AsBytes("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"))),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(HexOf(Sha256Of(AsBytes(std::string(1'000'000, 'a')))),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, PartsAreTheirConcatenation) {
  EXPECT_EQ(Sha256Of({AsBytes("a"), AsBytes(""), AsBytes("bc")}), Sha256Of(AsBytes("abc")));
}

TEST(Sha256, TheSelfTestPasses) { EXPECT_TRUE(HashSelfTest().has_value()); }

TEST(Sha256, JobsAndPairsEqualTheConcatenationAtEveryLength) {
  std::mt19937_64 random(2);
  for (std::size_t prefix_bytes = 0; prefix_bytes <= 80; ++prefix_bytes) {
    const Bytes prefix = RandomBytes(random, prefix_bytes);
    for (std::size_t body_bytes = 0; body_bytes <= 200; body_bytes += 1 + random() % 3) {
      const Bytes body = RandomBytes(random, body_bytes);
      const Bytes other = RandomBytes(random, random() % 300);  // its twin has another length
      const Hash first = Sha256Of({prefix, body});
      const Hash second = Sha256Of({prefix, other});
      Hash a;
      Hash b;
      a.fill(std::byte{0xaa});
      b.fill(std::byte{0xaa});
      Sha256Pair({prefix, body}, {prefix, other}, a, b);
      ASSERT_EQ(a, first) << prefix_bytes << " " << body_bytes;
      ASSERT_EQ(b, second) << prefix_bytes << " " << other.size();
      ASSERT_EQ(Sha256Of(HashJob{prefix, body}), first) << prefix_bytes << " " << body_bytes;
    }
  }
}

TEST(Sha256, TheInstructionsOfTheProcessorGiveTheSameBytes) {
  if (!sha_ni::Supported()) GTEST_SKIP() << "this processor has no SHA instructions";
  std::mt19937_64 random(3);
  for (std::size_t size = 0; size <= 1200; ++size) {
    const Bytes prefix = RandomBytes(random, random() % 65);
    const Bytes body = RandomBytes(random, size);
    const Bytes other = RandomBytes(random, random() % 1200);
    Hash one;
    Hash first;
    Hash second;
    sha_ni::One({prefix, body}, one);
    sha_ni::Two({prefix, body}, {prefix, other}, first, second);
    const Hash expected = Sha256Of({prefix, body});
    ASSERT_EQ(one, expected) << size;
    ASSERT_EQ(first, expected) << size;
    ASSERT_EQ(second, Sha256Of({prefix, other})) << other.size();
  }
}

TEST(Hmac, TheVectorsOfRfc4231) {
  EXPECT_EQ(HexOf(HmacSha256(Bytes(20, std::byte{0x0b}), {AsBytes("Hi There")})),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(HexOf(HmacSha256(AsBytes("Jefe"), {AsBytes("what do ya want "), AsBytes("for nothing?")})),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(HexOf(HmacSha256(Bytes(20, std::byte{0xaa}), {Bytes(50, std::byte{0xdd})})),
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
  EXPECT_EQ(HexOf(HmacSha256(Bytes(131, std::byte{0xaa}), {AsBytes("Test Using Larger Than Block-Size Key - Hash Key First")})),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

//= RFC 6962 section 2.1
//# Note that the hash calculations for leaves and nodes differ.
TEST(TreeHash, LeavesNodesAndTheEmptyTree) {
  EXPECT_EQ(HexOf(EmptyTreeHash()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(HexOf(LeafHash({})), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
  EXPECT_EQ(HexOf(LeafHash(AsBytes("L123456"))), "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56");
  const Hash left = LeafHash(AsBytes("a"));
  const Hash right = LeafHash(AsBytes("b"));
  const std::byte one{1};
  EXPECT_EQ(NodeHash(left, right), Sha256Of({ByteView(&one, 1), left, right}));
  EXPECT_NE(NodeHash(left, right), NodeHash(right, left));
}

TEST(Checksum, SeesEveryChangedBit) {
  std::mt19937_64 random(4);
  Bytes sector = RandomBytes(random, 4096);
  const std::uint32_t sum = Checksum32(sector);
  for (std::size_t bit = 0; bit < sector.size() * 8; ++bit) {
    sector[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_NE(Checksum32(sector), sum) << bit;
    sector[bit / 8] ^= std::byte{1} << (bit % 8);
  }
  EXPECT_EQ(Checksum32(sector), sum);
}

}  // namespace
}  // namespace stele
