// Goal: the anchor's log comes back from its forms unchanged, and nothing but those forms is read.
// Method: round trips; every truncation; fields of events changed one by one.
#include "appliance/evidence/event_log.h"

#include <gtest/gtest.h>

#include "appliance/base/hash.h"
#include "tests/unit/golden.h"

namespace stele::evidence {
namespace {

std::vector<CheckpointEvent> Events() {
  std::vector<CheckpointEvent> events;
  for (const char* note : {"first\n1\n", "second\n2\n", ""}) events.push_back({Sha256Of(AsBytes(note)), note});
  return events;
}

TEST(EventLog, ComesBackAsWritten) {
  const auto parsed = ParseEventLog(EncodeEventLog(14, Events()), 14);
  ASSERT_TRUE(parsed);
  ASSERT_EQ(parsed->size(), 3U);
  EXPECT_EQ((*parsed)[1].note, "second\n2\n");
  EXPECT_EQ((*parsed)[1].digest, Events()[1].digest);
}

TEST(EventLog, IsByteForByteWhatItWas) {
  ExpectGolden("checkpoints.tcg", EncodeEventLog(14, Events()));
  ExpectGolden("checkpoints.cel", AsBytes(EncodeCheckpointsCel(14, Events())));
}

TEST(EventLog, EveryTruncationIsRefusedUnlessItEndsBetweenEvents) {
  const Bytes log = EncodeEventLog(14, Events());
  std::size_t accepted = 0;
  for (std::size_t size = 0; size < log.size(); ++size) accepted += ParseEventLog(ByteView(log).first(size), 14) ? 1U : 0U;
  EXPECT_EQ(accepted, 3U);  // after the head, after the first, after the second event
}

TEST(EventLog, AnotherRegisterBankTypeOrCountIsRefused) {
  const Bytes log = EncodeEventLog(14, Events());
  EXPECT_FALSE(ParseEventLog(log, 8));
  constexpr std::size_t kHead = 32 + 16 + 4 + 4 + 4 + 4 + 1;
  for (std::size_t at = 0; at < kHead + 14; ++at) {
    Bytes bad = log;
    bad[at] ^= std::byte{1};
    EXPECT_FALSE(ParseEventLog(bad, 14)) << at;
  }
}

TEST(EventLog, CelHasOneObjectInEachLineWithMembersInOrder) {
  const std::string cel = EncodeCheckpointsCel(14, {{Hash{}, "n\n"}});
  EXPECT_EQ(cel, "\x1e{\"content\":{\"eventType\":\"checkpoint\",\"string\":\"n\\n\"},\"content_type\":\"stele\",\"digests\":[{\"digest\":\"" +
                     std::string(64, '0') + "\",\"hashAlg\":\"sha256\"}],\"pcr\":14,\"recnum\":0}\n");
}

TEST(AnchorsCel, ComesBackAsWritten) {
  const std::vector<AnchorEvent> events = {{5, Sha256Of(AsBytes("a")), std::nullopt}, {6, Sha256Of(AsBytes("b")), "note\n"}};
  const auto parsed = ParseAnchorsCel(EncodeAnchorsCel(0x01815302, events), 0x01815302);
  ASSERT_TRUE(parsed);
  ASSERT_EQ(parsed->size(), 2U);
  EXPECT_EQ((*parsed)[0].number, 5U);
  EXPECT_FALSE((*parsed)[0].note);
  EXPECT_EQ((*parsed)[1].note, "note\n");
}

TEST(AnchorsCel, AnythingButItsOneFormIsRefused) {
  const std::vector<AnchorEvent> events = {{5, Hash{}, std::nullopt}, {6, Hash{}, "note\n"}};
  const std::string cel = EncodeAnchorsCel(7, events);
  EXPECT_FALSE(ParseAnchorsCel(cel, 8));
  EXPECT_FALSE(ParseAnchorsCel(cel + "{}", 7));
  EXPECT_FALSE(ParseAnchorsCel(std::string_view(cel).substr(1), 7));
  EXPECT_FALSE(ParseAnchorsCel(EncodeAnchorsCel(7, {events[0], events[0]}), 7));
  for (std::size_t at = 0; at < cel.size(); ++at) {
    std::string bad = cel;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    const auto parsed = ParseAnchorsCel(bad, 7);
    // Digits of a digest or letters of the note: other events.
    if (parsed) {
      EXPECT_NE(EncodeAnchorsCel(7, *parsed), cel) << at;
    }
  }
}

}  // namespace
}  // namespace stele::evidence
