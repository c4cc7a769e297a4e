// stele.toml: everything an operator may choose, with its default. A key that is not listed here is an error that names
// the file, the line and the reason; so is a value out of range.
//
//   [log]         origin = ""                    first line of every checkpoint; empty: stele.invalid/log/<log id>
//   [ingest]      address = "127.0.0.1" or a list
//                 syslog_udp_port = 10514        syslog_tcp_port = 10514        https_json_port = 8443
//                 syslog_tls_port = 6514         json_lines_tls_port = 6515     relp_port = 2514
//                 relp_tls_port = "off"          relp_refusal = "close" | "answer"
//                 zone = "default"               message_bytes_max = 1048576    tokens = ["..."]
//                 allowed_sources = ["192.0.2.0/24"], empty: any                hosts = ["logs.example.org"]
//                 [[ingest.senders]], [[ingest.keys]], [[ingest.syslog_keys]]: config_senders.h
//                 source_records_per_s = 0       source_bytes_per_s = 0         quotas of each source; 0: none
//                 tls_certificate = ""           tls_key = ""                   tls_min = "1.3" | "1.2"
//                 tls_client_auth = "none" | "request" | "require"
//                 tls_client_ca = ["file.pem"]   tls_client_fingerprints = ["sha256:..."]
//   [[zones]]     name = "plant" and any key of [ingest] but `zone`: one stele-receive each. A zone listens on the
//                 ports that it names, and has the rest from [ingest], which then names no port and no zone.
//                 interface = "eth1", connections_per_source = 256, ...: config_policy.h
//                 name = "operator", "management", "archive", "witness" or "alert": a zone that sends no records, for the
//                 network policy only: config_policy.h
//   [viewer]      address = "127.0.0.1"          port = 9443                       hosts = ["stele.example.org"]
//   [store]       segment_bytes = 268435456      codec = "auto" | "zstd" | "lz4" | "none"
//                 reserve_bytes = a quarter of a segment, 256 KiB to 64 MiB
//                 partitions = ["/dev/disk/by-partlabel/stele-log-*"]   instead of files: segments are raw partitions
//   [retention]   keep_s = 0                     [[retention.holds]]: config_retention.h
//   [checkpoint]  interval_ms = 500              heartbeat_interval_ms = 60000     commit_window_ms = 50
//   [anchor]      interval_ms = 3600000          pcr = 14                          tpm = "auto" | "device" | "embedded" |
//                                                                                      "device:/dev/NAME" | "swtpm:path=/SOCKET"
//
//   [tlog]        serve = "signed-in" | "anyone" | "off"                           entries = false
//   [witness]     policy = ""                    interval_s = 5                    quorum_missing = "open" | "closed"
//                 tls_ca = ""
//
//   [alerts]      alarm_after_s = 300            retry_max_s = 60                 viewer_url = ""
//                 [[alerts.flows]]: config_alerts.h
//
//   [processes]   restart_delay_max_ms = 10000   network_namespace = "auto" | "require" | "off" | "zones"
//
//   [policy]      enforce = false                restore = false                  approvals = 0
//                 [[policy.approvers]]: config_enforce.h
//
//   [sources]     unknown = "accept" | "refuse"  silence_factor = 10               silence_min_s = 300
//                 silence_messages = 100         [[sources.named]] name = "core-switch", address = "192.0.2.1" or
//                                                a list, identity = "", silence_s = 600
//
// A port is 0 (any free one, see run/ready.json) to 65535, or "off" for an ingest listener.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "appliance/base/bytes.h"
#include "appliance/base/limits.h"
#include "appliance/channel/source_rules.h"
#include "appliance/daemons/config_enforce.h"
#include "appliance/ingest/syslog_keys.h"
#include "appliance/store/expiry.h"
#include "netfilter/policy.h"

namespace stele::daemons {

enum class TpmKind { kAuto, kDevice, kEmbedded, kSocket };

struct TpmChoice {
  TpmKind kind = TpmKind::kAuto;
  std::string path;  // of the device or the socket; empty: /dev/tpmrm0
};

// A registered sender over HTTPS; one or both of the secrets.
struct SenderConfig {
  std::string name;
  std::optional<Hash> token_sha256;
  std::optional<Hash> fingerprint;  // SHA-256 of its client certificate
};

// A key that signs events (appliance/ingest/jws.h).
struct SourceKeyConfig {
  std::string kid;
  std::string alg;
  std::string public_key;
};

// An ingest zone: by which doors records come in, from whom, and under which rules. One stele-receive serves it.
struct IngestZone {
  std::string name = "default";
  std::string process = "stele-receive";  // stele-receive@NAME where zones are listed
  std::vector<std::string> addresses = {"127.0.0.1"};
  std::optional<std::uint16_t> syslog_udp_port = 10514;
  std::optional<std::uint16_t> syslog_tcp_port = 10514;
  std::optional<std::uint16_t> https_json_port = 8443;
  std::optional<std::uint16_t> syslog_tls_port = 6514;
  std::optional<std::uint16_t> json_lines_tls_port = 6515;
  std::optional<std::uint16_t> relp_port = 2514;
  std::optional<std::uint16_t> relp_tls_port;
  std::string relp_refusal = "close";
  std::vector<IpPrefix> allowed_sources;  // empty: any
  std::vector<std::string> hosts;         // names it is reached by, for the certificate that `stele up` makes
  std::string tls_certificate;            // files, relative to the directory; empty: the certificate `stele up` makes
  std::string tls_key;
  std::string tls_min = "1.3";
  std::string tls_client_auth = "none";
  std::vector<std::string> tls_client_ca;            // files, relative to the directory
  std::vector<std::string> tls_client_fingerprints;  // "sha256:..."
  std::uint64_t message_bytes_max = limits::kMessageBytesDefault;
  std::vector<std::string> tokens;
  std::vector<SenderConfig> senders;
  std::vector<SourceKeyConfig> keys;
  std::vector<ingest::SyslogKeyText> syslog_keys;
  std::uint64_t source_records_per_s = 0;
  std::uint64_t source_bytes_per_s = 0;
  std::string interface;  // for the network policy; empty: there is none
  netfilter::SourceLimits source_limits;
  std::uint32_t line = 0;  // of its table in the file
};

// The listeners a zone may have, on each of its addresses.
struct IngestDoor {
  const char* name;       // in entries, status and run/ready.json
  const char* transport;  // docs/processes.md
  const char* key;        // in stele.toml
  std::optional<std::uint16_t> IngestZone::*port;
};
inline constexpr std::array kIngestDoors{
    IngestDoor{"syslog-udp", "udp", "syslog_udp_port", &IngestZone::syslog_udp_port},
    IngestDoor{"syslog-tcp", "tcp", "syslog_tcp_port", &IngestZone::syslog_tcp_port},
    IngestDoor{"https-json", "https-json", "https_json_port", &IngestZone::https_json_port},
    IngestDoor{"syslog-tls", "tls", "syslog_tls_port", &IngestZone::syslog_tls_port},
    IngestDoor{"json-lines-tls", "json-lines-tls", "json_lines_tls_port", &IngestZone::json_lines_tls_port},
    IngestDoor{"relp", "relp", "relp_port", &IngestZone::relp_port},
    IngestDoor{"relp-tls", "relp-tls", "relp_tls_port", &IngestZone::relp_tls_port}};
static_assert(kIngestDoors.size() * limits::kZoneAddresses <= limits::kZoneListeners);

// Where alarms go out to (config_alerts.h).
struct AlertFlowConfig {
  std::string name;
  std::string to;              // syslog-tls://host[:port] or https://host[:port]/path
  std::string ca;              // file, relative to the directory; empty: the system's
  std::string server_name;     // that the receiver's certificate must name; empty: the host of `to`
  std::string certificate;     // files; empty: none
  std::string key;
  bool losses = false;         // loss entries too
  bool receipts = false;       // the newest checkpoint rides along
  std::vector<std::string> sources;  // names of sources all of whose records go too
};

// Who hears of the packets that the network policy drops.
struct PolicyWatch {
  bool on = false;
  std::int64_t interval_s = 10;
  std::size_t entries_per_interval = 32;
  std::size_t entries_per_hour = 600;
};

struct Config {
  std::string origin;

  std::vector<IngestZone> zones = {IngestZone()};  // the one of [ingest], or those of [[zones]]
  bool zones_listed = false;                       // by [[zones]]
  std::vector<netfilter::Zone> other_zones;        // those of [[zones]] that send no records; without doors (config_policy.h)

  std::string viewer_address = "127.0.0.1";
  std::uint16_t viewer_port = 9443;
  std::vector<std::string> hosts;  // beside localhost and the address itself

  std::uint64_t segment_bytes = limits::kSegmentBytesDefault;
  std::vector<std::string> partitions;  // paths or patterns of device nodes; empty: segments are files
  std::int64_t retention_keep_s = 0;    // 0: nothing expires
  std::vector<store::Hold> retention_holds;
  std::uint64_t reserve_bytes = 0;      // 0, once parsed, only with partitions: of the smallest of them then
  std::string codec = "auto";

  std::int64_t checkpoint_interval_ms = limits::kCheckpointIntervalMs;
  std::int64_t heartbeat_interval_ms = limits::kHeartbeatIntervalMs;
  std::int64_t commit_window_ms = limits::kCommitWindowMs;

  std::int64_t anchor_interval_ms = limits::kAnchorIntervalMs;
  std::int64_t pcr = 14;
  TpmChoice tpm;
  std::int64_t nv_budget = 100'000;  // writes that one NV cell of the TPM endures
  std::string key = "auto";          // where a new log's seed is kept: "tpm" (sealed), "file"; auto: sealed to the embedded TPM

  std::string tlog_serve = "signed-in";  // who may fetch /log/...
  bool tlog_entries = false;             // entry headers too

  std::string witness_policy;  // file, relative to the directory; empty: no witnesses
  std::int64_t witness_interval_s = 5;
  std::string witness_quorum_missing = "open";  // or "closed": no checkpoint without its quorum is served
  std::string witness_tls_ca;                   // file; empty: the system's

  std::int64_t alerts_alarm_after_s = 300;
  std::int64_t alerts_retry_max_s = 60;
  std::string alerts_viewer_url;  // in proof URLs; empty: the viewer's address
  std::vector<AlertFlowConfig> alert_flows;

  std::int64_t restart_delay_max_ms = 10'000;
  std::string network_namespace = "auto";  // of each process: "auto", "require", "off", "zones"
  std::filesystem::path unit_sockets;      // `stele up --units`, no key; empty: the supervisor starts every process itself

  EnforceConfig policy;

  channel::SourceRules sources;

  // Every key the file names, as "section.key" or "zones.NAME.key", with its value as text: what a reload compares.
  std::map<std::string, std::string> values;
  Hash sha256{};  // of the file's bytes, of nothing when there is no file: goes into a `policy` entry

  PolicyWatch policy_watch;  // [policy]
};

// `name` stands in messages. kInvalid: "stele.toml:3: unknown key ingest.adress".
[[nodiscard]] Result<Config> ParseConfig(std::string_view text, std::string_view name);

// Takes over what may change while the appliance runs: section [sources], the quotas, senders, keys, tokens and allowed
// sources of each zone, and the digest. Returns the keys that differ and take effect at the next start only.
[[nodiscard]] std::vector<std::string> TakeLive(Config& running, const Config& fresh);

// Whether a key of TakeLive's answer is about a socket: a zone, an address, a port.
[[nodiscard]] bool ConcernsListeners(std::string_view key);

// Where the process called `name` is joined that a unit starts; empty: the supervisor starts it.
[[nodiscard]] std::filesystem::path UnitSocket(const Config& config, std::string_view name);

// Reads `path`; a file that does not exist gives the defaults unless `required`.
[[nodiscard]] Result<Config> LoadConfig(const std::filesystem::path& path, bool required);

}  // namespace stele::daemons
