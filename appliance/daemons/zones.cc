#include "appliance/daemons/zones.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "appliance/daemons/config_senders.h"
#include "appliance/daemons/ingest_tls.h"
#include "appliance/daemons/receive_accounts.h"
#include "appliance/daemons/receive_resent.h"
#include "netfilter/zone_network.h"

namespace stele::daemons {
namespace {

using nlohmann::json;

// Outlives every receiver: what clients may send again after one has died (receive_resent.h).
Result<UniqueFd> MakeResentPage() {
  UniqueFd page(::memfd_create("stele-resent", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!page.valid() || ::ftruncate(page.get(), static_cast<off_t>(receive::kResentPageBytes)) != 0 ||
      ::fcntl(page.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return FailErrno("make the page of remembered messages");
  }
  return page;
}

}  // namespace

Result<std::vector<BoundListener>> BindZone(const IngestZone& zone, int network_fd) {
  std::vector<BoundListener> listeners;
  if (network_fd >= 0) {
    STELE_TRY_VOID(netfilter::InNamespace(network_fd, [&]() -> Result<void> {
      STELE_TRY(listeners, BindZone(zone));
      return {};
    }));
    return listeners;
  }
  for (std::size_t i = 0; i < zone.addresses.size(); ++i) {
    const std::string suffix = i == 0 ? "" : "-" + std::to_string(i + 1);
    for (const IngestDoor& door : kIngestDoors) {
      const std::optional<std::uint16_t> port = zone.*door.port;
      if (!port) continue;
      STELE_TRY(auto bound, BindListener(door.name + suffix, door.transport, zone.addresses[i], *port));
      listeners.push_back(std::move(bound));
    }
  }
  return listeners;
}

Result<void> MakePages(ReceiverGear& gear, std::int64_t died_since_ns) {
  STELE_TRY(gear.accounts, receive::MakeAccountsPage(died_since_ns));
  STELE_TRY(gear.resent_page, MakeResentPage());
  return {};
}

Result<std::string> ReadZoneTls(const Home& home, const Config& config, const IngestZone& zone,
                                const Certificates& certificates) {
  STELE_TRY(const ServerCertificate own, IngestCertificate(home, config, zone, certificates));
  return IngestTlsJson(home.dir, zone, own);
}

std::string ReceiveConfiguration(const IngestZone& zone, const channel::SourceRules& sources,
                                 const std::string& tls_json, const std::string& interface) {
  json allowed = json::array();
  for (const IpPrefix& prefix : zone.allowed_sources) allowed.push_back(IpPrefixText(prefix));
  return json{{"process", zone.process},
              {"zone", zone.name},
              {"interface", interface},
              {"message_bytes_max", zone.message_bytes_max},
              {"relp_refusal", zone.relp_refusal},
              {"tls", json::parse(tls_json, nullptr, false)},
              {"tokens", zone.tokens},
              {"source_records_per_s", zone.source_records_per_s},
              {"source_bytes_per_s", zone.source_bytes_per_s},
              {"senders", SendersJson(zone.senders)},
              {"keys", SourceKeysJson(zone.keys)},
              {"syslog_keys", SyslogKeysJson(zone.syslog_keys)},
              {"allowed_sources", std::move(allowed)},
              {"sources", json::parse(channel::EncodeSourceRules(sources), nullptr, false)}}
      .dump();
}

OwnChannel DuplicateOf(const channel::TakeChannel& what, int fd) {
  return {what, [fd, name = what.name]() -> Result<UniqueFd> {
            UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
            if (!copy.valid()) return FailErrno("duplicate " + name);
            return copy;
          }};
}

OwnChannel ListenerChannel(const BoundListener& listener) {
  return DuplicateOf({"listener", listener.name, listener.DetailJson()}, listener.descriptor.get());
}

std::vector<OwnChannel> ReceiveChannels(const ReceiverGear& gear) {
  std::vector<OwnChannel> channels{DuplicateOf({"accounts", "accounts", ""}, gear.accounts.get())};
  for (const BoundListener& listener : gear.listeners) channels.push_back(ListenerChannel(listener));
  channels.push_back(DuplicateOf({"resent-page", "resent", ""}, gear.resent_page.get()));
  return channels;
}

}  // namespace stele::daemons
