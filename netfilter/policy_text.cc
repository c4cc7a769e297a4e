#include "netfilter/policy_text.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>

#include "appliance/base/hash.h"

namespace stele::netfilter {
namespace {

using nlohmann::json;

json PrefixesJson(const std::vector<IpPrefix>& prefixes) {
  json out = json::array();
  for (const IpPrefix& prefix : prefixes) out.push_back(IpPrefixText(prefix));
  return out;
}

json ZoneJson(const Zone& zone) {
  json addresses = json::array();
  for (const IpAddress& address : zone.addresses) addresses.push_back(IpPrefixText({address, 128}));
  json doors = json::array();
  for (const Door& door : zone.doors) doors.push_back({{"service", door.service}, {"port", PortText(door.port)}});
  json flows = json::array();
  for (const Flow& flow : zone.flows) {
    json ports = json::array();
    for (const Port& port : flow.ports) ports.push_back(PortText(port));
    flows.push_back({{"name", flow.name}, {"to", PrefixesJson(flow.destinations)}, {"ports", std::move(ports)}});
  }
  return {{"name", zone.name},
          {"kind", std::string(kZoneKinds.at(static_cast<std::size_t>(zone.kind)))},
          {"interface", zone.interface},
          {"addresses", std::move(addresses)},
          {"sources", PrefixesJson(zone.sources)},
          {"doors", std::move(doors)},
          {"flows", std::move(flows)},
          {"limits",
           {{"connections", zone.limits.connections},
            {"connections_per_s", zone.limits.connections_per_s},
            {"datagrams_per_s", zone.limits.datagrams_per_s},
            {"sources", zone.limits.sources}}},
          {"router_advertisements", zone.router_advertisements}};
}

// Reads what ZoneJson() writes. What is missing or of another kind sticks; the caller asks once.
class ZoneReader {
 public:
  [[nodiscard]] bool good() const { return good_; }

  Zone Read(const json& object) {
    Zone zone;
    zone.name = Name(object, "name");
    const std::string kind = Text(object, "kind");
    const auto at = std::find(kZoneKinds.begin(), kZoneKinds.end(), kind);
    if (at == kZoneKinds.end()) good_ = false;
    if (good_) zone.kind = static_cast<ZoneKind>(at - kZoneKinds.begin());
    zone.interface = Name(object, "interface");
    for (const IpPrefix& prefix : Prefixes(object, "addresses")) {
      if (prefix.bits != 128) good_ = false;
      zone.addresses.push_back(prefix.address);
    }
    zone.sources = Prefixes(object, "sources");
    for (const json& door : List(object, "doors"))
      zone.doors.push_back({Name(door, "service", '/'), PortOf(Text(door, "port"))});
    for (const json& flow : List(object, "flows")) zone.flows.push_back(ReadFlow(flow));
    const json& limits = Member(object, "limits");
    zone.limits = {Number(limits, "connections"), Number(limits, "connections_per_s"),
                   Number(limits, "datagrams_per_s"), Number(limits, "sources")};
    const json& advertised = Member(object, "router_advertisements");
    if (!advertised.is_boolean()) good_ = false;
    zone.router_advertisements = advertised == json(true);
    return zone;
  }

 private:
  Flow ReadFlow(const json& object) {
    Flow flow;
    flow.name = Name(object, "name");
    flow.destinations = Prefixes(object, "to");
    for (const json& port : List(object, "ports")) {
      if (!port.is_string()) good_ = false;
      flow.ports.push_back(PortOf(port.is_string() ? port.get<std::string>() : std::string()));
    }
    return flow;
  }

  const json& Member(const json& object, const char* name) {
    static const json kNothing;
    const auto at = object.is_object() ? object.find(name) : object.end();
    if (object.is_object() && at != object.end()) return *at;
    good_ = false;
    return kNothing;
  }

  const json& List(const json& object, const char* name) {
    static const json kEmpty = json::array();
    const json& list = Member(object, name);
    if (list.is_array()) return list;
    good_ = false;
    return kEmpty;
  }

  std::string Text(const json& object, const char* name) {
    const json& text = Member(object, name);
    if (text.is_string()) return text.get<std::string>();
    good_ = false;
    return {};
  }

  // Letters, digits and a few signs, and `more`: nothing that ends a word of the ruleset.
  std::string Name(const json& object, const char* name, char more = '.') {
    std::string text = Text(object, name);
    const auto letter = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    };
    const auto plain = [&](char c) { return letter(c) || c == '.' || c == '-' || c == '_' || c == more; };
    if (text.empty() || text.size() > limits::kPolicyNameBytes || !letter(text.front()) ||
        !std::all_of(text.begin(), text.end(), plain))
      good_ = false;
    return text;
  }

  std::vector<IpPrefix> Prefixes(const json& object, const char* name) {
    std::vector<IpPrefix> out;
    for (const json& text : List(object, name)) {
      const auto prefix = text.is_string() ? ParseIpPrefix(text.get_ref<const std::string&>())
                                           : Result<IpPrefix>(Fail(Code::kInvalid, "no text"));
      if (!prefix) good_ = false;
      out.push_back(prefix.value_or(IpPrefix{}));
    }
    return out;
  }

  std::uint32_t Number(const json& object, const char* name) {
    const json& number = Member(object, name);
    const bool fits =
        number.is_number_unsigned() && number.get<std::uint64_t>() <= std::numeric_limits<std::uint32_t>::max();
    if (!fits) good_ = false;
    return fits ? number.get<std::uint32_t>() : 0;
  }

  Port PortOf(std::string_view text) {
    Port port;
    if (text.starts_with("udp/")) port.protocol = Protocol::kUdp;
    const std::string_view digits = text.substr(std::min<std::size_t>(text.size(), 4));
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port.number);
    if (error != std::errc() || end != digits.data() + digits.size() || PortText(port) != text) good_ = false;
    return port;
  }

  bool good_ = true;
};

}  // namespace

std::string PolicyText(const Policy& policy) {
  json zones = json::array();
  for (const Zone& zone : policy.zones) zones.push_back(ZoneJson(zone));
  return json{{"zones", std::move(zones)}}.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string PolicyDigest(std::string_view text) { return HexOf(Sha256Of(AsBytes(text))); }

Result<Policy> ParsePolicyText(std::string_view text) {
  if (text.size() > limits::kPolicyTextBytes) return Fail(Code::kInvalid, "the policy's text is too long");
  const json object = json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto zones = object.is_object() ? object.find("zones") : object.end();
  if (!object.is_object() || zones == object.end() || !zones->is_array() || zones->size() > limits::kPolicyZones)
    return Fail(Code::kInvalid, "the policy's text is no list of zones");
  Policy policy;
  for (const json& one : *zones) {
    ZoneReader reader;
    policy.zones.push_back(reader.Read(one));
    if (!reader.good())
      return Fail(Code::kInvalid, "zone " + std::to_string(policy.zones.size()) + " of the policy's text is none");
  }
  if (PolicyText(policy) != text) return Fail(Code::kInvalid, "the policy's text is not in its one form");
  return policy;
}

}  // namespace stele::netfilter
