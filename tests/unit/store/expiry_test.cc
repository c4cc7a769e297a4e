// Goal: a unit expires when its records are over by the calendar and by the TPM's own time, when no longer promise and
// no hold keeps it, and not a moment before. Method: units that say when they were begun, and clocks that agree, run
// away or went back.
#include "appliance/store/expiry.h"

#include "tests/unit/store/store_fixture.h"

namespace stele::store {
namespace {

using Numbers = std::vector<std::uint32_t>;

constexpr std::int64_t kNsPerSecond = 1'000'000'000;

UnitFacts Unit(std::uint32_t unit, std::int64_t begun_s, std::optional<std::uint64_t> clock_s,
               std::int64_t retention_s = 100) {
  UnitFacts facts;
  facts.unit = unit;
  facts.begun_wall_ns = begun_s * kNsPerSecond;
  facts.declared =
      RetentionEntry{unit, retention_s, {}, 0, clock_s ? std::optional(*clock_s * 1000) : std::nullopt, true};
  return facts;
}

std::vector<std::uint32_t> Names(const std::vector<UnitFacts>& units, const RetentionNow& now) {
  std::vector<std::uint32_t> names;
  const auto end_of = [](std::uint32_t) -> Result<UnitEnd> { return Fail(Code::kNotFound, "not asked for here"); };
  for (const Tombstone& one : WhatExpired(units, now, end_of)) names.push_back(one.unit);
  return names;
}

RetentionNow At(std::int64_t wall_s, std::uint64_t clock_s, std::int64_t retention_s = 100) {
  return {wall_s * kNsPerSecond, clock_s * 1000, 0, retention_s, {}, 1};
}

TEST(WhatExpired, ByTheCalendarAndByTheAppliancesOwnTime) {
  const std::vector<UnitFacts> units = {Unit(0, 0, 0), Unit(1, 10, 10), Unit(2, 20, 20), Unit(3, 30, 30),
                                        Unit(4, 40, 40)};
  EXPECT_EQ(Names(units, At(109, 109)), Numbers{});
  EXPECT_EQ(Names(units, At(110, 110)), Numbers{0});
  EXPECT_EQ(Names(units, At(120, 120)), (Numbers{0, 1}));
  EXPECT_EQ(Names(units, At(100'000, 100'000)), (Numbers{0, 1, 2})) << "the last two stay";
  EXPECT_EQ(Names(units, At(315'360'000, 109)), Numbers{}) << "a clock that was set ten years on";
  EXPECT_EQ(Names(units, At(109, 315'360'000)), Numbers{}) << "a clock that was set back";
  EXPECT_EQ(Names(units, At(100'000, 100'000, 0)), Numbers{}) << "no retention";
  RetentionNow without_tpm = At(100'000, 0);
  without_tpm.clock_ms.reset();
  EXPECT_EQ(Names(units, without_tpm), Numbers{});
  EXPECT_EQ(Names(units, At(100'000, 5)), Numbers{}) << "a TPM's clock that went back";
  RetentionNow unanchored = At(100'000, 100'000);
  unanchored.anchored_size = 0;
  std::vector<UnitFacts> filled = units;
  for (UnitFacts& unit : filled) unit.first_sequence = 1;
  for (UnitFacts& unit : filled) unit.frontier = {TestHash(1)};
  EXPECT_EQ(Names(filled, unanchored), Numbers{});
}

TEST(WhatExpired, WhatWasPromisedHolds) {
  const std::vector<UnitFacts> shortened = {Unit(0, 0, 0, 500), Unit(1, 10, 10, 500), Unit(2, 20, 20), Unit(3, 30, 30),
                                            Unit(4, 40, 40)};
  EXPECT_EQ(Names(shortened, At(400, 400)), Numbers{2}) << "units of the longer promise stay";
  EXPECT_EQ(Names(shortened, At(520, 520)), (Numbers{0, 1, 2}));
  const std::vector<UnitFacts> lengthened = {Unit(0, 0, 0), Unit(1, 10, 10), Unit(2, 20, 20, 500), Unit(3, 30, 30),
                                             Unit(4, 40, 40)};
  EXPECT_EQ(Names(lengthened, At(400, 400)), Numbers{}) << "it was longer while unit 0 was there";
  EXPECT_EQ(Names({Unit(0, 0, 0), Unit(1, 10, 10), Unit(2, 20, 20), Unit(3, 30, 30)}, At(400, 400, 391)), Numbers{});
}

TEST(WhatExpired, AHoldKeepsWhatWasReceivedInItsTime) {
  const std::vector<UnitFacts> units = {Unit(0, 0, 0), Unit(1, 10, 10), Unit(2, 20, 20), Unit(3, 30, 30),
                                        Unit(4, 40, 40)};
  RetentionNow now = At(1'000, 1'000);
  now.holds = {{"court", "case 7", 12 * kNsPerSecond, 18 * kNsPerSecond}};
  const auto end_of = [](std::uint32_t) -> Result<UnitEnd> { return UnitEnd{}; };
  std::vector<UnitFacts> there = units;
  EXPECT_EQ(Names(there, now), (Numbers{0, 2}));
  there.erase(there.begin() + 2);  // expired meanwhile: the end of unit 1 is in its own blocks
  now.holds.clear();
  EXPECT_EQ(WhatExpired(there, now, end_of).size(), 2U);
  EXPECT_EQ(Names(there, now), Numbers{0}) << "what cannot be read stays";
}

TEST(WhatExpired, AnotherTpmsTimeIsNotCounted) {
  std::vector<UnitFacts> units = {Unit(0, 0, 9'000), Unit(1, 10, 9'010), Unit(2, 20, 5), Unit(3, 30, 15),
                                  Unit(4, 40, 25)};
  for (std::size_t i = 2; i < 5; ++i) units[i].declared->epoch = 1;
  RetentionNow now = At(1'000, 104);
  now.epoch = 1;
  EXPECT_EQ(Names(units, now), Numbers{});
  now.clock_ms = 105'000;
  EXPECT_EQ(Names(units, now), (Numbers{0, 1}));
  units[3].declared.reset();
  EXPECT_EQ(Names(units, now), (Numbers{0, 1})) << "a unit that says nothing makes nothing older";
}

TEST(WhatExpired, EntriesAreReadBackAsTheyWereWritten) {
  RetentionEntry entry{7, 86'400, {{"court", "case \"7\"", 5, 6}}, 2, 99, true};
  const auto back = DecodeRetention(AsBytes(EncodeRetention(entry)));
  ASSERT_TRUE(back);
  EXPECT_EQ(EncodeRetention(*back), EncodeRetention(entry));
  EXPECT_FALSE(DecodeRetention(AsBytes(R"({"config_sha256":"00"})")));
  EXPECT_FALSE(DecodeRetention(AsBytes(R"({"event":"retention","unit":-1,"retention_s":1,"holds":[]})")));
  EXPECT_FALSE(DecodeRetention(AsBytes(R"({"event":"retention","unit":4294967296,"retention_s":1,"holds":[]})")));
  EXPECT_FALSE(
      DecodeRetention(AsBytes(R"({"event":"retention","unit":1,"retention_s":18446744073709551615,"holds":[]})")));
  EXPECT_FALSE(DecodeTombstone(AsBytes("{}")));
  EXPECT_FALSE(DecodeTombstone(AsBytes("")));
}

}  // namespace
}  // namespace stele::store
