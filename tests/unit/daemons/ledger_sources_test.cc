// Goal: sources keep their numbers, carry the operator's names, and whoever falls silent is missed once, and only then.
// Method: the registry alone, its time moved by hand.
#include "appliance/daemons/ledger_sources.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "appliance/base/limits.h"

namespace stele::ledger_daemon {
namespace {

using nlohmann::json;
constexpr std::int64_t kSecond = 1'000'000'000;

std::string Description(const std::string& peer, const std::string& listener = "syslog-udp") {
  return json{{"zone", "default"}, {"listener", listener}, {"transport", "udp"}, {"peer", peer}, {"identity", ""}}
      .dump();
}

channel::SourceRules Rules(std::vector<std::tuple<std::string, std::string, std::optional<std::int64_t>>> named = {}) {
  channel::SourceRules rules;
  std::vector<channel::NamedSource> list;
  for (const auto& [name, address, silence_s] : named)
    list.push_back({name, {ParseIpPrefix(address).value()}, "", silence_s});
  rules.SetNamed(std::move(list));
  return rules;
}

class SourcesTest : public ::testing::Test {
 protected:
  SourcesTest() { Pass(0); }
  void Pass(std::int64_t seconds, bool listening = true) {
    for (std::int64_t s = 0; s < seconds; ++s) registry_.Advance(boottime_ns_ += kSecond, listening);
    if (seconds == 0) registry_.Advance(boottime_ns_, listening);
  }
  std::uint32_t Number(const std::string& peer) { return registry_.NumberOf(Description(peer)).value(); }
  // One message a second.
  void Speak(std::uint32_t number, std::int64_t seconds) {
    for (std::int64_t s = 0; s < seconds; ++s) {
      Pass(1);
      registry_.Heard(number, 1, boottime_ns_);
    }
  }
  std::vector<json> Alarms() {
    std::vector<json> alarms;
    for (const SourceAlarm& alarm : registry_.TakeAlarms(boottime_ns_)) {
      alarms.push_back(json::parse(alarm.payload));
      alarms.back()["of"] = alarm.source;
    }
    return alarms;
  }

  SourceRegistry registry_{1};
  std::int64_t boottime_ns_ = 1'000 * kSecond;
};

TEST_F(SourcesTest, ADescriptionHasOneNumberWhateverItsMembersOrderAndWhoeverAsks) {
  const std::uint32_t first = Number("192.0.2.1");
  EXPECT_EQ(first, 1U);
  EXPECT_EQ(Number("192.0.2.2"), 2U);
  EXPECT_EQ(registry_.NumberOf(
                R"({"peer":"192.0.2.1","identity":"","zone":"default","transport":"udp","listener":"syslog-udp"})"),
            first);
  EXPECT_EQ(
      registry_.NumberOf(
          R"({"source":77,"name":"forged","peer":"192.0.2.1","identity":"","zone":"default","transport":"udp","listener":"syslog-udp"})"),
      first);
  EXPECT_EQ(registry_.next_number(), 3U);
  EXPECT_FALSE(registry_.NumberOf("[1]"));
  EXPECT_FALSE(registry_.NumberOf("{"));
}

TEST_F(SourcesTest, ARestartGoesOnWithTheNumbersOfTheLog) {
  const std::uint32_t number = Number("192.0.2.1");
  const std::string entry = registry_.EntryOf(number);
  SourceRegistry next(40);
  next.Restore(number, entry);
  next.Restore(39, "not an entry");
  EXPECT_EQ(next.NumberOf(Description("192.0.2.1")), number);
  EXPECT_EQ(next.NumberOf(Description("192.0.2.9")), 40U);
}

TEST_F(SourcesTest, EachUnitDeclaresASourceOnceAndAgainWhenItsNameChanges) {
  const std::uint32_t number = Number("192.0.2.1");
  EXPECT_TRUE(registry_.MustDeclare(number));
  EXPECT_FALSE(registry_.MustDeclare(number));
  EXPECT_FALSE(json::parse(registry_.EntryOf(number)).contains("name"));
  registry_.Use(Rules({{"core-switch", "192.0.2.1", std::nullopt}}));
  EXPECT_TRUE(registry_.MustDeclare(number));
  EXPECT_EQ(json::parse(registry_.EntryOf(number))["name"], "core-switch");
  EXPECT_EQ(json::parse(registry_.EntryOf(number))["source"], number);
  registry_.Use(Rules({{"core-switch", "192.0.2.1", std::nullopt}}));
  EXPECT_FALSE(registry_.MustDeclare(number));
  registry_.NewUnit();
  EXPECT_TRUE(registry_.MustDeclare(number));
}

TEST_F(SourcesTest, AtAStopTheMostRecentSourcesAreCarriedAndTheRestIsNot) {
  std::vector<std::uint32_t> numbers;
  for (int i = 1; i <= 5; ++i) {
    numbers.push_back(Number("192.0.2." + std::to_string(i)));
    Speak(numbers.back(), 1);
  }
  EXPECT_TRUE(registry_.MustDeclare(numbers[4]));
  EXPECT_EQ(registry_.Carry(2), (std::vector<std::uint32_t>{numbers[3], numbers[2]}));
  EXPECT_EQ(registry_.Carry(10), (std::vector<std::uint32_t>{numbers[1], numbers[0]}));
  EXPECT_TRUE(registry_.Carry(10).empty());
}

TEST_F(SourcesTest, ASourceThatStopsSpeakingIsMissedOnceAndWelcomedBackOnce) {
  const std::uint32_t number = Number("192.0.2.1");
  Speak(number, 120);
  Pass(300);
  EXPECT_TRUE(Alarms().empty());  // 10 x 1 s is less than five minutes
  Pass(1);
  const auto alarms = Alarms();
  ASSERT_EQ(alarms.size(), 1U);
  EXPECT_EQ(alarms[0]["alarm"], "source_silent");
  EXPECT_EQ(alarms[0]["of"], number);
  EXPECT_EQ(alarms[0]["peer"], "192.0.2.1");
  EXPECT_EQ(alarms[0]["interval_ms"], 1'000);
  Pass(10'000);
  EXPECT_TRUE(Alarms().empty());
  EXPECT_EQ(registry_.ToJson()["silent"], 1);
  EXPECT_EQ(registry_.ToJson()["silent_numbers"], json{number});
  Speak(number, 2);
  const auto back = Alarms();
  ASSERT_EQ(back.size(), 1U);
  EXPECT_EQ(back[0]["alarm"], "source_recovered");
  EXPECT_EQ(registry_.ToJson()["silent"], 0);
}

TEST_F(SourcesTest, ASlowSourceIsGivenTenOfItsOwnIntervals) {
  const std::uint32_t number = Number("192.0.2.1");
  for (int i = 0; i < 110; ++i) {
    Pass(60);
    registry_.Heard(number, 1, boottime_ns_);
  }
  Pass(590);
  EXPECT_TRUE(Alarms().empty());
  Pass(20);
  EXPECT_EQ(Alarms().size(), 1U);
}

TEST_F(SourcesTest, WhoHasNoHabitYetIsNotMissed) {
  const std::uint32_t few = Number("192.0.2.1");
  Speak(few, 99);
  const std::uint32_t burst = Number("192.0.2.2");
  Pass(1);
  registry_.Heard(burst, 100'000, boottime_ns_);  // one burst is no habit
  Pass(100'000);
  EXPECT_TRUE(Alarms().empty());
}

TEST_F(SourcesTest, TheTimeInWhichNobodyListensIsNotTheSourcesSilence) {
  const std::uint32_t number = Number("192.0.2.1");
  Speak(number, 120);
  Pass(100'000, /*listening=*/false);  // the store took nothing
  boottime_ns_ += 86'400 * kSecond;    // the machine slept
  Pass(1);
  EXPECT_TRUE(Alarms().empty());
  Pass(300);
  EXPECT_EQ(Alarms().size(), 1U);
}

TEST_F(SourcesTest, ANameWithItsOwnTimeIsWatchedOverAllItsSourcesAndMissedEvenIfItNeverSpoke) {
  registry_.Use(Rules({{"pair", "192.0.2.0/24", 60}, {"lost", "198.51.100.1", 30}, {"daily", "203.0.113.1", 0}}));
  const std::uint32_t one = Number("192.0.2.1");
  const std::uint32_t two = Number("192.0.2.2");
  const std::uint32_t daily = Number("203.0.113.1");
  Speak(daily, 200);
  Speak(one, 1);
  (void)Alarms();  // "pair" and "lost" were missed meanwhile, the pair is back
  for (int i = 0; i < 10; ++i) {
    Speak(i % 2 == 0 ? one : two, 1);
    Pass(40);
  }
  EXPECT_TRUE(Alarms().empty());
  Pass(30);
  const auto alarms = Alarms();
  ASSERT_EQ(alarms.size(), 1U);
  EXPECT_EQ(alarms[0]["name"], "pair");
  EXPECT_EQ(registry_.ToJson()["silent_numbers"].size(), 2U);
  Pass(1'000'000);
  EXPECT_TRUE(Alarms().empty());  // 0 is never
  Speak(two, 1);
  const auto back = Alarms();
  ASSERT_EQ(back.size(), 1U);
  EXPECT_EQ(back[0]["alarm"], "source_recovered");
  EXPECT_EQ(back[0]["of"], two);
}

TEST_F(SourcesTest, ANameThatNeverSpokeIsMissed) {
  registry_.Use(Rules({{"lost", "198.51.100.1", 30}}));
  Pass(30);
  EXPECT_TRUE(Alarms().empty());
  Pass(1);
  const auto alarms = Alarms();
  ASSERT_EQ(alarms.size(), 1U);
  EXPECT_NE(alarms[0]["text"].get<std::string>().find("not heard at all"), std::string::npos);
  registry_.Use(Rules({{"lost", "198.51.100.1", 30}}));  // a reload is no reason to say it again
  Pass(60);
  EXPECT_TRUE(Alarms().empty());
}

TEST_F(SourcesTest, AThousandThatFallSilentTogetherAreAFewEntriesAndOneThatCountsTheRest) {
  for (int i = 0; i < 1'000; ++i) (void)Number("10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250));
  for (int s = 0; s < 120; ++s) {
    Pass(1);
    for (std::uint32_t number = 1; number <= 1'000; ++number) registry_.Heard(number, 1, boottime_ns_);
  }
  std::size_t entries = 0;
  std::uint64_t told = 0;
  for (int s = 0; s < 400; ++s) {
    Pass(1);
    for (const json& alarm : Alarms()) {
      ++entries;
      told += alarm["alarm"] == "sources_silent" ? alarm["count"].get<std::uint64_t>() : 1;
    }
  }
  EXPECT_EQ(told, 1'000U);
  EXPECT_EQ(entries, limits::kSourceAlarmsPerMinute + 1);
  EXPECT_EQ(registry_.ToJson()["silent"], 1'000);
  EXPECT_EQ(registry_.ToJson()["silent_list"].size(), limits::kSilentSourcesListed);
}

}  // namespace
}  // namespace stele::ledger_daemon
