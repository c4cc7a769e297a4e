// Goal: signed syslog that comes over a stream gets its flags, is stored as it came, and what does not fit its blocks
// is one alarm, not one per message. Method: the real listener, a signer of plain arithmetic, a clock moved by hand.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/unit/receive/receive_fixture.h"
#include "tests/unit/syslog_signer.h"

namespace stele::receive {
namespace {

using nlohmann::json;
using test::BlockText;

const test::SyslogSigner& Signer() {
  static const test::SyslogSigner signer(7);
  return signer;
}

RigOptions SignedRig() {
  auto keys = std::make_shared<ingest::SyslogKeys>();
  EXPECT_TRUE(keys->Add({"core", "switch-1", Signer().KeyBlob(), "", "", "", ""}).has_value());
  RigOptions options;
  options.syslog_keys = std::move(keys);
  return options;
}

std::string Message(const std::string& text) { return "<13>1 2026-11-21T06:00:00Z switch-1 linkd - - - " + text; }

BlockText From(std::uint64_t fmn) {
  BlockText block;
  block.fmn = fmn;
  block.gbc = fmn;
  return block;
}

// The alarms, once so many records have come.
std::vector<json> AlarmsAmong(const std::vector<KeptRecord>& records) {
  std::vector<json> alarms;
  for (const KeptRecord& one : records) {
    if (one.kind == record::Kind::kAlarm) alarms.push_back(json::parse(one.payload));
  }
  return alarms;
}

void Tick(Rig& rig, std::int64_t ms) {
  rig.Pass(ms);
  rig.Do([&rig] {
    rig.signed_syslog().Tick();
    rig.alarms().Tick(rig.clock.WallNs() + rig.clock.BoottimeNs());
  });
}

TEST(SignedSyslogStream, BlocksAreFlaggedAndStoredAsTheyCame) {
  Rig rig(SignedRig());
  PlainClient client(rig);
  const std::string good = Signer().Block(From(1), {Message("a")});
  std::string forged = Signer().Block(From(2), {Message("b")});
  forged.replace(forged.find("06:00:00Z"), 9, "06:00:01Z");
  BlockText elsewhere = From(1);
  elsewhere.host = "printer";
  const std::string unknown = test::SyslogSigner(8).Block(elsewhere, {Message("c")});
  const std::vector<std::string> sent = {Message("a"), good, forged, unknown};
  for (const std::string& one : sent) ASSERT_TRUE(client.Send(Counted(one)));
  const auto records = rig.Records(4);
  ASSERT_EQ(records.size(), 4U);
  const std::vector<std::uint16_t> flags = {0, record::kFlagSignatureValid, record::kFlagSignatureInvalid,
                                            record::kFlagSignatureUnknown};
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(records[i].flags, flags[i]) << i;
    EXPECT_EQ(records[i].payload, sent[i]);
  }
  Tick(rig, 1'000);
  const auto alarms = AlarmsAmong(rig.Records(5));
  ASSERT_EQ(alarms.size(), 1U);
  EXPECT_EQ(alarms[0]["alarm"], "signature_invalid");
  EXPECT_EQ(alarms[0]["count"], 1);
}

TEST(SignedSyslogStream, AnAlteredMessageIsOneAlarmAndFurtherOnesWaitAMinute) {
  Rig rig(SignedRig());
  PlainClient client(rig);
  std::size_t count = 0;
  const auto send = [&](const std::string& one) {
    ASSERT_TRUE(client.Send(Counted(one)));
    (void)rig.Records(++count);
  };
  send(Message("a"));
  send(Signer().Block(From(1), {Message("a")}));
  for (const char* altered : {"altered", "altered too"}) {
    send(Message(altered));
    const std::uint64_t number = std::string(altered) == "altered" ? 2 : 3;
    send(Signer().Block(From(number), {Message("as signed " + std::to_string(number))}));
  }
  for (int second = 0; second < 30; ++second) Tick(rig, 1'000);
  auto alarms = AlarmsAmong(rig.Records(++count));
  ASSERT_EQ(alarms.size(), 1U);
  EXPECT_EQ(alarms[0]["alarm"], "signed_syslog");
  EXPECT_EQ(alarms[0]["missing"], 2);
  EXPECT_EQ(alarms[0]["unlisted"], 0);
  EXPECT_EQ(alarms[0]["host"], "switch-1");
  EXPECT_EQ(alarms[0]["key"], "core");
  EXPECT_EQ(alarms[0]["peer"], "127.0.0.1");
  EXPECT_EQ(alarms[0]["ranges"][0]["numbers"], json::array({2, 3}));
  for (int second = 0; second < 120; ++second) Tick(rig, 1'000);
  alarms = AlarmsAmong(rig.Records(++count));
  ASSERT_EQ(alarms.size(), 2U);
  EXPECT_EQ(alarms[1]["missing"], 0);
  EXPECT_EQ(alarms[1]["unlisted"], 2);
}

TEST(SignedSyslogStream, OnlySoManySignaturesOfOneSourceAreCheckedASecond) {
  Rig rig(SignedRig());
  PlainClient client(rig);
  const std::string block = Signer().Block(From(1), {Message("a")});
  const std::size_t count = limits::kSignedChecksPerSourceSecond + 5;
  for (std::size_t i = 0; i < count; ++i) ASSERT_TRUE(client.Send(Counted(block)));
  const auto records = rig.Records(count);
  ASSERT_EQ(records.size(), count);
  const auto valid = std::count_if(records.begin(), records.end(),
                                   [](const KeptRecord& one) { return one.flags == record::kFlagSignatureValid; });
  EXPECT_EQ(valid, limits::kSignedChecksPerSourceSecond);
  EXPECT_EQ(records.back().flags, record::kFlagSignatureUnknown);
  Tick(rig, 1'000);
  const auto alarms = AlarmsAmong(rig.Records(count + 1));
  ASSERT_EQ(alarms.size(), 1U);
  EXPECT_EQ(alarms[0]["unchecked"], 5);
}

TEST(SignedSyslogStream, RelpCarriesItTooAndWhatIsSentAgainIsNotUnlisted) {
  RigOptions options = SignedRig();
  options.way = Way::kRelp;
  Rig rig(options);
  const auto frame = [](int number, const std::string& command, const std::string& data) {
    return std::to_string(number) + ' ' + command + ' ' + std::to_string(data.size()) + ' ' + data + '\n';
  };
  const std::string open = frame(1, "open", "relp_version=0\nrelp_software=test\ncommands=syslog");
  const std::string block = Signer().Block(From(1), {Message("a")});
  {
    PlainClient client(rig);
    ASSERT_TRUE(client.Send(open + frame(2, "syslog", Message("a")) + frame(3, "syslog", block)));
    ASSERT_EQ(rig.Records(2).size(), 2U);
  }
  ASSERT_TRUE(rig.Eventually([&rig] { return rig.listener.connections == 0; }));
  PlainClient client(rig);
  ASSERT_TRUE(client.Send(open + frame(2, "syslog", Message("a")) + frame(3, "syslog", block)));
  const auto records = rig.Records(4);
  ASSERT_EQ(records.size(), 4U);
  EXPECT_EQ(records[1].flags, record::kFlagSignatureValid);
  EXPECT_EQ(records[2].flags, record::kFlagPossibleDuplicate);
  EXPECT_EQ(records[3].flags, record::kFlagPossibleDuplicate | record::kFlagSignatureValid);
  for (int second = 0; second < 200; ++second) Tick(rig, 1'000);
  EXPECT_TRUE(AlarmsAmong(rig.Records(4)).empty());
}

}  // namespace
}  // namespace stele::receive
