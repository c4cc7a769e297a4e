// Goal: a witness answers every request with the status c2sp.org/tlog-witness asks for, and never cosigns two
// histories. Method: a real tree of 300 leaves and its proofs, each check of the specification failed alone, every
// truncation and every flipped byte of a good request, all orders of sizes.
#include "appliance/ledger/add_checkpoint.h"

#include <gtest/gtest.h>

#include <map>

#include "appliance/ledger/merkle.h"
#include "tests/unit/golden.h"

namespace stele::ledger {
namespace {

constexpr std::string_view kOrigin = "log.invalid/a";

SigningKey KeyOf(std::string_view name, int number) {
  auto key = SigningKey::FromSeed(std::string(name), Bytes(kKeyBytes, static_cast<std::byte>(number)));
  EXPECT_TRUE(key.has_value());
  return std::move(*key);
}

std::vector<Hash> Leaves(std::size_t count, char salt = 'a') {
  std::vector<Hash> leaves;
  for (std::size_t i = 0; i < count; ++i) leaves.push_back(LeafHash(AsBytes(salt + std::to_string(i))));
  return leaves;
}

// A log that answers for itself, from a plain list of leaves.
class SmallLog final : public NodeSource {
 public:
  explicit SmallLog(std::vector<Hash> leaves) : leaves_(std::move(leaves)) {}
  Result<Hash> Node(unsigned level, std::uint64_t index) override {
    const std::uint64_t width = std::uint64_t{1} << level;
    CompactRange range(index * width);
    for (std::uint64_t i = 0; i < width; ++i) range.Push(leaves_.at(index * width + i));
    return range.Hashes().front();
  }
  Checkpoint At(std::uint64_t size) { return {std::string(kOrigin), size, *RootOf(*this, size)}; }
  AddCheckpoint Request(std::uint64_t old_size, std::uint64_t size, const SigningKey& key) {
    return {old_size, *ConsistencyProof(*this, old_size, size), key.Sign(FormatCheckpoint(At(size)))};
  }

 private:
  std::vector<Hash> leaves_;
};

class AddCheckpointTest : public testing::Test {
 protected:
  WitnessDecision Decide(const AddCheckpoint& request) { return Decide(FormatAddCheckpoint(request)); }
  WitnessDecision Decide(const std::string& body) {
    return DecideAddCheckpoint(body, {key_.verify_key()}, [this](const std::string& origin) { return heads_[origin]; });
  }
  void Have(std::uint64_t size) { heads_[std::string(kOrigin)] = {size, log_.At(size).root}; }

  SigningKey key_ = KeyOf(kOrigin, 1);
  SmallLog log_{Leaves(300)};
  SmallLog fork_{Leaves(300, 'b')};
  std::map<std::string, WitnessedHead> heads_;
};

TEST_F(AddCheckpointTest, GoldenRequestIsReadAndWrittenAgain) {
  const std::string golden(AsText(ReadGolden("add_checkpoint.request")));
  const auto request = ParseAddCheckpoint(golden);
  ASSERT_TRUE(request.has_value()) << Describe(request.error());
  EXPECT_EQ(request->old_size, 20852014U);
  EXPECT_EQ(request->proof.size(), 3U);
  EXPECT_EQ(request->note, AsText(ReadGolden("checkpoint.note")));
  EXPECT_EQ(FormatAddCheckpoint(*request), golden);
}

TEST_F(AddCheckpointTest, FirstAndEveryLaterCheckpointOfOneHistoryIsCosigned) {
  std::uint64_t size = 0;
  for (const std::uint64_t next : {0U, 1U, 2U, 7U, 64U, 64U, 255U, 256U, 300U}) {
    const auto decision = Decide(log_.Request(size, next, key_));
    ASSERT_EQ(decision.verdict, WitnessVerdict::kCosign) << size << " to " << next << ": " << decision.reason;
    EXPECT_EQ(decision.checkpoint.size, next);
    EXPECT_EQ(decision.text, FormatCheckpoint(log_.At(next)));
    Have(size = next);
  }
}

TEST_F(AddCheckpointTest, MalformedIs400) {
  Have(64);
  AddCheckpoint shrinking = log_.Request(64, 64, key_);
  shrinking.old_size = 65;
  EXPECT_EQ(Decide(shrinking).verdict, WitnessVerdict::kMalformed);
  const std::string good = FormatAddCheckpoint(log_.Request(64, 300, key_));
  const std::string proof_line = good.substr(7, 45);
  std::string long_proof = "old 64\n";
  for (int i = 0; i < 64; ++i) long_proof += proof_line;
  for (const std::string& body :
       {std::string(), std::string("\n"), "old 064" + good.substr(6), "old -64" + good.substr(6),
        "old  64" + good.substr(6), "Old 64" + good.substr(6), "old 18446744073709551616" + good.substr(6),
        long_proof + good.substr(good.find("\n\n") + 1), good + "trailing", std::string("old 64\n\n\n"),
        "old 64\n\n" + key_.Sign("not a checkpoint\n")}) {
    EXPECT_EQ(Decide(body).verdict, WitnessVerdict::kMalformed) << body;
  }
}

TEST_F(AddCheckpointTest, UnknownLogIs404AndForeignSignatureIs403) {
  const SigningKey stranger = KeyOf("log.invalid/other", 2);
  AddCheckpoint request = log_.Request(0, 64, key_);
  request.note = stranger.Sign("log.invalid/other\n0\n" + Base64Of(EmptyTreeHash()) + "\n");
  EXPECT_EQ(Decide(request).verdict, WitnessVerdict::kUnknownLog);
  request.note = KeyOf(kOrigin, 3).Sign(FormatCheckpoint(log_.At(64)));  // the right name, another key
  EXPECT_EQ(Decide(request).verdict, WitnessVerdict::kNotSigned);
  request.note = stranger.Sign(FormatCheckpoint(log_.At(64)));
  EXPECT_EQ(Decide(request).verdict, WitnessVerdict::kNotSigned);
}

TEST_F(AddCheckpointTest, WrongOldSizeIs409WithTheSizeTheWitnessHas) {
  Have(64);
  for (const std::uint64_t old_size : {0U, 63U, 65U}) {
    const auto decision = Decide(log_.Request(old_size, 300, key_));
    EXPECT_EQ(decision.verdict, WitnessVerdict::kConflict) << old_size;
    EXPECT_EQ(decision.latest_size, 64U);
  }
  EXPECT_EQ(Decide(log_.Request(32, 40, key_)).verdict, WitnessVerdict::kConflict) << "a smaller tree";
}

TEST_F(AddCheckpointTest, ForkIsRefusedAtTheSameSizeAndAtEveryLaterOne) {
  Have(64);
  EXPECT_EQ(Decide(fork_.Request(64, 64, key_)).verdict, WitnessVerdict::kConflict);
  for (std::uint64_t size = 65; size <= 300; size += 47)
    EXPECT_EQ(Decide(fork_.Request(64, size, key_)).verdict, WitnessVerdict::kInconsistent) << size;
}

TEST_F(AddCheckpointTest, ProofThatDoesNotVerifyIs422) {
  Have(65);
  AddCheckpoint request = log_.Request(65, 300, key_);
  request.proof.pop_back();
  EXPECT_EQ(Decide(request).verdict, WitnessVerdict::kInconsistent);
  request = log_.Request(65, 65, key_);
  request.proof.push_back(Hash{});
  EXPECT_EQ(Decide(request).verdict, WitnessVerdict::kInconsistent) << "a proof where there is nothing to prove";
  heads_.clear();
  request = log_.Request(0, 300, key_);
  request.proof.push_back(Hash{});
  EXPECT_EQ(Decide(request).verdict, WitnessVerdict::kInconsistent) << "the proof from nothing is empty";
}

TEST_F(AddCheckpointTest, ExtensionLinesOfAForeignLogAreCosignedWithTheRest) {
  const std::string text = FormatCheckpoint(log_.At(64)) + "an extension\n";
  const auto decision = Decide(AddCheckpoint{0, {}, key_.Sign(text)});
  ASSERT_EQ(decision.verdict, WitnessVerdict::kCosign) << decision.reason;
  EXPECT_EQ(decision.text, text);
}

TEST_F(AddCheckpointTest, EveryTruncationAndEveryFlippedBitIsRefused) {
  Have(65);
  const std::string good = FormatAddCheckpoint(log_.Request(65, 300, key_));
  ASSERT_EQ(Decide(good).verdict, WitnessVerdict::kCosign);
  for (std::size_t size = 0; size < good.size(); ++size)
    EXPECT_NE(Decide(good.substr(0, size)).verdict, WitnessVerdict::kCosign) << size;
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ (1 << (i % 7)));
    EXPECT_NE(Decide(bad).verdict, WitnessVerdict::kCosign) << i;
  }
}

TEST_F(AddCheckpointTest, SizeInAConflictIsReadStrictly) {
  EXPECT_EQ(ParseTreeSize("20852163\n").value_or(0), 20852163U);
  EXPECT_EQ(ParseTreeSize("0\n").value_or(1), 0U);
  for (const char* bad : {"", "\n", "1", "01\n", "1\n\n", " 1\n", "-1\n", "18446744073709551616\n"})
    EXPECT_FALSE(ParseTreeSize(bad).has_value()) << bad;
}

}  // namespace
}  // namespace stele::ledger
