#include "appliance/daemons/watches.h"

#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/timex.h>

#include <algorithm>
#include <ctime>
#include <memory>
#include <utility>

#include "appliance/base/limits.h"
#include "appliance/base/system.h"
#include "appliance/base/text.h"

namespace stele::daemons {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t kPemBytesMax = 1 * limits::kMiB;

std::optional<std::int64_t> EndOf(ByteView pem) {
  const std::unique_ptr<BIO, decltype(&::BIO_free)> in(::BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())),
                                                       &::BIO_free);
  if (in == nullptr) return std::nullopt;
  const std::unique_ptr<X509, decltype(&::X509_free)> certificate(
      ::PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr), &::X509_free);
  std::tm end{};
  if (certificate == nullptr || ::ASN1_TIME_to_tm(::X509_get0_notAfter(certificate.get()), &end) != 1)
    return std::nullopt;
  return ::timegm(&end);
}

}  // namespace

bool KernelTimeIsSynchronised() {
  timex state{};                          // modes = 0: only asks
  const int answer = ::adjtimex(&state);  // -1: we may not even ask, and so cannot say that it is
  return answer >= 0 && answer != TIME_ERROR && (state.status & STA_UNSYNC) == 0;
}

std::optional<Alarm> TimeSyncWatch::Observe(bool synchronised, std::int64_t boottime_ns) {
  const bool was = std::exchange(synchronised_, synchronised);
  const bool first = !std::exchange(seen_, true);
  if (synchronised) {
    if (!std::exchange(alarmed_, false)) return std::nullopt;
    return Alarm{"time_synchronised", "the clock is synchronised again"};
  }
  if (first || was) unsynchronised_since_ns_ = boottime_ns;
  if (alarmed_) return std::nullopt;
  if (was) {
    alarmed_ = true;
    return Alarm{"time_unsynchronised", "the clock is no longer synchronised: receive times may drift from now on"};
  }
  if (boottime_ns - unsynchronised_since_ns_ < kFirstWaitNs) return std::nullopt;
  alarmed_ = true;
  return Alarm{"time_unsynchronised",
               "nothing has synchronised the clock since Stele started: receive times are only as good as it is"};
}

std::vector<Alarm> CertificateWatch::Observe(const WatchedCertificates& certificates, std::int64_t now_s) {
  std::vector<Alarm> alarms;
  for (const auto& [name, certificate] : certificates) {
    const std::int64_t left_s = certificate.end_s - now_s;
    const auto told = told_s_.find(name);
    if (left_s >= kWarnSeconds || (told != told_s_.end() && now_s - told->second < kDay)) continue;
    told_s_[name] = now_s;
    const std::string when = FormatTime(certificate.end_s * 1'000'000'000);
    std::string text = "the certificate " + name;
    text += left_s <= 0 ? " ended on " + when : " ends in " + std::to_string(left_s / kDay) + " days, on " + when;
    text += certificate.renewed ? "; a start of Stele makes a new one"
                                : "; put a new one in its place and send SIGHUP to stele up";
    alarms.push_back({"certificate_ends", text});
  }
  return alarms;
}

WatchedCertificates CertificatesToWatch(const fs::path& keys_dir, const std::set<fs::path>& configured) {
  WatchedCertificates certificates;
  const auto add = [&certificates](const fs::path& file, const std::string& name, bool renewed) {
    const auto pem = ReadFile(file, kPemBytesMax);
    const auto end = pem ? EndOf(*pem) : std::nullopt;
    if (end) certificates[name] = {*end, renewed};
  };
  std::error_code failed;
  for (fs::directory_iterator at(keys_dir, failed), end; !failed && at != end; at.increment(failed)) {
    const fs::path& file = at->path();
    if (file.extension() != ".pem" || file.stem() == "provisioning") continue;  // that one is a private key
    add(file, file.filename().string(), /*renewed=*/true);
  }
  for (const fs::path& file : configured) add(file, file.string(), /*renewed=*/false);
  return certificates;
}

}  // namespace stele::daemons
