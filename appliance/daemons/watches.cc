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
  timex state{};  // modes = 0: only asks
  return ::adjtimex(&state) != TIME_ERROR && (state.status & STA_UNSYNC) == 0;
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

std::vector<Alarm> CertificateWatch::Observe(const std::map<std::string, std::int64_t>& end_s, std::int64_t now_s) {
  std::vector<Alarm> alarms;
  for (const auto& [name, end] : end_s) {
    const auto told = told_s_.find(name);
    if (end - now_s >= kWarnSeconds || (told != told_s_.end() && now_s - told->second < kDay)) continue;
    told_s_[name] = now_s;
    const std::string when = FormatTime(end * 1'000'000'000);
    const std::string text = end <= now_s ? "the certificate " + name + ".pem ended on " + when
                                          : "the certificate " + name + ".pem ends in " +
                                                std::to_string((end - now_s) / kDay) + " days, on " + when;
    alarms.push_back({"certificate_ends", text + "; a start of Stele makes a new one"});
  }
  return alarms;
}

std::map<std::string, std::int64_t> CertificateEnds(const fs::path& keys_dir) {
  std::map<std::string, std::int64_t> ends;
  std::error_code failed;
  for (fs::directory_iterator at(keys_dir, failed), end; !failed && at != end; at.increment(failed)) {
    if (at->path().extension() != ".pem" || at->path().stem() == "provisioning") continue;  // that one is a private key
    const auto pem = ReadFile(at->path(), kPemBytesMax);
    if (!pem) continue;
    if (const auto until = EndOf(*pem)) ends[at->path().stem().string()] = *until;
  }
  return ends;
}

}  // namespace stele::daemons
