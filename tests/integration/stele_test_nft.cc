// For tests and benchmarks: a compiled policy put to the kernel of this network namespace, as the guard does it.
//
//   stele-test-nft apply FILE             the ruleset of `stele policy check --ruleset`, in one transaction, read back
//   stele-test-nft differs FILE           what the kernel has that is different
//   stele-test-nft groups                 opens the log groups of dropped packets
//   stele-test-nft watch FILE [restore]   a line of JSON for every change that somebody else makes, until standard
//   input ends stele-test-nft bench ZONES PREFIXES   processor seconds to compile and to apply that many, as JSON
//
// Exit status: 0 done, nothing differs; 1 no, with the reason on standard error.
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "netfilter/checks.h"
#include "netfilter/compile.h"
#include "netfilter/drift.h"
#include "netfilter/matrix.h"
#include "netfilter/nflog.h"
#include "netfilter/nft.h"

namespace stele::netfilter {
namespace {

int Complain(const Error& error) {
  std::fprintf(stderr, "stele-test-nft: %s\n", Describe(error).c_str());
  return 1;
}

std::string FileText(const char* path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

int Differs(Nft& nft, const std::string& text) {
  const auto differences = nft.DifferencesFrom(text);
  if (!differences) return Complain(differences.error());
  for (const std::string& one : *differences) std::printf("%s\n", one.c_str());
  return differences->empty() ? 0 : 1;
}

// Changes of our own are told from others by the number of the process, and looked at all the same: what counts is what
// is there.
Result<void> TellChanges(RulesWatch& watch, Nft& nft, const std::string& text, bool restore) {
  STELE_TRY(const auto changes, watch.Read());
  for (const RulesChange& change : changes) {
    if (change.process == static_cast<std::uint32_t>(::getpid())) continue;
    STELE_TRY(const auto differences, nft.DifferencesFrom(text));
    STELE_TRY(const auto foreign, nft.ForeignTables());
    const bool restored = restore && !differences.empty();
    if (restored) STELE_TRY_VOID(nft.Apply(text));
    std::printf("%s\n", nlohmann::json{{"program", change.program},
                                       {"process", change.process},
                                       {"differences", differences},
                                       {"foreign", foreign},
                                       {"restored", restored}}
                            .dump()
                            .c_str());
    (void)std::fflush(stdout);  // nobody to tell
  }
  return {};
}

int Watch(Nft& nft, const std::string& text, bool restore) {
  auto watch = RulesWatch::Open();
  if (!watch) return Complain(watch.error());
  std::printf("ready\n");
  (void)std::fflush(stdout);  // nobody to tell
  while (true) {
    std::array<pollfd, 2> fds{pollfd{watch->fd(), POLLIN, 0}, pollfd{STDIN_FILENO, POLLIN, 0}};
    if (::poll(fds.data(), fds.size(), -1) < 0) return 1;
    if (fds[1].revents != 0) return 0;
    const auto told = TellChanges(*watch, nft, text, restore);
    if (!told) return Complain(told.error());
  }
}

double CpuSeconds() {
  rusage used{};
  (void)::getrusage(RUSAGE_SELF, &used);  // cannot fail
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

// Zones as a large site might have them: a VLAN each, three listeners, every fourth zone and prefix IPv6 too.
Policy LargePolicy(std::size_t zones, std::size_t prefixes) {
  Policy policy;
  const auto octet = [](std::size_t n) { return static_cast<std::byte>(n & 0xffU); };
  for (std::size_t n = 0; n < zones; ++n) {
    Zone zone;
    zone.name = "zone-" + std::to_string(n);
    zone.kind = n == 0 ? ZoneKind::kOperator : ZoneKind::kIngest;
    zone.interface = "eth" + std::to_string(n % 4) + "." + std::to_string(n / 4 + 1);
    const std::size_t here = prefixes / zones + (n < prefixes % zones ? 1 : 0);
    IpAddress v4 = ParseIpPrefix("10.0.0.1")->address;
    IpAddress v6 = ParseIpPrefix("2001:db8::1")->address;
    v4[13] = v6[5] = octet(n / 16);
    v4[14] = v6[6] = octet(n % 16 * 16);
    zone.addresses = {v4};
    if (n % 4 == 3) zone.addresses.push_back(v6);
    for (std::size_t i = 0; i < here; ++i) {
      const bool is_v4 = n % 4 != 3 || i % 4 != 3;
      IpAddress at = is_v4 ? v4 : v6;
      at[is_v4 ? 15U : 7U] = octet(8 * i);
      if (is_v4) at[14] = octet(n % 16 * 16 + i / 32);
      const unsigned bits = is_v4 ? 96 + 29 : 64;
      zone.sources.push_back({Masked(at, bits), bits});
    }
    zone.doors = {{"syslog-udp", {Protocol::kUdp, 514}},
                  {"syslog-tls", {Protocol::kTcp, 6514}},
                  {"relp", {Protocol::kTcp, 2514}}};
    policy.zones.push_back(std::move(zone));
  }
  return policy;
}

int Bench(Nft& nft, std::size_t zones, std::size_t prefixes) {
  const Policy policy = LargePolicy(zones, prefixes);
  std::size_t named = 0;
  for (const Zone& zone : policy.zones) named += zone.sources.size();
  nlohmann::json out{{"zones", policy.zones.size()}, {"prefixes", named}};
  double before = CpuSeconds();
  const auto lap = [&before, &out](const char* what) {
    const double now = CpuSeconds();
    out[what] = now - before;
    before = now;
  };
  for (const Finding& finding : CheckPolicy(policy)) {
    if (finding.severity != Severity::kError) continue;
    std::fprintf(stderr, "stele-test-nft: %s\n", finding.text.c_str());
    return 1;
  }
  lap("check_cpu_s");
  const std::string text = CompilePolicy(policy);
  lap("compile_cpu_s");
  if (const auto done = nft.Apply(text); !done) return Complain(done.error());
  lap("apply_cpu_s");
  if (const auto done = nft.Apply(text); !done) return Complain(done.error());
  lap("apply_again_cpu_s");
  out["ruleset_bytes"] = text.size();
  std::printf("%s\n", out.dump().c_str());
  return 0;
}

int Main(int count, char** values) {
  const std::string command = count > 1 ? values[1] : "";
  if (command == "groups") {
    const auto groups = OpenLogGroups();
    return groups ? 0 : Complain(groups.error());
  }
  if (count < 3) {
    std::fprintf(stderr, "usage: stele-test-nft apply|differs|watch FILE, stele-test-nft bench ZONES PREFIXES\n");
    return 2;
  }
  auto nft = Nft::Open();
  if (!nft) return Complain(nft.error());
  if (command == "bench" && count == 4)
    return Bench(*nft, std::strtoul(values[2], nullptr, 10), std::strtoul(values[3], nullptr, 10));
  const std::string text = FileText(values[2]);
  if (command == "differs") return Differs(*nft, text);
  if (command == "watch") return Watch(*nft, text, count > 3);
  const auto done = nft->Apply(text);
  return done ? 0 : Complain(done.error());
}

}  // namespace
}  // namespace stele::netfilter

int main(int argc, char** argv) { return stele::netfilter::Main(argc, argv); }
