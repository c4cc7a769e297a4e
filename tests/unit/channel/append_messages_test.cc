// Goal: records cross the channel as they were, with the commitments of docs/format.md; anything else is refused.
// Method: round trips, each bound and bound + 1, every truncation, every byte of a header changed.
#include "appliance/channel/append_messages.h"

#include <gtest/gtest.h>

#include <random>

#include "appliance/base/limits.h"

namespace stele::channel {
namespace {

record::SaltKey TestKey() {
  record::SaltKey key;
  key.fill(std::byte{0x42});
  return key;
}
record::Peer TestPeer(unsigned last) {
  record::Peer peer{};
  peer[10] = peer[11] = std::byte{0xff};
  peer[15] = static_cast<std::byte>(last);
  return peer;
}

Bytes TestFrame(std::size_t count, bool wants_ack = true) {
  FrameBuilder builder;
  builder.Start(77, TestKey());
  for (std::size_t i = 0; i < count; ++i) {
    EXPECT_TRUE(builder.Add(record::Kind::kSyslog, static_cast<std::uint16_t>(i), 3, 1000 + static_cast<std::int64_t>(i),
                            TestPeer(static_cast<unsigned>(i)), AsBytes(std::string(i, 'x'))));
  }
  return builder.Finish(wants_ack);
}

TEST(AppendMessages, RecordsArriveAsTheyWereWithTheirCommitments) {
  for (const std::size_t count : {0U, 1U, 2U, 3U, 20U}) {
    RecordsFrame frame;
    ASSERT_TRUE(DecodeRecords(TestFrame(count), frame)) << count;
    EXPECT_EQ(frame.frame_id, 77U);
    EXPECT_EQ(frame.salt_key, TestKey());
    EXPECT_TRUE(frame.wants_ack);
    ASSERT_EQ(frame.records.size(), count);
    for (std::size_t i = 0; i < count; ++i) {
      const AppendRecord& r = frame.records[i];
      EXPECT_EQ(r.kind, record::Kind::kSyslog);
      EXPECT_EQ(r.flags, i);
      EXPECT_EQ(r.source_local, 3U);
      EXPECT_EQ(r.receive_wall_ns, 1000 + static_cast<std::int64_t>(i));
      EXPECT_EQ(AsText(r.payload), std::string(i, 'x'));
      EXPECT_EQ(r.commitment, record::CommitPayload(record::DeriveSalt(TestKey(), static_cast<std::uint32_t>(i)), r.peer, r.payload));
    }
  }
  RecordsFrame frame;
  ASSERT_TRUE(DecodeRecords(TestFrame(1, false), frame));
  EXPECT_FALSE(frame.wants_ack);
}

TEST(AppendMessages, ABuilderIsUsedAgainWithoutATraceOfTheLastFrame) {
  FrameBuilder builder;
  builder.Start(1, TestKey());
  ASSERT_TRUE(builder.Add(record::Kind::kJson, 1, 1, 1, TestPeer(1), AsBytes("first")));
  builder.Reuse(builder.Finish(true));
  builder.Start(2, record::SaltKey{});
  ASSERT_TRUE(builder.Add(record::Kind::kSyslog, 0, 0, 2, record::Peer{}, AsBytes("second")));
  const Bytes body = builder.Finish(false);
  RecordsFrame frame;
  ASSERT_TRUE(DecodeRecords(body, frame));
  EXPECT_EQ(frame.frame_id, 2U);
  EXPECT_FALSE(frame.wants_ack);
  ASSERT_EQ(frame.records.size(), 1U);
  EXPECT_EQ(AsText(frame.records[0].payload), "second");
}

TEST(AppendMessages, AFrameTakesWhatFitsAndNotOneByteMore) {
  std::size_t largest = 0;
  while (FrameBuilder::FitsAlone(largest + 1)) ++largest;
  for (const std::size_t size : {largest, largest + 1}) {
    FrameBuilder builder;
    builder.Start(1, TestKey());
    const bool fits = builder.Add(record::Kind::kSyslog, 0, 0, 0, record::Peer{}, AsBytes(std::string(size, 'y')));
    EXPECT_EQ(fits, size == largest);
    const Bytes body = builder.Finish(true);
    RecordsFrame frame;
    ASSERT_TRUE(DecodeRecords(body, frame));
    EXPECT_EQ(frame.records.size(), fits ? 1U : 0U);
    EXPECT_LE(body.size(), limits::kChannelFrameBytes - 2);
  }
  FrameBuilder many;
  many.Start(1, TestKey());
  std::size_t count = 0;
  while (many.Add(record::Kind::kSyslog, 0, 0, 0, record::Peer{}, {})) ++count;
  EXPECT_LE(count, limits::kChannelFrameRecords);
  EXPECT_EQ(many.count(), count);
}

TEST(AppendMessages, EveryTruncationAndOneByteMoreAreInvalid) {
  Bytes body = TestFrame(9);
  RecordsFrame frame;
  for (std::size_t size = 0; size < body.size(); ++size) {
    const auto decoded = DecodeRecords(ByteView(body).first(size), frame);
    ASSERT_FALSE(decoded) << size;
    EXPECT_EQ(decoded.error().code, Code::kInvalid);
  }
  body.push_back(std::byte{0});
  EXPECT_FALSE(DecodeRecords(body, frame));
}

TEST(AppendMessages, CountsAndKindsOutOfBoundsAreInvalid) {
  const Bytes body = TestFrame(2);
  RecordsFrame frame;
  for (const std::uint32_t count : {0U, 1U, 3U, 4096U, 4097U, 0xffffffffU}) {
    Bytes changed = body;
    StoreLittle(changed.data() + 25, count);
    EXPECT_FALSE(DecodeRecords(changed, frame)) << count;
  }
  for (int kind = 0; kind < 256; ++kind) {
    Bytes changed = body;
    changed[kRecordsHeaderBytes] = static_cast<std::byte>(kind);
    EXPECT_EQ(DecodeRecords(changed, frame).has_value(), kind >= 1 && kind <= record::kKindMax) << kind;
  }
}

TEST(AppendMessages, ALargeRecordIsCutAndItsPartsJoinToIt) {
  std::mt19937_64 random(1);
  for (const std::size_t size : {0U, 1U, 60'000U, 65'536U, 200'000U, 1'048'576U}) {
    Bytes payload(size);
    for (auto& b : payload) b = static_cast<std::byte>(random() & 0xffU);
    Bytes joined;
    const auto parts = CutLargeRecord(5, TestKey(), true, record::Kind::kJson, 2, 9, -4, TestPeer(1), payload);
    for (const Bytes& body : parts) {
      EXPECT_LE(body.size(), limits::kChannelFrameBytes - 2);
      const auto part = DecodeLargePart(body);
      ASSERT_TRUE(part);
      EXPECT_EQ(part->frame_id, 5U);
      EXPECT_EQ(part->total_length, size);
      EXPECT_EQ(part->offset, joined.size());
      EXPECT_EQ(part->header.kind, record::Kind::kJson);
      EXPECT_EQ(part->header.receive_wall_ns, -4);
      EXPECT_EQ(part->header.commitment, record::CommitPayload(record::DeriveSalt(TestKey(), 0), TestPeer(1), payload));
      Append(joined, part->header.payload);
    }
    EXPECT_EQ(joined, payload);
  }
}

TEST(AppendMessages, APartThatCannotBelongToItsRecordIsInvalid) {
  const auto parts = CutLargeRecord(5, TestKey(), true, record::Kind::kJson, 2, 9, 4, TestPeer(1), AsBytes(std::string(100'000, 'z')));
  ASSERT_EQ(parts.size(), 2U);
  const Bytes& body = parts[0];
  for (std::size_t size = 0; size < 300; ++size) EXPECT_FALSE(DecodeLargePart(ByteView(body).first(size))) << size;
  EXPECT_FALSE(DecodeLargePart(ByteView(body).first(body.size() - 1)));
  const std::size_t total_at = kRecordsHeaderBytes - 4 + kRecordHeaderBytes;
  const std::pair<std::uint32_t, std::uint32_t> impossible[] = {
      {0, 0}, {100'000, 99'999}, {100'000, 0xffffffff}, {0xffffffff, 0}, {limits::kMessageBytesCeiling + 1, 0}};
  for (const auto& pair : impossible) {
    Bytes changed = body;
    StoreLittle(changed.data() + total_at, pair.first);
    StoreLittle(changed.data() + total_at + 4, pair.second);
    EXPECT_FALSE(DecodeLargePart(changed)) << pair.first << " " << pair.second;
  }
}

template <typename Decode>
void ExpectStrict(const Bytes& body, Decode decode) {
  EXPECT_TRUE(decode(body).has_value());
  for (std::size_t size = 0; size < body.size(); ++size) EXPECT_FALSE(decode(ToBytes(ByteView(body).first(size))).has_value()) << size;
  Bytes longer = body;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(decode(longer).has_value());
}

TEST(AppendMessages, TheSmallMessagesAreExact) {
  ExpectStrict(EncodeDeclareSource({4, R"({"zone":"a"})"}), [](const Bytes& b) { return DecodeDeclareSource(b); });
  ExpectStrict(EncodeCommitted({1, 2, 3}), [](const Bytes& b) { return DecodeCommitted(b); });
  ExpectStrict(EncodeRefused({1, "store full"}), [](const Bytes& b) { return DecodeRefused(b); });
  ExpectStrict(EncodePosition({9}), [](const Bytes& b) { return DecodePosition(b); });
  ExpectStrict(EncodeSettle({7}), [](const Bytes& b) { return DecodeSettle(b); });
  const Settled settled{5, true, {{"syslog-udp", 17}, {"syslog-tcp", 0}}};
  ExpectStrict(EncodeSettled(settled), [](const Bytes& b) { return DecodeSettled(b); });
  const auto again = DecodeSettled(EncodeSettled(settled));
  EXPECT_EQ(again->epoch, 5U);
  EXPECT_TRUE(again->loss_frame_committed);
  EXPECT_EQ(again->committed, settled.committed);
  EXPECT_EQ(DecodeSettle(EncodeSettle({7}))->loss_frame_id, 7U);
  const auto committed = DecodeCommitted(EncodeCommitted({1, 2, 3}));
  EXPECT_EQ(committed->frame_id, 1U);
  EXPECT_EQ(committed->first_sequence, 2U);
  EXPECT_EQ(committed->count, 3U);
  EXPECT_EQ(DecodeRefused(EncodeRefused({1, "store full"}))->reason, "store full");
  EXPECT_EQ(DecodeDeclareSource(EncodeDeclareSource({4, "{}"}))->description, "{}");
  EXPECT_FALSE(DecodeDeclareSource(EncodeDeclareSource({4, std::string(limits::kSourceDescriptionBytes + 1, 'x')})));
}

TEST(AppendMessages, ALongReasonStillArrives) {
  const auto refused = DecodeRefused(EncodeRefused({1, std::string(5000, 'r')}));
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->reason, std::string(limits::kKiB, 'r'));
}

}  // namespace
}  // namespace stele::channel
