// What the supervisor keeps an eye on because nobody else may look: the kernel's time synchronisation and the
// certificates. Each watch turns what it sees into alarms for the log, one when something turns and not one every time
// it is looked at.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "appliance/base/result.h"

namespace stele::daemons {

struct Alarm {
  std::string name;  // stable: docs/entries.md
  std::string text;
};

// Whether something (NTP, PTP) keeps the kernel's clock: adjtimex(2). Reading needs no privilege; where a
// filter of system calls forbids it the answer is no.
[[nodiscard]] bool KernelTimeIsSynchronised();

class TimeSyncWatch {
 public:
  static constexpr std::int64_t kFirstWaitNs =
      600'000'000'000;  // after a start, until a clock that nobody sets is an alarm
  [[nodiscard]] std::optional<Alarm> Observe(bool synchronised, std::int64_t boottime_ns);

 private:
  std::int64_t unsynchronised_since_ns_ = 0;
  bool seen_ = false;
  bool synchronised_ = false;
  bool alarmed_ = false;
};

struct WatchedCertificate {
  std::int64_t end_s = 0;  // seconds since the epoch
  bool renewed = false;    // by a start of Stele; otherwise by whoever configured it
  friend bool operator==(const WatchedCertificate&, const WatchedCertificate&) = default;
};
using WatchedCertificates = std::map<std::string, WatchedCertificate>;  // by file name

class CertificateWatch {
 public:
  static constexpr std::int64_t kDay = 86'400;
  static constexpr std::int64_t kWarnSeconds = 30 * kDay;
  // One alarm a day and certificate.
  [[nodiscard]] std::vector<Alarm> Observe(const WatchedCertificates& certificates, std::int64_t now_s);

 private:
  std::map<std::string, std::int64_t> told_s_;
};

// The certificates of Stele's own folder (*.pem, by file name) and the configured ones of the ingest listeners.
// What is no certificate is left out.
[[nodiscard]] WatchedCertificates CertificatesToWatch(const std::filesystem::path& keys_dir,
                                                      const std::set<std::filesystem::path>& configured);

}  // namespace stele::daemons
