// Goal: a receiver that is broken into can say only what its channel was made for: nothing about another zone, no entry of a
// kind that is not its own; the other zone goes on. Method: the channels of running receivers, taken by pidfd_getfd.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <optional>
#include <set>
#include <thread>

#include "appliance/base/fd.h"
#include "appliance/base/text.h"
#include "appliance/channel/append_messages.h"
#include "appliance/channel/control.h"
#include "tests/unit/daemons/running_stele.h"

namespace stele::daemons {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

constexpr const char* kThreeZones = R"([viewer]
port = 0
[store]
segment_bytes = 1048576
[anchor]
tpm = "embedded"
[[zones]]
name = "plant"
syslog_udp_port = 0
[[zones]]
name = "office"
syslog_udp_port = 0
[[zones]]
name = "laboratory"
syslog_udp_port = 0
)";

// The channel to the ledger of a running receiver: its only connected Unix socket beside the control channel.
std::optional<UniqueFd> LedgerChannelOf(pid_t pid) {
  const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  for (int number = channel::kControlFd + 1; number < 256 && process.valid(); ++number) {
    UniqueFd copy(static_cast<int>(::syscall(SYS_pidfd_getfd, process.get(), number, 0)));
    int domain = 0;
    int type = 0;
    socklen_t size = sizeof domain;
    if (!copy.valid() || ::getsockopt(copy.get(), SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 || domain != AF_UNIX) continue;
    size = sizeof type;
    if (::getsockopt(copy.get(), SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET) return copy;
  }
  return std::nullopt;
}

Bytes FrameOf(record::Kind kind, std::uint32_t source, std::string_view payload) {
  channel::FrameBuilder builder;
  builder.Start(1'000'000'000, record::SaltKey{});
  EXPECT_TRUE(builder.Add(kind, 0, source, 0, record::Peer{}, AsBytes(payload)));
  return builder.Finish(0);
}

bool SaysWithin(const RunningStele& stele, const std::string& words, milliseconds limit) {
  for (const auto until = std::chrono::steady_clock::now() + limit; std::chrono::steady_clock::now() < until;) {
    if (stele.Output().find(words) != std::string::npos) return true;
    std::this_thread::sleep_for(milliseconds(50));
  }
  return false;
}

TEST(Zones, AReceiverSpeaksForItsOwnZoneAndInItsOwnKindsOnly) {
  RunningStele stele;
  std::ofstream(stele.dir() / "stele.toml") << kThreeZones;
  ASSERT_TRUE(stele.Start());
  const json ready = stele.Ready();
  const auto channel_of = [&ready](const char* zone) {
    return LedgerChannelOf(ready["pids"][std::string("stele-receive@") + zone].get<pid_t>());
  };
  const auto plant = channel_of("plant");
  const auto office = channel_of("office");
  if (!plant || !office) GTEST_SKIP() << "a process's descriptors can be taken by root only";

  const std::string of_office =
      R"({"zone":"office","listener":"syslog-udp","transport":"udp","peer":"192.0.2.1","identity":""})";
  ASSERT_TRUE(channel::Send(plant->get(), channel::Type::kDeclareSource, channel::EncodeDeclareSource({900'000, of_office})));
  (void)channel::Send(plant->get(), channel::Type::kRecords, FrameOf(record::Kind::kSyslog, 900'000, "<13>forged"));
  EXPECT_TRUE(SaysWithin(stele, "channel to plant: ", milliseconds(5'000))) << stele.Output();
  EXPECT_NE(stele.Output().find("of a zone that is not this channel's"), std::string::npos);

  const std::string loss = R"({"zone":"plant","listener":"syslog-udp","source":null,"cause":"kernel_drop","count":7})";
  ASSERT_TRUE(channel::Send(office->get(), channel::Type::kRecords, FrameOf(record::Kind::kLoss, 0, loss)));
  EXPECT_TRUE(SaysWithin(stele, "channel to office: ", milliseconds(5'000))) << stele.Output();

  const auto port = ready["zones"]["laboratory"]["ports"]["syslog-udp"].get<std::uint16_t>();
  ASSERT_TRUE(stele.SendUdp("<13>1 - host1 app1 77 - - the third zone continues4711", port));
  const json rows = stele.SearchUntil("continues4711", 1);
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0]["source"]["zone"], "laboratory");
  EXPECT_TRUE(stele.SearchUntil("forged", 1, milliseconds(300)).empty());
  EXPECT_TRUE(stele.SearchUntil("kind:loss", 1, milliseconds(300)).empty());
  std::set<std::string> closed;
  for (const json& row : stele.SearchUntil("kind:alarm", 2)) {
    const auto payload = ParseBase64(row["payload_b64"].get<std::string>(), 4'096);
    ASSERT_TRUE(payload);
    const json alarm = json::parse(AsText(*payload), nullptr, false);
    if (alarm.value("alarm", "") == "channel_closed") closed.insert(alarm.value("channel", ""));
  }
  EXPECT_EQ(closed, (std::set<std::string>{"office", "plant"}));
  const auto laboratory = channel_of("laboratory");
  ASSERT_TRUE(laboratory);
  ASSERT_TRUE(channel::Send(laboratory->get(), channel::Type::kRecords, FrameOf(record::Kind::kPolicy, 0, "{}")));
  EXPECT_TRUE(SaysWithin(stele, "a kind this channel may not append", milliseconds(5'000))) << stele.Output();
  EXPECT_EQ(stele.Stop(SIGTERM), 0) << stele.Output();
}

}  // namespace
}  // namespace stele::daemons
