#include "appliance/daemons/config.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#define TOML_EXCEPTIONS 0
#include <algorithm>
#include <array>
#include <functional>
#include <limits>
#include <map>
#include <sstream>
#include <toml++/toml.h>

#include "appliance/base/hash.h"
#include "appliance/base/system.h"
#include "appliance/base/text.h"
#include "appliance/daemons/config_alerts.h"
#include "appliance/daemons/config_policy.h"
#include "appliance/daemons/config_retention.h"
#include "appliance/daemons/config_senders.h"
#include "appliance/daemons/config_zones.h"
#include "appliance/ingest/tls.h"
#include "appliance/store/admission.h"

namespace stele::daemons {
namespace {

// A value's reader puts it into the Config, or says in one clause what it should have been.
using Problem = std::optional<std::string>;
using Take = std::function<Problem(const toml::node&)>;
using Section = std::map<std::string, Take, std::less<>>;

Take TakeText(std::string& out) {
  return [&out](const toml::node& node) -> Problem {
    const auto text = node.value_exact<std::string>();
    if (!text) return "must be a string";
    out = *text;
    return std::nullopt;
  };
}

Take TakeWord(std::string& out, std::vector<std::string> words) {
  return [&out, words = std::move(words)](const toml::node& node) -> Problem {
    const auto text = node.value_exact<std::string>();
    std::string choices;
    for (const auto& word : words) {
      if (text == word) {
        out = word;
        return std::nullopt;
      }
      choices += (choices.empty() ? "\"" : ", \"") + word + "\"";
    }
    return "must be one of " + choices;
  };
}

Take TakeFlag(bool& out) {
  return [&out](const toml::node& node) -> Problem {
    const auto flag = node.value_exact<bool>();
    if (!flag) return "must be true or false";
    out = *flag;
    return std::nullopt;
  };
}

Take TakeNumber(std::int64_t least, std::int64_t most, std::function<void(std::int64_t)> keep) {
  return [least, most, keep = std::move(keep)](const toml::node& node) -> Problem {
    const auto number = node.value_exact<std::int64_t>();
    if (number && *number >= least && *number <= most) {
      keep(*number);
      return std::nullopt;
    }
    return "must be a whole number from " + std::to_string(least) + " to " + std::to_string(most);
  };
}

template <std::integral T>
Take TakeNumberInto(T& out, std::int64_t least, std::int64_t most) {
  return TakeNumber(least, most, [&out](std::int64_t number) { out = static_cast<T>(number); });
}

Take TakePort(std::optional<std::uint16_t>& out) {
  return [&out](const toml::node& node) -> Problem {
    if (node.value_exact<std::string>() == "off") {
      out.reset();
      return std::nullopt;
    }
    const auto number = node.value_exact<std::int64_t>();
    if (!number || *number < 0 || *number > 65'535) return "must be a port from 0 to 65535, or \"off\"";
    out = static_cast<std::uint16_t>(*number);
    return std::nullopt;
  };
}

bool IsAddress(const std::string& text) {
  in6_addr scratch{};
  return ::inet_pton(AF_INET, text.c_str(), &scratch) == 1 || ::inet_pton(AF_INET6, text.c_str(), &scratch) == 1;
}

Take TakeAddress(std::string& out) {
  return [&out](const toml::node& node) -> Problem {
    const auto text = node.value_exact<std::string>();
    if (!text || !IsAddress(*text)) return "must be an IPv4 or IPv6 address in a string";
    out = *text;
    return std::nullopt;
  };
}

Take TakeTexts(std::vector<std::string>& out, std::size_t shortest) {
  return [&out, shortest](const toml::node& node) -> Problem {
    const toml::array* list = node.as_array();
    if (list == nullptr || list->size() > limits::kConfigList)
      return "must be a list of at most " + std::to_string(limits::kConfigList) + " strings";
    std::vector<std::string> texts;
    for (const toml::node& member : *list) {
      const auto text = member.value_exact<std::string>();
      if (!text) return "must be a list of strings";
      if (text->size() < shortest) return "holds a string of fewer than " + std::to_string(shortest) + " characters";
      texts.push_back(*text);
    }
    out = std::move(texts);
    return std::nullopt;
  };
}

// One address to listen on, or a list of them, none twice.
Take TakeListenAddresses(std::vector<std::string>& out) {
  return [&out](const toml::node& node) -> Problem {
    std::string one;
    if (const toml::array* list = node.as_array(); list == nullptr) {
      if (auto problem = TakeAddress(one)(node)) return problem;
      out = {one};
      return std::nullopt;
    } else if (list->empty() || list->size() > limits::kZoneAddresses) {
      return "must be an address or a list of at most " + std::to_string(limits::kZoneAddresses);
    }
    std::vector<std::string> texts;
    if (auto problem = TakeTexts(texts, 1)(node)) return problem;
    for (auto at = texts.begin(); at != texts.end(); ++at) {
      if (!IsAddress(*at)) return "holds what is no IPv4 or IPv6 address: " + EscapeForTerminal(AsBytes(*at));
      if (std::find(texts.begin(), at, *at) != at) return "holds " + *at + " twice";
    }
    out = std::move(texts);
    return std::nullopt;
  };
}

// One string, or a list of them.
Take TakeFiles(std::vector<std::string>& out) {
  return [&out, list = TakeTexts(out, 1)](const toml::node& node) -> Problem {
    const auto text = node.value_exact<std::string>();
    if (!text) return node.is_array() ? list(node) : Problem("must be a file name or a list of them");
    out = {*text};
    return std::nullopt;
  };
}

// Paths or patterns of device nodes.
Take TakeNodes(std::vector<std::string>& out) {
  return [&out, list = TakeTexts(out, 1)](const toml::node& node) -> Problem {
    if (auto problem = list(node)) return problem;
    for (const std::string& text : out) {
      if (text.front() != '/') return "holds what is no absolute path: " + EscapeForTerminal(AsBytes(text));
    }
    return std::nullopt;
  };
}

Take TakeFingerprints(std::vector<std::string>& out) {
  return [&out, list = TakeTexts(out, 1)](const toml::node& node) -> Problem {
    if (auto problem = list(node)) return problem;
    for (const std::string& text : out) {
      if (!ingest::ParseFingerprint(text)) return "holds what is no fingerprint: \"sha256:\" and 64 hexadecimal digits";
    }
    return std::nullopt;
  };
}

Take TakeTpm(TpmChoice& out) {
  return [&out](const toml::node& node) -> Problem {
    static const std::map<std::string, TpmKind, std::less<>> kWords = {
        {"auto", TpmKind::kAuto}, {"device", TpmKind::kDevice}, {"embedded", TpmKind::kEmbedded}};
    static constexpr std::array<std::pair<std::string_view, TpmKind>, 2> kPlaces = {
        {{"device:", TpmKind::kDevice}, {"swtpm:path=", TpmKind::kSocket}}};
    const std::string text = node.value_exact<std::string>().value_or("");
    if (const auto word = kWords.find(text); word != kWords.end()) {
      out = {word->second, ""};
      return std::nullopt;
    }
    for (const auto& [prefix, kind] : kPlaces) {
      if (text.size() <= prefix.size() || text.compare(0, prefix.size(), prefix) != 0 || text[prefix.size()] != '/') continue;
      out = {kind, text.substr(prefix.size())};
      return std::nullopt;
    }
    return "must be \"auto\", \"device\", \"embedded\", \"device:/dev/NAME\" or \"swtpm:path=/SOCKET\"";
  };
}

// An origin is a line of a checkpoint: printable, no spaces, no plus (C2SP signed-note: key names).
Take TakeOrigin(std::string& out) {
  return [&out](const toml::node& node) -> Problem {
    const auto text = node.value_exact<std::string>();
    if (!text || text->size() > 200) return "must be a string of at most 200 characters";
    for (const char c : *text) {
      if (c <= ' ' || c > '~' || c == '+') return "must be printable ASCII without spaces and plus signs";
    }
    out = *text;
    return std::nullopt;
  };
}

Take TakePcr(std::int64_t& out) {
  return [&out](const toml::node& node) -> Problem {
    const auto number = node.value_exact<std::int64_t>();
    // 16 and 23 are resettable by anybody; 0-7, 9, 11 and 12 belong to the boot chain that is quoted beside it.
    if (number != 8 && number != 13 && number != 14) return "must be 14, 13 or 8";
    out = *number;
    return std::nullopt;
  };
}

Take TakeAllowedSources(std::vector<IpPrefix>& out) {
  return [&out](const toml::node& node) -> Problem {
    std::vector<IpPrefix> prefixes;
    if (auto problem = ReadPrefixes(node, prefixes)) return problem;
    if (prefixes.size() > limits::kZoneSourcePrefixes) {
      return "must be at most " + std::to_string(limits::kZoneSourcePrefixes) + " prefixes";
    }
    out = std::move(prefixes);
    return std::nullopt;
  };
}

Take TakeZoneName(std::string& out) {
  return [&out](const toml::node& node) -> Problem {
    const auto text = node.value_exact<std::string>();
    if (!text) return "must be a string";
    out = *text;
    return ProblemOfZoneName(out);
  };
}

Problem TakeNamedSource(const toml::table& table, channel::NamedSource& out) {
  for (const auto& [key, node] : table) {
    Problem problem;
    if (key.str() == "name") {
      problem = TakeText(out.name)(node);
    } else if (key.str() == "address") {
      problem = ReadPrefixes(node, out.addresses);
    } else if (key.str() == "identity") {
      problem = TakeText(out.identity)(node);
    } else if (key.str() == "silence_s") {
      problem = TakeNumber(0, limits::kSilenceSecondsMax, [&out](std::int64_t s) { out.silence_s = s; })(node);
    } else {
      return "unknown key " + EscapeForTerminal(AsBytes(key.str()));
    }
    if (problem) return std::string(key.str()) + " " + *problem;
  }
  return channel::ProblemOf(out);
}

// [[sources.named]], each of them complete, no name and no prefix twice.
Take TakeNamedSources(channel::SourceRules& out) {
  return [&out](const toml::node& node) -> Problem {
    const toml::array* list = node.as_array();
    if (list == nullptr || list->size() > limits::kSourcesNamed) {
      return "must be tables, [[sources.named]], at most " + std::to_string(limits::kSourcesNamed);
    }
    std::vector<channel::NamedSource> named;
    std::map<std::string, std::string> owner_of;  // of a name, of a prefix with its identity
    for (const toml::node& member : *list) {
      const std::string which = "number " + std::to_string(named.size() + 1) + ": ";
      const toml::table* table = member.as_table();
      if (table == nullptr) return which + "must be a table: [[sources.named]]";
      channel::NamedSource one;
      if (const Problem problem = TakeNamedSource(*table, one)) return which + *problem;
      if (!owner_of.emplace("name " + one.name, one.name).second) return which + "the name \"" + one.name + "\" is given twice";
      for (const IpPrefix& prefix : one.addresses) {
        const auto [at, fresh] = owner_of.emplace(IpPrefixText(prefix) + " " + one.identity, one.name);
        if (!fresh) return which + IpPrefixText(prefix) + " is \"" + at->second + "\" already";
      }
      named.push_back(std::move(one));
    }
    out.SetNamed(std::move(named));
    if (channel::EncodeSourceRules(out).size() > limits::kSourceRulesBytes) {
      return "is too long in all: more than " + std::to_string(limits::kSourceRulesBytes) + " bytes as JSON";
    }
    return std::nullopt;
  };
}

Take TakeUnknownSources(channel::SourceRules& out) {
  return [&out](const toml::node& node) -> Problem {
    std::string word;
    if (auto problem = TakeWord(word, {"accept", "refuse"})(node)) return problem;
    out.refuse_unknown = word == "refuse";
    return std::nullopt;
  };
}

constexpr std::int64_t kDayMs = 86'400'000;

Section SourceLimitsSection(netfilter::SourceLimits& limits) {
  constexpr std::int64_t kMost = 1'000'000;
  return {{"connections_per_source", TakeNumberInto(limits.connections, 1, kMost)},
          {"connections_per_source_per_s", TakeNumberInto(limits.connections_per_s, 1, kMost)},
          {"datagrams_per_source_per_s", TakeNumberInto(limits.datagrams_per_s, 0, kMost)},
          {"sources_at_a_time", TakeNumberInto(limits.sources, 1, limits::kPolicySourcesMax)}};
}

// What [ingest] and each of [[zones]] may say.
Section ZoneSection(IngestZone& zone) {
  Section section{{"address", TakeListenAddresses(zone.addresses)},
                  {"allowed_sources", TakeAllowedSources(zone.allowed_sources)},
                  {"hosts", TakeTexts(zone.hosts, 1)},
                  {"relp_refusal", TakeWord(zone.relp_refusal, {"close", "answer"})},
                  {"tls_certificate", TakeText(zone.tls_certificate)},
                  {"tls_key", TakeText(zone.tls_key)},
                  {"tls_min", TakeWord(zone.tls_min, {"1.3", "1.2"})},
                  {"tls_client_auth", TakeWord(zone.tls_client_auth, {"none", "request", "require"})},
                  {"tls_client_ca", TakeFiles(zone.tls_client_ca)},
                  {"tls_client_fingerprints", TakeFingerprints(zone.tls_client_fingerprints)},
                  {"message_bytes_max", TakeNumberInto(zone.message_bytes_max, 1'024,
                                                       static_cast<std::int64_t>(limits::kMessageBytesCeiling))},
                  {"source_records_per_s", TakeNumberInto(zone.source_records_per_s, 0, 1'000'000'000)},
                  {"source_bytes_per_s", TakeNumberInto(zone.source_bytes_per_s, 0, std::int64_t{1} << 40U)},
                  {"tokens", TakeTexts(zone.tokens, limits::kTokenCharactersMin)},
                  {"senders", [&zone](const toml::node& node) { return ReadSenders(node, zone.senders); }},
                  {"keys", [&zone](const toml::node& node) { return ReadSourceKeys(node, zone.keys); }},
                  {"syslog_keys", [&zone](const toml::node& node) { return ReadSyslogKeys(node, zone.syslog_keys); }}};
  for (const IngestDoor& door : kIngestDoors) section[door.key] = TakePort(zone.*door.port);
  section.merge(SourceLimitsSection(zone.source_limits));
  return section;
}

// What one of [[zones]] may say that sends no records.
Section OtherZoneSection(netfilter::Zone& zone, std::vector<std::string>& addresses) {
  Section section{{"name", TakeText(zone.name)},
                  {"interface", TakeText(zone.interface)},
                  {"address", TakeListenAddresses(addresses)},
                  {"allowed_sources", TakeAllowedSources(zone.sources)},
                  {"router_advertisements", TakeFlag(zone.router_advertisements)},
                  {"flows", [&zone](const toml::node& node) { return ReadFlows(node, zone.flows); }}};
  if (zone.kind == netfilter::ZoneKind::kManagement) {  // what listens there is not Stele's own
    for (const auto protocol : {netfilter::Protocol::kTcp, netfilter::Protocol::kUdp}) {
      section[std::string(netfilter::ProtocolText(protocol)) + "_ports"] = [&zone, protocol](const toml::node& node) {
        return ReadSystemDoors(node, protocol, zone.doors);
      };
    }
  }
  section.merge(SourceLimitsSection(zone.limits));
  return section;
}

Section PolicySection(Config& config) {
  PolicyWatch& watch = config.policy_watch;
  return {{"enforce", TakeFlag(config.policy.enforce)},
          {"restore", TakeFlag(config.policy.restore)},
          {"at_start", TakeWord(config.policy.at_start, {"keep", "apply"})},
          {"approvals", TakeNumberInto(config.policy.approvals, 0, static_cast<std::int64_t>(limits::kApprovers))},
          {"approvers", [&config](const toml::node& node) { return ReadApprovers(node, config.policy.approvers); }},
          {"watch", TakeFlag(watch.on)},
          {"watch_interval_s", TakeNumberInto(watch.interval_s, 1, 3'600)},
          {"watch_entries_per_interval", TakeNumberInto(watch.entries_per_interval, 4, 100)},
          {"watch_entries_per_hour", TakeNumberInto(watch.entries_per_hour, 10, 100'000)}};
}

Section IngestSection(IngestZone& zone) {
  Section section = ZoneSection(zone);
  section["zone"] = TakeText(zone.name);
  return section;
}

std::map<std::string, Section, std::less<>> SectionsOf(Config& config) {
  return {
      {"log", {{"origin", TakeOrigin(config.origin)}}},
      {"ingest", IngestSection(config.zones.front())},
      {"viewer",
       {{"address", TakeAddress(config.viewer_address)},
        {"port", TakeNumberInto(config.viewer_port, 0, 65'535)},
        {"hosts", TakeTexts(config.hosts, 1)}}},
      {"store",
       {{"segment_bytes", TakeNumberInto(config.segment_bytes, static_cast<std::int64_t>(limits::kSegmentBytesMin),
                                         std::int64_t{1} << 40U)},
        {"reserve_bytes", TakeNumberInto(config.reserve_bytes, static_cast<std::int64_t>(limits::kReserveBytesMin),
                                         std::int64_t{1} << 40U)},
        {"codec", TakeWord(config.codec, {"auto", "zstd", "lz4", "none"})},
        {"partitions", TakeNodes(config.partitions)}}},
      {"retention",
       {{"keep_s", TakeNumberInto(config.retention_keep_s, 0, kRetentionSecondsMax)},
        {"holds", [&config](const toml::node& node) -> Problem { return TakeHolds(node, config.retention_holds); }}}},
      {"checkpoint",
       {{"interval_ms", TakeNumberInto(config.checkpoint_interval_ms, 10, kDayMs)},
        {"heartbeat_interval_ms", TakeNumberInto(config.heartbeat_interval_ms, 1'000, kDayMs)},
        {"commit_window_ms", TakeNumberInto(config.commit_window_ms, 1, 10'000)}}},
      {"anchor",
       {{"interval_ms", TakeNumberInto(config.anchor_interval_ms, 1'000, 7 * kDayMs)},
        {"pcr", TakePcr(config.pcr)},
        {"tpm", TakeTpm(config.tpm)},
        {"key", TakeWord(config.key, {"auto", "tpm", "file"})},
        {"nv_budget", TakeNumberInto(config.nv_budget, 10, 1'000'000'000)}}},
      {"sources",
       {{"unknown", TakeUnknownSources(config.sources)},
        {"silence_factor", TakeNumberInto(config.sources.silence_factor, 2, 1'000)},
        {"silence_min_s", TakeNumberInto(config.sources.silence_min_s, 1, limits::kSilenceSecondsMax)},
        {"silence_messages", TakeNumberInto(config.sources.silence_messages, 10, 1'000'000)},
        {"named", TakeNamedSources(config.sources)}}},
      {"tlog",
       {{"serve", TakeWord(config.tlog_serve, {"signed-in", "anyone", "off"})}, {"entries", TakeFlag(config.tlog_entries)}}},
      {"witness",
       {{"policy", TakeText(config.witness_policy)},
        {"interval_s", TakeNumberInto(config.witness_interval_s, 1, 86'400)},
        {"quorum_missing", TakeWord(config.witness_quorum_missing, {"open", "closed"})},
        {"tls_ca", TakeText(config.witness_tls_ca)}}},
      {"alerts",
       {{"alarm_after_s", TakeNumberInto(config.alerts_alarm_after_s, 1, 30 * 86'400)},
        {"retry_max_s", TakeNumberInto(config.alerts_retry_max_s, 1, 3'600)},
        {"viewer_url", [&config](const toml::node& node) { return ReadViewerUrl(node, config.alerts_viewer_url); }},
        {"flows", [&config](const toml::node& node) { return ReadAlertFlows(node, config.alert_flows); }}}},
      {"policy", PolicySection(config)},
      {"processes",
       {{"restart_delay_max_ms", TakeNumberInto(config.restart_delay_max_ms, 100, 600'000)},
        {"network_namespace", TakeWord(config.network_namespace, {"auto", "require", "off", "zones"})}}},
  };
}

// What one key alone cannot say. An authority that nobody asks for would look like authentication and be none.
Problem ProblemOfTls(const IngestZone& zone, const std::string& section) {
  const bool trusts = !zone.tls_client_ca.empty() || !zone.tls_client_fingerprints.empty();
  const bool asks = zone.tls_client_auth != "none";
  if (asks && !trusts)
    return section + "tls_client_auth needs " + section + "tls_client_ca or " + section + "tls_client_fingerprints";
  if (trusts && !asks) return section + "tls_client_ca and tls_client_fingerprints need " + section + "tls_client_auth";
  if (zone.tls_certificate.empty() != zone.tls_key.empty()) {
    return section + "tls_certificate and " + section + "tls_key go together";
  }
  return std::nullopt;
}

class ConfigReader {
 public:
  ConfigReader(Config& config, std::string_view name) : config_(config), sections_(SectionsOf(config)), name_(name) {}

  Result<void> Read(const toml::table& document) const {
    for (const auto& [key, node] : document) {
      if (key.str() == "zones") continue;
      const auto section = sections_.find(key.str());
      if (section == sections_.end()) return At(key.source(), "unknown section [" + Printable(key.str()) + "]");
      const toml::table* table = node.as_table();
      if (table == nullptr) return At(key.source(), Printable(key.str()) + " must be a section: [" + section->first + "]");
      STELE_TRY_VOID(ReadSection(*section, *table));
    }
    const toml::table* ingest = document["ingest"].as_table();
    const toml::node* zones = document.get("zones");
    if (zones != nullptr) STELE_TRY_VOID(ReadZones(*zones, ingest));
    if (zones == nullptr) {
      if (const Problem problem = ProblemOfTls(config_.zones.front(), "ingest."))
        return Fail(Code::kInvalid, name_ + ": " + *problem);
    }
    if (const Problem problem = ProblemOfEnforce(config_.policy))
      return At(document.get("policy")->source(), *problem);
    const auto clash = FindDoorClash(config_);
    if (!clash) return {};
    const toml::table* table = zones != nullptr ? TableOf(*zones->as_array(), config_.zones[clash->zone].name) : ingest;
    const std::string full_name = std::string(zones != nullptr ? "zones." : "ingest.") + clash->door->key;
    const toml::node* key = table != nullptr ? table->get(clash->door->key) : nullptr;
    if (key == nullptr) return Fail(Code::kInvalid, name_ + ": " + full_name + " " + clash->text);
    return At(key->source(), full_name + " " + clash->text);
  }

  [[nodiscard]] tl::unexpected<Error> At(const toml::source_region& where, const std::string& reason) const {
    return Fail(Code::kInvalid, name_ + ":" + std::to_string(where.begin.line) + ": " + reason);
  }

 private:
  // Each zone begins as what [ingest] says, without its doors.
  Result<void> ReadZones(const toml::node& node, const toml::table* ingest) const {
    const toml::array* list = node.as_array();
    if (list == nullptr || list->empty()) return At(node.source(), "zones must be tables: [[zones]]");
    if (ingest != nullptr) {
      for (const auto& [key, value] : *ingest) {
        if (key.str() != "zone" && !key.str().ends_with("_port")) continue;
        return At(key.source(),
                  "ingest." + std::string(key.str()) + " has no place beside [[zones]]: each zone names its own");
      }
    }
    IngestZone common = config_.zones.front();
    for (const IngestDoor& door : kIngestDoors) (common.*door.port).reset();
    std::vector<IngestZone> zones;
    for (const toml::node& member : *list) {
      const toml::table* table = member.as_table();
      if (table == nullptr) return At(member.source(), "zones must be tables: [[zones]]");
      if (const auto kind = OtherZoneKind(table->get("name"))) {
        STELE_TRY_VOID(ReadOtherZone(*table, *kind));
        continue;
      }
      STELE_TRY(IngestZone zone, ReadZone(*table, common));
      for (const IngestZone& other : zones) {
        if (other.name == zone.name)
          return At(table->get("name")->source(), "zones.name \"" + zone.name + "\" is given twice");
      }
      if (zones.size() == limits::kZones)
        return At(member.source(), "more than " + std::to_string(limits::kZones) + " zones");
      zones.push_back(std::move(zone));
    }
    if (zones.empty()) return At(list->front().source(), "no zone takes records: each of [[zones]] is of another kind");
    config_.zones = std::move(zones);
    config_.zones_listed = true;
    return {};
  }

  Result<IngestZone> ReadZone(const toml::table& table, const IngestZone& common) const {
    IngestZone zone = common;
    zone.name.clear();
    zone.line = table.source().begin.line;
    std::pair<const std::string, Section> section("zones", ZoneSection(zone));
    section.second["name"] = TakeZoneName(zone.name);
    section.second["interface"] = TakeText(zone.interface);
    STELE_TRY_VOID(ReadSection(section, table));
    if (zone.name.empty()) return At(table.source(), "a zone without a name");
    const bool listens = std::any_of(kIngestDoors.begin(), kIngestDoors.end(),
                                     [&zone](const IngestDoor& door) { return (zone.*door.port).has_value(); });
    if (!listens) return At(table.source(), "zone \"" + zone.name + "\" listens on no port");
    if (const Problem problem = ProblemOfTls(zone, "zones.")) return At(table.source(), *problem);
    zone.process += "@" + zone.name;
    return zone;
  }

  Result<void> ReadOtherZone(const toml::table& table, netfilter::ZoneKind kind) const {
    netfilter::Zone zone;
    zone.kind = kind;
    zone.line = table.source().begin.line;
    std::vector<std::string> addresses;
    STELE_TRY_VOID(ReadSection(std::pair<const std::string, Section>("zones", OtherZoneSection(zone, addresses)), table));
    for (const std::string& text : addresses) zone.addresses.push_back(ParseIpPrefix(text)->address);
    for (const netfilter::Zone& other : config_.other_zones) {
      if (other.name == zone.name) return At(table.get("name")->source(), "zones.name \"" + zone.name + "\" is given twice");
    }
    config_.other_zones.push_back(std::move(zone));
    return {};
  }

  static const toml::table* TableOf(const toml::array& zones, std::string_view name) {
    for (const toml::node& member : zones) {
      if ((*member.as_table())["name"].value<std::string_view>() == name) return member.as_table();
    }
    return nullptr;
  }

  static std::string Printable(std::string_view text) { return EscapeForTerminal(AsBytes(text)); }

  Result<void> ReadSection(const std::pair<const std::string, Section>& section, const toml::table& table) const {
    for (const auto& [key, node] : table) {
      const std::string full_name = section.first + "." + Printable(key.str());
      const auto take = section.second.find(key.str());
      if (take == section.second.end()) return At(key.source(), "unknown key " + full_name);
      if (const Problem problem = take->second(node)) return At(node.source(), full_name + " " + *problem);
    }
    return {};
  }

  Config& config_;
  std::map<std::string, Section, std::less<>> sections_;
  std::string name_;
};

void NoteValues(const std::string& section, const toml::table& table, std::map<std::string, std::string>& values) {
  for (const auto& [key, value] : table) {
    std::ostringstream shown;
    value.visit([&shown](const auto& one) { shown << one; });
    values[section + "." + std::string(key.str())] = shown.str();
  }
}

const IngestZone* ZoneOf(const Config& config, std::string_view name) {
  const auto at = std::find_if(config.zones.begin(), config.zones.end(),
                               [name](const IngestZone& zone) { return zone.name == name; });
  return at == config.zones.end() ? nullptr : &*at;
}

// Whether a reload takes this key over; of a zone only where it is in both files.
bool TakenLive(std::string_view key, const Config& running, const Config& fresh) {
  constexpr std::array<std::string_view, 6> kOfZones{
      "allowed_sources", "source_records_per_s", "source_bytes_per_s", "tokens", "senders", "keys"};
  if (key.starts_with("sources.")) return true;
  const std::size_t dot = key.rfind('.');
  if (std::find(kOfZones.begin(), kOfZones.end(), key.substr(dot + 1)) == kOfZones.end()) return false;
  if (key.starts_with("ingest.")) return true;
  constexpr std::string_view kZones = "zones.";
  const std::string_view name = key.substr(kZones.size(), dot - kZones.size());
  return key.starts_with(kZones) && ZoneOf(running, name) != nullptr && ZoneOf(fresh, name) != nullptr;
}

}  // namespace

Result<Config> ParseConfig(std::string_view text, std::string_view name) {
  Config config;
  const ConfigReader reader(config, name);
  const toml::parse_result parsed = toml::parse(text, name);
  if (!parsed) return reader.At(parsed.error().source(), std::string(parsed.error().description()));
  STELE_TRY_VOID(reader.Read(parsed.table()));
  if (config.reserve_bytes == 0 && config.partitions.empty()) config.reserve_bytes = store::DefaultReserveBytes(config.segment_bytes);
  config.sha256 = Sha256Of(AsBytes(text));
  for (const auto& [section, node] : parsed.table()) {  // the reader has accepted only sections and [[zones]]
    if (const toml::table* table = node.as_table()) NoteValues(std::string(section.str()), *table, config.values);
  }
  if (const toml::array* zones = parsed.table()["zones"].as_array()) {
    for (const toml::node& zone : *zones) {
      const toml::table& table = *zone.as_table();
      NoteValues("zones." + table["name"].value<std::string>().value_or(""), table, config.values);
    }
  }
  return config;
}

std::vector<std::string> TakeLive(Config& running, const Config& fresh) {
  std::vector<std::string> later;
  const auto compare = [&](const auto& ours, const auto& theirs, bool both) {
    for (const auto& [key, value] : ours) {
      const auto at = theirs.find(key);
      const bool differs = at == theirs.end() || (both && at->second != value);
      if (differs && !TakenLive(key, running, fresh)) later.push_back(key);
    }
  };
  compare(running.values, fresh.values, true);
  compare(fresh.values, running.values, false);
  running.sources = fresh.sources;
  running.sha256 = fresh.sha256;
  for (IngestZone& zone : running.zones) {
    const IngestZone* changed =
        ZoneOf(fresh, running.zones_listed || fresh.zones_listed ? zone.name : fresh.zones.front().name);
    if (changed == nullptr) continue;
    zone.allowed_sources = changed->allowed_sources;
    zone.source_records_per_s = changed->source_records_per_s;
    zone.source_bytes_per_s = changed->source_bytes_per_s;
    zone.tokens = changed->tokens;
    zone.senders = changed->senders;
    zone.keys = changed->keys;
  }
  return later;
}

bool ConcernsListeners(std::string_view key) {
  return key.ends_with("_port") || key.ends_with(".port") || key.ends_with(".address") || key.ends_with(".name");
}

std::filesystem::path UnitSocket(const Config& config, std::string_view name) {
  return config.unit_sockets.empty() ? std::filesystem::path() : config.unit_sockets / name;
}

Result<Config> LoadConfig(const std::filesystem::path& path, bool required) {
  auto text = ReadFile(path, limits::kConfigBytes);
  if (!text && text.error().code == Code::kNotFound && !required) return ParseConfig("", path.string());
  if (!text) return tl::unexpected(std::move(text.error()));
  return ParseConfig(AsText(*text), path.string());
}

}  // namespace stele::daemons
