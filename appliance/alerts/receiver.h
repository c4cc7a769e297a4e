// Who a flow delivers to, and over which connection. Names are looked up and files read when it is opened, before the
// process locks itself down. Every delivery is a connection of its own with one deadline, so nothing hangs. Thread
// safety: one thread for each receiver; keys and origin are shared and only read.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "appliance/alerts/alert.h"
#include "appliance/alerts/flow.h"
#include "appliance/witness/url.h"
#include "appliance/witness/wire.h"

namespace stele::alerts {

inline constexpr std::uint16_t kSyslogTlsPort = 6514;  // RFC 5425 section 4.1
inline constexpr std::int64_t kDeliverMs = 10'000;     // of a batch to a SIEM, of one alert to a webhook

// A flow's address: syslog-tls://host[:port], or https://host[:port]/path.
struct Destination {
  bool webhook = false;
  witness::Url url;
};
[[nodiscard]] Result<Destination> ParseDestination(std::string_view text);

struct ReceiverSettings {
  Destination to;
  std::string ca_pem;           // whose certificates are taken
  std::string server_name;      // that the certificate must name; empty: the host
  std::string certificate_pem;  // our own, if it asks for one; empty: none
  std::string key_pem;
  bool receipts = false;  // the newest checkpoint rides along
};

class Receiver {
 public:
  // kInvalid: certificates or keys that are none. A name that cannot be looked up fails every delivery, and not the
  // start.
  [[nodiscard]] static Result<Receiver> Open(ReceiverSettings settings, const Origin& origin, const AlertKey& key);

  [[nodiscard]] std::uint16_t port() const { return settings_.to.url.port; }
  // The whole batch to a SIEM, its first alert to a webhook: the caller's cursor follows.
  [[nodiscard]] Arrival Deliver(std::span<const Alert> batch, const std::optional<std::string>& note) const;

 private:
  Receiver(ReceiverSettings settings, const Origin& origin, const AlertKey& key, witness::TlsContext tls)
      : settings_(std::move(settings)), origin_(&origin), key_(&key), tls_(std::move(tls)) {}
  [[nodiscard]] Result<std::unique_ptr<witness::Wire>> Connect(witness::Deadline deadline) const;
  [[nodiscard]] Result<void> ToSiem(std::span<const Alert> batch, const std::optional<std::string>& note) const;
  [[nodiscard]] Result<void> ToWebhook(const Alert& alert, const std::optional<std::string>& note) const;

  ReceiverSettings settings_;
  const Origin* origin_;
  const AlertKey* key_;
  witness::TlsContext tls_;
  std::vector<witness::Address> addresses_;
  std::string lookup_problem_;
};

}  // namespace stele::alerts
