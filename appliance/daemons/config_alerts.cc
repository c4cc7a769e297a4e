#include "appliance/daemons/config_alerts.h"

#include <algorithm>
#include <map>

#include "appliance/alerts/receiver.h"
#include "appliance/base/text.h"

namespace stele::daemons {
namespace {

using Problem = std::optional<std::string>;

// A name stands in file names, access entries and the status.
bool IsFlowName(std::string_view name) {
  const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); };
  return !name.empty() && name.size() <= kAlertFlowNameBytesMax && plain(name.front()) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return plain(c) || c == '-' || c == '_'; });
}

Problem ReadSources(const toml::node& node, std::vector<std::string>& out) {
  const toml::array* list = node.as_array();
  if (list == nullptr || list->size() > kAlertFlowSourcesMax)
    return "sources must be a list of at most " + std::to_string(kAlertFlowSourcesMax) + " names";
  for (const toml::node& member : *list) {
    const auto text = member.value_exact<std::string>();
    if (!text || text->empty()) return "sources must be a list of names of sources";
    out.push_back(*text);
  }
  return std::nullopt;
}

Problem ReadMember(std::string_view key, const toml::node& value, AlertFlowConfig& flow) {
  const std::map<std::string_view, std::string*> texts{{"name", &flow.name},
                                                       {"to", &flow.to},
                                                       {"ca", &flow.ca},
                                                       {"server_name", &flow.server_name},
                                                       {"certificate", &flow.certificate},
                                                       {"key", &flow.key}};
  const std::map<std::string_view, bool*> flags{{"losses", &flow.losses}, {"receipts", &flow.receipts}};
  if (const auto text = texts.find(key); text != texts.end()) {
    const auto given = value.value_exact<std::string>();
    if (!given) return std::string(key) + " must be a string";
    *text->second = *given;
    return std::nullopt;
  }
  if (const auto flag = flags.find(key); flag != flags.end()) {
    const auto given = value.value_exact<bool>();
    if (!given) return std::string(key) + " must be true or false";
    *flag->second = *given;
    return std::nullopt;
  }
  if (key == "sources") return ReadSources(value, flow.sources);
  return "has the unknown key " + EscapeForTerminal(AsBytes(key));
}

Problem ReadFlow(const toml::node& node, AlertFlowConfig& flow) {
  const toml::table* table = node.as_table();
  if (table == nullptr) return "is not a table";
  for (const auto& [key, value] : *table) {
    if (Problem problem = ReadMember(key.str(), value, flow)) return problem;
  }
  if (!IsFlowName(flow.name))
    return "needs a name of 1 to " + std::to_string(kAlertFlowNameBytesMax) +
           " letters, digits, hyphens and underscores, a letter or digit first";
  const auto to = alerts::ParseDestination(flow.to);
  if (!to) return "to " + to.error().context;
  if (flow.certificate.empty() != flow.key.empty()) return "certificate and key go together";
  if (to->webhook && !flow.sources.empty()) return "sources go to a SIEM (syslog-tls), not to a webhook";
  return std::nullopt;
}

}  // namespace

Problem ReadAlertFlows(const toml::node& node, std::vector<AlertFlowConfig>& out) {
  const toml::array* list = node.as_array();
  if (list == nullptr || list->size() > kAlertFlowsMax)
    return "must be tables, [[alerts.flows]], at most " + std::to_string(kAlertFlowsMax);
  std::vector<AlertFlowConfig> flows;
  for (const toml::node& member : *list) {
    AlertFlowConfig flow;
    Problem problem = ReadFlow(member, flow);
    const bool twice = std::any_of(flows.begin(), flows.end(),
                                   [&flow](const AlertFlowConfig& other) { return other.name == flow.name; });
    if (!problem && twice) problem = "has the name of an entry before it";
    if (problem) return "entry " + std::to_string(flows.size() + 1) + " " + *problem;
    flows.push_back(std::move(flow));
  }
  out = std::move(flows);
  return std::nullopt;
}

Problem ReadViewerUrl(const toml::node& node, std::string& out) {
  const auto text = node.value_exact<std::string>();
  const auto url = text && !text->empty() ? witness::ParseUrl(*text) : Result<witness::Url>(witness::Url{});
  if (!text || !url || (!text->empty() && (!url->tls || !url->path.empty()))) return "must be https://host[:port]";
  out = *text;
  while (!out.empty() && out.back() == '/') out.pop_back();
  return std::nullopt;
}

std::vector<netfilter::Finding> CheckWaysOut(const Config& config, const netfilter::Policy& policy) {
  std::vector<netfilter::Finding> out;
  for (const AlertFlowConfig& flow : config.alert_flows) {
    const auto to = alerts::ParseDestination(flow.to);
    if (!to) continue;  // refused when the file was read
    const auto host = ParseIpPrefix(to->url.host);
    const netfilter::Port port{netfilter::Protocol::kTcp, to->url.port};
    const auto allows = [&](const netfilter::Flow& way) {
      const bool reaches = !host || std::any_of(way.destinations.begin(), way.destinations.end(),
                                                [&](const IpPrefix& one) { return one.Contains(host->address); });
      return reaches && std::find(way.ports.begin(), way.ports.end(), port) != way.ports.end();
    };
    const bool named = std::any_of(policy.zones.begin(), policy.zones.end(), [&](const netfilter::Zone& zone) {
      return std::any_of(zone.flows.begin(), zone.flows.end(), allows);
    });
    if (named) continue;
    out.push_back({netfilter::Severity::kWarning, 0,
                   "alerts.flows " + flow.name + ": no flow of a zone leads to " + to->url.host + " " +
                       netfilter::PortText(port) + ": nothing of it will arrive"});
  }
  return out;
}

}  // namespace stele::daemons
