// Goal: signed notes and checkpoints are exactly C2SP's, and nothing else is taken for one.
// Method: golden files made with openssl, the published example of golang.org/x/mod/sumdb/note, every truncation and
// every flipped byte of a good note.
#include "appliance/ledger/note.h"

#include <gtest/gtest.h>

#include "appliance/base/system.h"

namespace stele::ledger {
namespace {

constexpr std::string_view kName = "stele.invalid/log/0011223344556677";

SigningKey GoldenKey() {
  Bytes seed;
  for (int i = 0; i < 32; ++i) seed.push_back(static_cast<std::byte>(i));
  auto key = SigningKey::FromSeed(std::string(kName), seed);
  EXPECT_TRUE(key.has_value());
  return std::move(*key);
}

std::string GoldenFile(const char* name) {
  const auto bytes = ReadFile(std::string(STELE_SOURCE_DIR) + "/tests/golden/" + name, kNoteBytesMax);
  EXPECT_TRUE(bytes.has_value());
  return bytes ? std::string(AsText(*bytes)) : std::string();
}

Checkpoint GoldenCheckpoint() { return {std::string(kName), 20852163, Sha256Of(AsBytes("golden root"))}; }

TEST(Note, IsWhatOpensslAndTheFormatSay) {
  const SigningKey key = GoldenKey();
  EXPECT_EQ(key.Sign(FormatCheckpoint(GoldenCheckpoint())), GoldenFile("checkpoint.note"));
  EXPECT_EQ(key.verify_key().Vkey() + "\n", GoldenFile("checkpoint.vkey"));
}

TEST(Note, GoldenCheckpointOpens) {
  const std::string note = GoldenFile("checkpoint.note");
  const auto opened = OpenCheckpoint(note, GoldenKey().verify_key());
  ASSERT_TRUE(opened.has_value()) << Describe(opened.error());
  EXPECT_EQ(opened->checkpoint.size, 20852163U);
  EXPECT_EQ(opened->checkpoint.root, GoldenCheckpoint().root);
  EXPECT_EQ(opened->digest, Sha256Of(AsBytes(note)));
}

TEST(Note, PublishedExampleOfTheGoPackageVerifies) {
  const auto key = ParseVkey("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW");
  ASSERT_TRUE(key.has_value());
  const auto note = ParseNote(
      "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
      "\xe2\x80\x94 PeterNeumann "
      "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n");
  ASSERT_TRUE(note.has_value());
  EXPECT_TRUE(VerifyNote(*note, *key).has_value());
}

TEST(Note, EveryFlippedByteIsRefused) {
  const std::string good = GoldenFile("checkpoint.note");
  const VerifyKey key = GoldenKey().verify_key();
  for (std::size_t i = 0; i < good.size(); ++i) {
    for (const int bit : {0, 1, 5, 7}) {
      std::string bad = good;
      bad[i] = static_cast<char>(static_cast<unsigned char>(bad[i]) ^ (1U << static_cast<unsigned>(bit)));
      EXPECT_FALSE(OpenCheckpoint(bad, key).has_value()) << "byte " << i << " bit " << bit;
    }
  }
}

TEST(Note, EveryTruncationIsRefused) {
  const std::string good = GoldenFile("checkpoint.note");
  const VerifyKey key = GoldenKey().verify_key();
  for (std::size_t length = 0; length < good.size(); ++length) {
    EXPECT_FALSE(OpenCheckpoint(good.substr(0, length), key).has_value()) << length;
  }
}

TEST(Note, TextMayHoldBlankLinesAndTheLastOneParts) {
  const SigningKey key = GoldenKey();
  const auto note = ParseNote(key.Sign("one\n\ntwo\n"));
  ASSERT_TRUE(note.has_value());
  EXPECT_EQ(note->text, "one\n\ntwo\n");
  EXPECT_TRUE(VerifyNote(*note, key.verify_key()).has_value());
}

TEST(Note, BadFormsAreRefused) {
  const std::string good = GoldenFile("checkpoint.note");
  const std::string line = good.substr(good.find("\n\n") + 2);
  const std::string text = good.substr(0, good.find("\n\n") + 1);
  EXPECT_FALSE(ParseNote("").has_value());
  EXPECT_FALSE(ParseNote(text).has_value());                             // no signature
  EXPECT_FALSE(ParseNote(text + "\n").has_value());                      // blank line, no signature
  EXPECT_FALSE(ParseNote(text + line).has_value());                      // no blank line
  EXPECT_FALSE(ParseNote(text + "\n- " + line.substr(4)).has_value());   // hyphen instead of the em dash
  EXPECT_FALSE(ParseNote(text + "\n" + line + "\n").has_value());        // something behind the signatures
  EXPECT_FALSE(ParseNote(good.substr(0, good.size() - 1)).has_value());  // no last newline
  EXPECT_FALSE(ParseNote("a\tb\n\n" + line).has_value());                // control character
  EXPECT_FALSE(ParseNote("a\r\n\n" + line).has_value());
  EXPECT_FALSE(ParseNote("\xff\n\n" + line).has_value());                    // not UTF-8
  EXPECT_FALSE(ParseNote(text + "\n\xe2\x80\x94 name AAAA\n").has_value());  // three bytes: no room for a key id
  EXPECT_FALSE(ParseNote(text + "\n\xe2\x80\x94 na+me AAAAAAAA\n").has_value());
  EXPECT_FALSE(ParseNote(text + "\n\xe2\x80\x94 n\xc2\xa0m AAAAAAAA\n").has_value());  // Unicode space
  EXPECT_TRUE(ParseNote(text + "\n\xe2\x80\x94 name AAAAAAAA\n").has_value());
}

TEST(Note, AtLeastSixteenSignaturesAreTakenAndTheNumberIsBounded) {
  const std::string good = GoldenFile("checkpoint.note");
  std::string many = good;
  for (std::size_t i = 1; i < kNoteSignaturesMax; ++i) many += "\xe2\x80\x94 witness AAAAAAAA\n";
  EXPECT_TRUE(OpenCheckpoint(many, GoldenKey().verify_key()).has_value());
  EXPECT_FALSE(ParseNote(many + "\xe2\x80\x94 witness AAAAAAAA\n").has_value());
}

TEST(Note, CosignaturesDoNotChangeTheDigest) {
  const std::string good = GoldenFile("checkpoint.note");
  const VerifyKey key = GoldenKey().verify_key();
  const std::size_t signatures = good.find("\n\n") + 2;
  const std::string cosigned =
      good.substr(0, signatures) + "\xe2\x80\x94 witness.example/w AAAAAAAA\n" + good.substr(signatures);
  const auto opened = OpenCheckpoint(cosigned, key);
  ASSERT_TRUE(opened.has_value());
  EXPECT_EQ(opened->digest, OpenCheckpoint(good, key)->digest);
}

//= c2sp.org/signed-note, "Signatures"
//# If a signature from a known key fails to verify, clients SHOULD reject the whole note.
TEST(Note, OneBadSignatureOfAKnownKeySpoilsTheNote) {
  const std::string good = GoldenFile("checkpoint.note");
  const VerifyKey key = GoldenKey().verify_key();
  Bytes wrong = ToBytes(key.Id());
  wrong.resize(4 + kSignatureBytes, std::byte{0x55});
  const auto note = ParseNote(good + "\xe2\x80\x94 " + key.name + " " + Base64Of(wrong) + "\n");
  ASSERT_TRUE(note.has_value());
  const auto verified = VerifyNote(*note, key);
  ASSERT_FALSE(verified.has_value());
  EXPECT_EQ(verified.error().code, Code::kDenied);
}

TEST(Note, AStrangersKeyIsNotFound) {
  const auto note = ParseNote(GoldenFile("checkpoint.note"));
  ASSERT_TRUE(note.has_value());
  VerifyKey stranger = GoldenKey().verify_key();
  stranger.name = "somebody.else";
  const auto verified = VerifyNote(*note, stranger);
  ASSERT_FALSE(verified.has_value());
  EXPECT_EQ(verified.error().code, Code::kNotFound);
}

TEST(Checkpoint, OnlyTheCanonicalFormIsTaken) {
  const Checkpoint good = GoldenCheckpoint();
  const std::string root = Base64Of(good.root);
  EXPECT_TRUE(ParseCheckpoint("o\n0\n" + root + "\n").has_value());
  EXPECT_TRUE(ParseCheckpoint("o\n18446744073709551615\n" + root + "\n").has_value());
  EXPECT_FALSE(ParseCheckpoint("o\n18446744073709551616\n" + root + "\n").has_value());
  EXPECT_FALSE(ParseCheckpoint("o\n01\n" + root + "\n").has_value());
  EXPECT_FALSE(ParseCheckpoint("o\n+1\n" + root + "\n").has_value());
  EXPECT_FALSE(ParseCheckpoint("o\n-1\n" + root + "\n").has_value());
  EXPECT_FALSE(ParseCheckpoint("o\n\n" + root + "\n").has_value());
  EXPECT_FALSE(ParseCheckpoint("\n1\n" + root + "\n").has_value());
  EXPECT_FALSE(ParseCheckpoint("o\n1\n" + root.substr(0, 40) + "\n").has_value());
  EXPECT_FALSE(ParseCheckpoint("o\n1\n" + root + "\nextension\n").has_value());
  EXPECT_FALSE(ParseCheckpoint("o\n1\n" + root).has_value());
}

TEST(Checkpoint, AnotherLogsOriginIsRefused) {
  const SigningKey key = GoldenKey();
  Checkpoint other = GoldenCheckpoint();
  other.origin = "another.log";
  const auto opened = OpenCheckpoint(key.Sign(FormatCheckpoint(other)), key.verify_key());
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error().code, Code::kDenied);
}

TEST(Vkey, RoundTripsAndRefusesAForeignKeyId) {
  const std::string vkey = GoldenKey().verify_key().Vkey();
  const auto parsed = ParseVkey(vkey);
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->Vkey(), vkey);
  for (std::size_t i = 0; i < vkey.size(); ++i) {
    std::string bad = vkey;
    bad[i] = bad[i] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(ParseVkey(bad).has_value()) << i;
  }
  for (std::size_t length = 0; length < vkey.size(); ++length)
    EXPECT_FALSE(ParseVkey(vkey.substr(0, length)).has_value());
}

TEST(KeyName, FollowsTheRule) {
  EXPECT_TRUE(IsKeyName("example.com/log"));
  EXPECT_TRUE(
      IsKeyName("b\xc3\xbc"
                "cher"));
  for (const char* bad : {"", "a b", "a+b", "a\nb",
                          "a\xe3\x80\x80"
                          "b",
                          "a\xe2\x80\xa8"
                          "b",
                          "\xff"})
    EXPECT_FALSE(IsKeyName(bad)) << bad;
}

}  // namespace
}  // namespace stele::ledger
