#include "netfilter/violation_entries.h"

#include <nlohmann/json.hpp>

namespace stele::netfilter {
namespace {

using nlohmann::json;

constexpr const char* kNobody = "-";  // of a prefix: no zone

std::string AddressText(const IpAddress& address) { return IpPrefixText({address, 128}); }

std::string ProtocolName(std::uint8_t protocol) {
  switch (protocol) {
    case kIcmp:
      return "icmp";
    case 6:
      return "tcp";
    case 17:
      return "udp";
    case 33:
      return "dccp";
    case kIcmp6:
      return "icmpv6";
    case 132:
      return "sctp";
    case 136:
      return "udplite";
    default:
      return "protocol " + std::to_string(protocol);
  }
}

bool IsIcmp(const ViolationRow& row) { return row.protocol == kIcmp || row.protocol == kIcmp6; }

std::string CountText(std::uint64_t count, std::string_view one, std::string_view many) {
  return std::to_string(count) + " " + std::string(count == 1 ? one : many);
}
std::string PacketsText(const ViolationRow& row) { return CountText(row.packets, "packet", "packets"); }

// "10.20.0.9 to 10.20.0.1 tcp/22"
std::string PathText(const ViolationRow& row) {
  std::string out = row.source ? " from " + AddressText(*row.source) : "";
  if (row.destination) out += " to " + AddressText(*row.destination);
  if (row.protocol) {
    out += " " + ProtocolName(*row.protocol);
    if (row.port) out += (IsIcmp(row) ? " type " : "/") + std::to_string(*row.port);
  }
  return out;
}

std::string ZoneText(const ViolationRow& row) {
  if (row.zone == kNobody) return " in no zone";
  return row.zone.empty() ? "" : " in zone " + row.zone;
}

std::string ReasonText(const ViolationRow& row) {
  return row.reason ? ": " + std::string(kDropReasons[static_cast<std::size_t>(*row.reason)]) : "";
}

json OrNull(bool there, json value) { return there ? std::move(value) : json(nullptr); }

// What every row has that stands for packets which were seen.
json Seen(const ViolationRow& row) {
  const bool one_zone = !row.zone.empty() && row.zone != kNobody;
  return {{"zone", OrNull(one_zone, row.zone)},
          {"reason", row.reason ? json(kDropReasons[static_cast<std::size_t>(*row.reason)]) : json(nullptr)},
          {"source", row.source ? json(AddressText(*row.source)) : json(nullptr)},
          {"packets", row.packets},
          {"from_ns", row.from_ns},
          {"to_ns", row.to_ns}};
}

void AddPath(json& entry, const ViolationRow& row) {
  entry["destination"] = row.destination ? json(AddressText(*row.destination)) : json(nullptr);
  entry["protocol"] = row.protocol ? json(ProtocolName(*row.protocol)) : json(nullptr);
  entry["port"] = row.port && !IsIcmp(row) ? json(*row.port) : json(nullptr);
  if (row.port && IsIcmp(row)) entry["icmp_type"] = *row.port;
  if (row.folded != 0) entry["folded"] = row.folded;
}

json EntryOf(const ViolationRow& row) {
  json entry;
  switch (row.kind) {
    case RowKind::kViolation:
      entry = Seen(row);
      entry["alarm"] = "policy_violation";
      entry["text"] = PacketsText(row) + PathText(row) + " dropped" + ZoneText(row) + ReasonText(row);
      AddPath(entry, row);
      break;
    case RowKind::kCrossing:
      entry = Seen(row);
      entry["alarm"] = "policy_crossing";
      entry["target"] = row.target;
      entry["text"] = PacketsText(row) + PathText(row) + " dropped" + ZoneText(row) + ", meant for what is of zone " +
                      row.target + ReasonText(row);
      AddPath(entry, row);
      break;
    case RowKind::kScan:
      entry = Seen(row);
      entry["alarm"] = "policy_scan";
      entry["ports"] = row.ports;
      entry["addresses"] = row.addresses;
      entry["text"] = (row.source ? AddressText(*row.source) : "somebody") +
                      " probes: " + CountText(row.ports, "port", "ports") + ", " +
                      CountText(row.addresses, "address", "addresses") + "; " + PacketsText(row) + " dropped" +
                      ZoneText(row) + ReasonText(row);
      break;
    case RowKind::kUncounted:
      entry = {
          {"alarm", "policy_violations_uncounted"},
          {"text", PacketsText(row) + " dropped" + ZoneText(row) + " of which nothing else is known: " + row.cause},
          {"zone", OrNull(!row.zone.empty() && row.zone != kNobody, row.zone)},
          {"cause", row.cause},
          {"packets", row.packets},
          {"from_ns", row.from_ns},
          {"to_ns", row.to_ns}};
      if (row.perhaps_before != 0) entry["perhaps_before"] = row.perhaps_before;
      break;
  }
  return entry;
}

}  // namespace

std::string ViolationEntry(const ViolationRow& row) {
  return EntryOf(row).dump(-1, ' ', false, json::error_handler_t::replace);  // a zone's name comes from the kernel
}

std::string CrossingsJson(const Crossings& crossings) {
  json guarded = json::array();
  for (const Guarded& one : crossings.guarded) {
    json networks = json::array();
    for (const IpPrefix& prefix : one.networks) networks.push_back(IpPrefixText(prefix));
    json ports = json::array();
    for (const Port& port : one.ports) ports.push_back({static_cast<std::uint8_t>(port.protocol), port.number});
    guarded.push_back({{"zone", one.zone}, {"networks", networks}, {"ports", ports}});
  }
  return json{{"ingest_zones", crossings.ingest_zones}, {"guarded", guarded}}.dump();
}

Result<Crossings> ParseCrossings(std::string_view text) {
  const json object = json::parse(text, nullptr, false);
  Crossings out;
  try {
    out.ingest_zones = object.at("ingest_zones").get<decltype(out.ingest_zones)>();
    for (const json& one : object.at("guarded")) {
      Guarded guarded;
      guarded.zone = one.at("zone").get<std::string>();
      for (const json& network : one.at("networks")) {
        STELE_TRY(const IpPrefix prefix, ParseIpPrefix(network.get<std::string>()));
        guarded.networks.push_back(prefix);
      }
      for (const json& port : one.at("ports")) {
        guarded.ports.push_back(
            {static_cast<Protocol>(port.at(0).get<std::uint8_t>()), port.at(1).get<std::uint16_t>()});
      }
      out.guarded.push_back(std::move(guarded));
    }
  } catch (const json::exception& problem) {
    return Fail(Code::kInvalid, std::string("guarded zones: ") + problem.what());
  }
  return out;
}

}  // namespace stele::netfilter
