// stele policy check, stele policy diff: files in, words out; the kernel is not asked but for the names of its
// interfaces.
#include <net/if.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <set>

#include "appliance/daemons/cli/client.h"
#include "appliance/daemons/cli/commands.h"
#include "appliance/daemons/cli/output.h"
#include "appliance/daemons/cli/policy_load.h"
#include "appliance/daemons/policy_json.h"
#include "netfilter/checks.h"
#include "netfilter/compile.h"
#include "netfilter/matrix.h"

namespace stele::daemons::cli {
namespace {

using namespace netfilter;

std::vector<std::string> InterfacesHere() {
  std::vector<std::string> out;
  const std::unique_ptr<struct if_nameindex, void (*)(struct if_nameindex*)> all(::if_nameindex(), ::if_freenameindex);
  for (const struct if_nameindex* one = all.get(); one != nullptr && one->if_name != nullptr; ++one)
    out.emplace_back(one->if_name);
  return out;
}

void PrintReport(const std::vector<Finding>& findings, const Policy& policy, bool ok) {
  nlohmann::json out{{"ok", ok},
                     {"findings", nlohmann::json::array()},
                     {"zones", nlohmann::json::array()},
                     {"reach", nlohmann::json::array()}};
  for (const Finding& finding : findings) out["findings"].push_back(FindingJson(finding));
  for (const Zone& zone : policy.zones) out["zones"].push_back(ZoneJson(zone));
  for (const Reach& reach : MatrixOf(policy).rows) out["reach"].push_back(ReachJson(reach));
  PrintJson(out);
}

void PrintTable(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line.append(widths[i] - row[i].size() + 2, ' ');
    }
    Print(Safe(line) + "\n");
  }
}

// A line for each field, then which zone reaches whose doors at a glance.
void PrintMatrix(const Policy& policy) {
  const Matrix matrix = MatrixOf(policy);
  std::vector<std::vector<std::string>> rows{
      {"ZONE", "INTERFACE", "HOSTS", "", "ADDRESS", "PORT", "SERVICE", "PROCESS"}};
  for (const Reach& reach : matrix.rows) {
    const bool echo = reach.traffic == Traffic::kEcho;
    const bool flow = reach.traffic == Traffic::kFlow;
    std::string address = flow ? "-" : IpPrefixText({reach.address, 128});
    for (const IpPrefix& prefix : reach.peers.Prefixes()) {
      rows.push_back({reach.zone, reach.interface, IpPrefixText(prefix), flow ? "<-" : "->", address,
                      echo ? (IsV4(reach.address) ? "icmp" : "icmpv6") : PortText(reach.port), reach.service,
                      reach.process.empty() ? "kernel" : reach.process});
    }
  }
  PrintTable(rows);
  const auto ports = [&matrix](const std::string& zone, Traffic traffic) {
    std::set<Port> seen;
    for (const Reach& reach : matrix.rows) {
      if (reach.zone == zone && reach.traffic == traffic) seen.insert(reach.port);
    }
    return seen.empty() ? std::string("-") : std::to_string(seen.size()) + (seen.size() == 1 ? " port" : " ports");
  };
  std::vector<std::vector<std::string>> grid{{"FROM \\ TO", "appliance"}, {"appliance", "-"}};
  for (const Zone& zone : policy.zones) {
    grid[0].push_back(zone.name);
    grid[1].push_back(ports(zone.name, Traffic::kFlow));
    std::vector<std::string> row{zone.name, ports(zone.name, Traffic::kDoor)};
    row.resize(2 + policy.zones.size(), "-");  // nothing is ever forwarded
    grid.push_back(std::move(row));
  }
  Print("\n");
  PrintTable(grid);
  Print("\nWhat is not named is dropped, in and out. Nothing is forwarded from one zone to another.\n");
}

nlohmann::json DiffJson(const PolicyDiff& diff) {
  nlohmann::json out{{"opens", nlohmann::json::array()}, {"closes", nlohmann::json::array()}, {"limits", diff.limits}};
  for (const Change& change : diff.changes) out[change.opens ? "opens" : "closes"].push_back(ReachJson(change.reach));
  return out;
}

}  // namespace

int RunPolicyCheck(const PolicyOptions& options) {
  int status = kExitYes;
  const auto named = LoadPolicy(options.file, status);
  if (!named) return status;
  std::vector<IpAddress> from;
  for (const std::string& text : options.from) {
    const auto address = ParseIpPrefix(text);
    if (!address || address->bits != 128) {
      std::fprintf(stderr, "stele: --from: %s is no address\n", Safe(text).c_str());
      return kExitUsage;
    }
    from.push_back(address->address);
  }
  std::vector<Finding> findings = CheckPolicy(named->policy);
  findings.insert(findings.end(), named->ways_out.begin(), named->ways_out.end());
  const auto add = [&findings](std::vector<Finding> more) {
    findings.insert(findings.end(), more.begin(), more.end());
  };
  if (options.here || !options.interfaces.empty()) {
    add(CheckInterfaces(named->policy, options.here ? InterfacesHere() : options.interfaces));
  }
  add(CheckOperators(named->policy, from));
  const auto any = [&findings](Severity severity) {
    return std::any_of(findings.begin(), findings.end(),
                       [severity](const Finding& one) { return one.severity == severity; });
  };
  if (any(Severity::kCutOff) && !options.force) status = kExitNo;
  if (any(Severity::kError)) status = kExitUsage;
  if (options.json) {
    PrintReport(findings, named->policy, status == kExitYes);
    return status;
  }
  for (const Finding& finding : findings) {
    const char* word = finding.severity == Severity::kWarning  ? "warning: "
                       : finding.severity == Severity::kCutOff ? "refused without --force: "
                                                               : "";
    SayOfFile(named->file, finding.line, word + finding.text);
  }
  if (any(Severity::kError)) return status;
  if (options.ruleset) {
    Print(CompilePolicy(named->policy));
  } else {
    PrintMatrix(named->policy);
  }
  return status;
}

int RunPolicyDiff(const PolicyOptions& options) {
  int status = kExitYes;
  const auto older = LoadPolicy(options.file, status);
  if (!older) return status;
  const auto newer = LoadPolicy(options.other, status);
  if (!newer) return status;
  if (SayErrors(*older) || SayErrors(*newer)) return kExitUsage;
  const PolicyDiff diff = DiffOf(older->policy, newer->policy);
  if (options.json) {
    PrintJson(DiffJson(diff));
    return kExitYes;
  }
  for (const Change& change : diff.changes)
    Print(Safe((change.opens ? "opens   " : "closes  ") + ReachText(change.reach)) + "\n");
  for (const std::string& limit : diff.limits) Print(Safe("limit   " + limit) + "\n");
  if (diff.empty()) Print("nothing opens and nothing closes\n");
  return kExitYes;
}

}  // namespace stele::daemons::cli
