// Goal: a witness's answer survives the way on a memory stick, and a damaged one is refused.
// Method: golden file, every status, every truncation; the answer of a real witness to a real request file.
#include "appliance/witness/answer_file.h"

#include <gtest/gtest.h>

#include "appliance/base/system.h"
#include "tests/unit/golden.h"
#include "tests/unit/witness/small_log.h"

namespace stele::witness {
namespace {

TEST(AnswerFile, GoldenFileIsReadAndWrittenAgain) {
  const AnswerFile golden{200, "", std::string(AsText(ReadGolden("cosigned.note"))), 0};
  const std::string text = FormatAnswerFile(golden);
  ExpectGolden("witness.answer", AsBytes(text));
  const auto read = ParseAnswerFile(text);
  ASSERT_TRUE(read.has_value()) << Describe(read.error());
  EXPECT_EQ(read->status, 200);
  EXPECT_EQ(read->cosigned_note, golden.cosigned_note);
}

TEST(AnswerFile, EveryStatusIsReadAsItWasWritten) {
  for (const AnswerFile& answer :
       {AnswerFile{400, "why", "", 0}, AnswerFile{403, "why", "", 0}, AnswerFile{404, "why", "", 0},
        AnswerFile{409, "why", "", 64}, AnswerFile{422, "why", "", 0}}) {
    const auto read = ParseAnswerFile(FormatAnswerFile(answer));
    ASSERT_TRUE(read.has_value()) << answer.status;
    EXPECT_EQ(read->status, answer.status);
    EXPECT_EQ(read->reason, "why");
    EXPECT_EQ(read->latest_size, answer.latest_size);
  }
}

TEST(AnswerFile, TruncatedAndStrangeOnesAreRefused) {
  const std::string good(AsText(ReadGolden("witness.answer")));
  const std::size_t whole_line =
      good.rfind('\n', good.size() - 2) + 1;  // cut there it is a note without the cosignature
  for (std::size_t size = 0; size < good.size(); ++size) {
    if (size == whole_line) continue;
    EXPECT_FALSE(ParseAnswerFile(good.substr(0, size)).has_value()) << size;
  }
  for (const char* bad :
       {"", "status 200\n\n", "stele-witness-answer/v1\nstatus 201\n\n", "stele-witness-answer/v1\nstatus 404\n\nmore",
        "stele-witness-answer/v1\nstatus 409\n\n-1\n", "stele-witness-answer/v1\nstatus 409\n\n",
        "stele-witness-answer/v1\nstatus 404\nreason \n\n", "stele-witness-answer/v1\nstatus 200\n\nno note"}) {
    EXPECT_FALSE(ParseAnswerFile(bad).has_value()) << bad;
  }
}

TEST(AnswerFile, WitnessAnswersARequestFile) {
  TemporaryDir dir;
  SystemClock clock;
  SmallLog log("log.invalid/a");
  const auto key = ledger::ParseCosignerVkey(MakeWitnessOf(dir.path(), "witness.invalid/w", {log.key()}));
  const auto witness = Witness::Open(dir.path(), clock);
  ASSERT_TRUE(key.has_value() && witness.has_value());
  const auto answer = AnswerRequestFile(**witness, log.Request(0, 64));
  ASSERT_TRUE(answer.has_value());
  const auto read = ParseAnswerFile(FormatAnswerFile(*answer));
  ASSERT_TRUE(read.has_value());
  const auto note = ledger::ParseNote(read->cosigned_note);
  ASSERT_TRUE(note.has_value());
  EXPECT_TRUE(ledger::VerifyCosignature(*note, *key).has_value());
  const auto again = AnswerRequestFile(**witness, log.Request(0, 100));
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->status, 409);
  EXPECT_EQ(again->latest_size, 64U);
}

}  // namespace
}  // namespace stele::witness
