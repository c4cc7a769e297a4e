// Goal: frames arrive whole, in order, with their descriptors, or are refused; the hello and control messages are total.
// Method: real socket pairs; every truncation and every flipped byte of a good message.
#include "appliance/channel/channel.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "appliance/base/limits.h"
#include "appliance/channel/control.h"

namespace stele::channel {
namespace {

struct Pair {
  UniqueFd a, b;
};
Pair NewPair() {
  auto ends = MakePair();
  EXPECT_TRUE(ends.has_value());
  return {std::move(ends->first), std::move(ends->second)};
}

TEST(Channel, FramesArriveWholeAndInOrder) {
  const Pair pair = NewPair();
  for (int i = 0; i < 20; ++i) {
    const std::string text(static_cast<std::size_t>(i) * 100, static_cast<char>('a' + i));
    ASSERT_TRUE(Send(pair.a.get(), Type::kRecords, AsBytes(text)));
  }
  for (int i = 0; i < 20; ++i) {
    const auto frame = Receive(pair.b.get(), true);
    ASSERT_TRUE(frame) << Describe(frame.error());
    EXPECT_EQ(frame->type, Type::kRecords);
    EXPECT_EQ(AsText(frame->body), std::string(static_cast<std::size_t>(i) * 100, static_cast<char>('a' + i)));
  }
}

TEST(Channel, TheLargestFrameFitsAndOneByteMoreIsRefused) {
  const Pair pair = NewPair();
  const Bytes largest(limits::kChannelFrameBytes - 2, std::byte{0xaa});
  ASSERT_TRUE(Send(pair.a.get(), Type::kRecords, largest));
  Bytes buffer(limits::kChannelFrameBytes);
  const auto view = ReceiveInto(pair.b.get(), buffer, true);
  ASSERT_TRUE(view);
  EXPECT_TRUE(SameBytes(view->body, largest));
  const Bytes above(limits::kChannelFrameBytes - 1);
  EXPECT_EQ(Send(pair.a.get(), Type::kRecords, above).error().code, Code::kInvalid);
  EXPECT_EQ(SendWithDescriptor(pair.a.get(), Type::kTakeChannel, above, 0).error().code, Code::kInvalid);
}

TEST(Channel, AFrameFromAPeerThatIgnoresTheLimitIsInvalidAndTheNextOneIsRead) {
  const Pair pair = NewPair();
  const Bytes raw(limits::kChannelFrameBytes + 1);
  ASSERT_EQ(::send(pair.a.get(), raw.data(), raw.size(), 0), static_cast<ssize_t>(raw.size()));
  ASSERT_EQ(::send(pair.a.get(), raw.data(), 1, 0), 1);
  ASSERT_TRUE(Send(pair.a.get(), Type::kReady, {}));
  EXPECT_EQ(Receive(pair.b.get(), true).error().code, Code::kInvalid);
  EXPECT_EQ(Receive(pair.b.get(), true).error().code, Code::kInvalid);
  EXPECT_EQ(Receive(pair.b.get(), true)->type, Type::kReady);
}

TEST(Channel, PartsAreJoinedInOrder) {
  const Pair pair = NewPair();
  const std::array<ByteView, 3> parts{AsBytes("one "), AsBytes(""), AsBytes("two")};
  ASSERT_TRUE(SendParts(pair.a.get(), Type::kApiBody, parts));
  EXPECT_EQ(AsText(Receive(pair.b.get(), true)->body), "one two");
}

TEST(Channel, AnEmptyChannelIsUnavailableAndAClosedOneIsNotFound) {
  Pair pair = NewPair();
  EXPECT_EQ(Receive(pair.b.get(), false).error().code, Code::kUnavailable);
  ASSERT_TRUE(Send(pair.a.get(), Type::kStop, {}));
  pair.a.reset();
  EXPECT_EQ(Receive(pair.b.get(), false)->type, Type::kStop);
  EXPECT_EQ(Receive(pair.b.get(), true).error().code, Code::kNotFound);
  EXPECT_EQ(Send(pair.b.get(), Type::kStop, {}).error().code, Code::kIo);  // and no SIGPIPE
}

TEST(Channel, AFullNonBlockingChannelIsUnavailable) {
  const Pair pair = NewPair();
  ASSERT_TRUE(SetBlocking(pair.a.get(), false));
  const Bytes body(60'000);
  Result<void> sent;
  for (int i = 0; i < 1'000 && sent; ++i) sent = Send(pair.a.get(), Type::kRecords, body);
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, Code::kUnavailable);
}

TEST(Channel, WaitingOnANonBlockingDescriptorWaits) {
  const Pair pair = NewPair();
  ASSERT_TRUE(SetBlocking(pair.b.get(), false));
  std::thread sender([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_TRUE(Send(pair.a.get(), Type::kPosition, {}));
  });
  EXPECT_EQ(Receive(pair.b.get(), true)->type, Type::kPosition);
  sender.join();
}

TEST(Channel, BothEndsAreCloseOnExec) {
  const Pair pair = NewPair();
  EXPECT_NE(::fcntl(pair.a.get(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_NE(::fcntl(pair.b.get(), F_GETFD) & FD_CLOEXEC, 0);
}

std::size_t OpenDescriptors() {
  std::size_t count = 0;
  for (int fd = 0; fd < 256; ++fd) count += ::fcntl(fd, F_GETFD) >= 0 ? 1U : 0U;
  return count;
}

TEST(Channel, ADescriptorTravelsAndIsCloseOnExec) {
  const Pair pair = NewPair();
  Pair gift = NewPair();
  ASSERT_TRUE(SendTakeChannel(pair.a.get(), {"listener", "syslog-udp", R"({"transport":"udp"})"}, gift.a.get()));
  gift.a.reset();
  const auto frame = Receive(pair.b.get(), true, true);
  ASSERT_TRUE(frame);
  ASSERT_EQ(frame->descriptors.size(), 1U);
  EXPECT_NE(::fcntl(frame->descriptors[0].get(), F_GETFD) & FD_CLOEXEC, 0);
  ASSERT_TRUE(Send(gift.b.get(), Type::kReady, {}));
  EXPECT_EQ(Receive(frame->descriptors[0].get(), true)->type, Type::kReady);
  const auto what = DecodeTakeChannel(frame->body);
  ASSERT_TRUE(what);
  EXPECT_EQ(what->role, "listener");
  EXPECT_EQ(what->name, "syslog-udp");
  EXPECT_EQ(what->detail_json, R"({"transport":"udp"})");
}

TEST(Channel, DescriptorsNobodyAskedForDoNotStayOpen) {
  const Pair pair = NewPair();
  const std::size_t before = OpenDescriptors();
  ASSERT_TRUE(SendWithDescriptor(pair.a.get(), Type::kRecords, {}, 0));
  ASSERT_TRUE(SendWithDescriptor(pair.a.get(), Type::kRecords, {}, 0));
  Bytes buffer(limits::kChannelFrameBytes);
  ASSERT_TRUE(ReceiveInto(pair.b.get(), buffer, true));
  ASSERT_TRUE(Receive(pair.b.get(), true, false));
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST(Hello, RoundTripsAndEveryTruncationIsInvalid) {
  const Pair pair = NewPair();
  ASSERT_TRUE(SendHello(pair.a.get(), {Role::kQuery, 65'536, 64}));
  const auto frame = Receive(pair.b.get(), true);
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame->type, Type::kHello);
  const auto hello = DecodeHello(frame->body);
  ASSERT_TRUE(hello);
  EXPECT_EQ(hello->role, Role::kQuery);
  EXPECT_EQ(hello->frame_bytes_max, 65'536U);
  EXPECT_EQ(hello->credits, 64U);
  for (std::size_t n = 0; n < frame->body.size(); ++n) EXPECT_FALSE(DecodeHello(ByteView(frame->body).first(n)));
  Bytes longer = frame->body;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(DecodeHello(longer));
  for (std::size_t i = 0; i < 8; ++i) {  // magic, version, role
    Bytes wrong = frame->body;
    wrong[i] ^= std::byte{0x80};
    EXPECT_FALSE(DecodeHello(wrong)) << i;
  }
}

TEST(Hello, EveryRoleHasAName) {
  for (std::uint16_t i = 1; i <= 7; ++i) EXPECT_STRNE(RoleName(static_cast<Role>(i)), "unknown");
  EXPECT_STREQ(RoleName(static_cast<Role>(99)), "unknown");
}

TEST(Control, StartUpGathersTheConfigurationAndTheChannelsInOrder) {
  const Pair pair = NewPair();
  const Pair first = NewPair();
  const Pair second = NewPair();
  ASSERT_TRUE(Send(pair.a.get(), Type::kConfigure, AsBytes(R"({"zone":"default"})")));
  ASSERT_TRUE(SendTakeChannel(pair.a.get(), {"ledger", "", ""}, first.a.get()));
  ASSERT_TRUE(SendTakeChannel(pair.a.get(), {"listener", "x", "{}"}, second.a.get()));
  ASSERT_TRUE(Send(pair.a.get(), Type::kStart, {}));
  const auto start = ReceiveStartUp(pair.b.get());
  ASSERT_TRUE(start) << Describe(start.error());
  EXPECT_EQ(start->configuration_json, R"({"zone":"default"})");
  ASSERT_EQ(start->channels.size(), 2U);
  EXPECT_EQ(start->channels[0].what.role, "ledger");
  EXPECT_EQ(start->channels[1].what.name, "x");
}

TEST(Control, StartUpEndsWhenTheSupervisorLeavesOrSaysStop) {
  Pair pair = NewPair();
  ASSERT_TRUE(Send(pair.a.get(), Type::kStop, {}));
  EXPECT_EQ(ReceiveStartUp(pair.b.get()).error().code, Code::kNotFound);
  pair.a.reset();
  EXPECT_EQ(ReceiveStartUp(pair.b.get()).error().code, Code::kNotFound);
}

TEST(Control, StartUpRefusesAChannelWithoutADescriptorAndAStartWithoutAConfiguration) {
  const Pair pair = NewPair();
  ASSERT_TRUE(Send(pair.a.get(), Type::kTakeChannel, AsBytes(R"({"role":"ledger"})")));
  EXPECT_EQ(ReceiveStartUp(pair.b.get()).error().code, Code::kInvalid);
  ASSERT_TRUE(Send(pair.a.get(), Type::kStart, {}));
  EXPECT_EQ(ReceiveStartUp(pair.b.get()).error().code, Code::kInvalid);
}

TEST(Control, TakeChannelIsTotal) {
  for (const char* bad : {"", "{", "[]", "1", "{}", R"({"role":1})", R"({"role":""})", R"({"role":"a","name":3})",
                          R"({"role":"a","detail_json":{}})", "{\"role\":\"\xff\"}"}) {
    EXPECT_FALSE(DecodeTakeChannel(AsBytes(bad))) << bad;
  }
  EXPECT_FALSE(DecodeTakeChannel(AsBytes(std::string(60'000, '['))));
  EXPECT_TRUE(DecodeTakeChannel(AsBytes(R"({"role":"ledger"})")));
}

}  // namespace
}  // namespace stele::channel
