// Goal: an alarm when the clock's keeper is lost and when a certificate is about to end; one each, not one a second.
// Method: the watches alone, their time moved by hand; certificates made for the test.
#include "appliance/daemons/watches.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "appliance/daemons/x509.h"

namespace stele::daemons {
namespace {

namespace fs = std::filesystem;
constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kDay = CertificateWatch::kDay;

TEST(TimeSyncWatch, LosingTheKeeperIsAnAlarmAtOnceAndFindingItAgainANotice) {
  TimeSyncWatch watch;
  EXPECT_FALSE(watch.Observe(true, 1 * kSecond));
  const auto lost = watch.Observe(false, 2 * kSecond);
  ASSERT_TRUE(lost);
  EXPECT_EQ(lost->name, "time_unsynchronised");
  EXPECT_FALSE(watch.Observe(false, 9'000 * kSecond));
  const auto found = watch.Observe(true, 9'001 * kSecond);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->name, "time_synchronised");
  EXPECT_FALSE(watch.Observe(true, 9'002 * kSecond));
  EXPECT_TRUE(watch.Observe(false, 9'003 * kSecond));
}

TEST(TimeSyncWatch, AClockThatNobodyEverSetIsAnAlarmAfterAWhile) {
  TimeSyncWatch watch;
  EXPECT_FALSE(watch.Observe(false, 100 * kSecond));
  EXPECT_FALSE(watch.Observe(false, 100 * kSecond + TimeSyncWatch::kFirstWaitNs - 1));
  EXPECT_TRUE(watch.Observe(false, 100 * kSecond + TimeSyncWatch::kFirstWaitNs));
  EXPECT_FALSE(watch.Observe(false, 100 * kSecond + 2 * TimeSyncWatch::kFirstWaitNs));
}

TEST(TimeSyncWatch, AskingTheKernelNeedsNoPrivilege) { (void)KernelTimeIsSynchronised(); }

TEST(CertificateWatch, AnAlarmADayFromThirtyDaysBeforeTheEnd) {
  CertificateWatch watch;
  const std::int64_t end = 1'000 * kDay;
  const WatchedCertificates watched{{"viewer.pem", {end, true}}};
  EXPECT_TRUE(watch.Observe(watched, end - 30 * kDay).empty());
  std::size_t alarms = 0;
  for (std::int64_t hour = 1; hour <= 40 * 24; ++hour) {
    for (const Alarm& alarm : watch.Observe(watched, end - 30 * kDay + hour * 3'600)) {
      ++alarms;
      EXPECT_EQ(alarm.name, "certificate_ends");
      EXPECT_NE(alarm.text.find("viewer"), std::string::npos);
    }
  }
  EXPECT_EQ(alarms, 40U);
}

TEST(CertificateWatch, SaysWhoMustRenewIt) {
  CertificateWatch watch;
  const auto alarms = watch.Observe({{"/etc/site.pem", {kDay, false}}, {"viewer.pem", {kDay, true}}}, 0);
  ASSERT_EQ(alarms.size(), 2U);
  EXPECT_NE(alarms[0].text.find("/etc/site.pem ends in 1 days"), std::string::npos);
  EXPECT_NE(alarms[0].text.find("SIGHUP"), std::string::npos);
  EXPECT_NE(alarms[1].text.find("a start of Stele"), std::string::npos);
}

TEST(CertificateWatch, ReadsTheEndOfEveryCertificateInTheFolderAndOfTheConfiguredOne) {
  std::string name = (fs::temp_directory_path() / "stele-watch-XXXXXX").string();
  ASSERT_NE(::mkdtemp(name.data()), nullptr);
  const fs::path dir = name;
  Template wanted;
  wanted.common_name = "test";
  wanted.names = {"localhost"};
  wanted.begin_s = 1'700'000'000;
  wanted.end_s = 1'800'000'000;
  const auto pair = Issue(wanted, nullptr);
  ASSERT_TRUE(pair);
  std::ofstream(dir / "viewer.pem") << *CertificatePem(*pair);
  std::ofstream(dir / "provisioning.pem") << *KeyPem(*pair);  // no certificate, and not to be looked at twice
  std::ofstream(dir / "viewer.key") << "x";
  EXPECT_EQ(CertificatesToWatch(dir, {}), (WatchedCertificates{{"viewer.pem", {1'800'000'000, true}}}));
  const fs::path configured = dir / "viewer.pem";
  EXPECT_EQ(CertificatesToWatch(dir / "none", {configured}),
            (WatchedCertificates{{configured.string(), {1'800'000'000, false}}}));
  EXPECT_TRUE(CertificatesToWatch(dir / "none", {dir / "viewer.key"}).empty());
  std::error_code ignored;
  fs::remove_all(dir, ignored);
}

}  // namespace
}  // namespace stele::daemons
