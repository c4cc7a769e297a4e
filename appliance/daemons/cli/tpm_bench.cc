// stele tpm bench: what this TPM costs, and the cadences it bears.
#include <stdlib.h>

#include <fmt/format.h>
#include <filesystem>

#include "appliance/base/system.h"
#include "appliance/daemons/cli/client.h"
#include "appliance/daemons/cli/commands.h"
#include "appliance/daemons/cli/output.h"
#include "appliance/daemons/config.h"
#include "appliance/daemons/provisioning.h"
#include "tpm/bench.h"

namespace stele::daemons::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::size_t kAuthsBytesMax = 4096;
constexpr std::int64_t kMsPerMinute = 60'000;

Result<tpm::BenchReport> OnScratch(const tpm::BenchOptions& options, Clock& clock) {
  std::string folder = (fs::temp_directory_path() / "stele-bench-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) return FailErrno("make a folder for a scratch TPM");
  const auto run = [&]() -> Result<tpm::BenchReport> {
    STELE_TRY_VOID(tpm::MakeSwtpmState(fs::path(folder) / "tpm"));
    STELE_TRY(auto process, tpm::StartSwtpm(fs::path(folder) / "tpm", fs::path(folder) / "s"));
    auto connection = tpm::ConnectSwtpm(process.socket);
    auto report = connection ? tpm::Bench(std::move(*connection), options, clock)
                             : Result<tpm::BenchReport>(tl::unexpected(connection.error()));
    tpm::KillSwtpm(process);
    return report;
  };
  auto report = run();
  std::error_code ignored;  // a scratch folder in the temporary folder
  fs::remove_all(folder, ignored);
  return report;
}

json ToJson(const tpm::BenchReport& report, const tpm::Cadence& cadence, bool scratch) {
  json timings = json::array();
  for (const auto& timing : report.timings) {
    timings.push_back(
        {{"what", timing.what}, {"rounds", timing.rounds}, {"mean_ms", timing.mean_ms}, {"max_ms", timing.max_ms}});
  }
  return {{"tpm", scratch ? "scratch-software" : "device"},
          {"timings", timings},
          {"nv_measured", report.nv_measured},
          {"nv_writes", report.nv_writes},
          {"checkpoint_ms", report.checkpoint_ms},
          {"anchor_ms", report.anchor_ms},
          {"proposal",
           {{"checkpoint_interval_ms", cadence.checkpoint_interval_ms},
            {"anchor_interval_ms", cadence.anchor_interval_ms},
            {"anchors_per_day", cadence.anchors_per_day},
            {"years", cadence.years}}}};
}

void PrintReport(const tpm::BenchReport& report, const tpm::Cadence& cadence, bool scratch, std::int64_t nv_budget) {
  Print(scratch ? "a scratch software TPM (the log's own is left alone)\n" : "the configured TPM, on scratch objects\n");
  Print(fmt::format("{:<28} {:>7} {:>10} {:>10}\n", "command", "rounds", "mean ms", "max ms"));
  for (const auto& timing : report.timings) {
    Print(fmt::format("{:<28} {:>7} {:>10.2f} {:>10.2f}\n", timing.what, timing.rounds, timing.mean_ms, timing.max_ms));
  }
  Print(report.nv_measured ? fmt::format("the measurement cost {} NV writes, of cells of its own\n", report.nv_writes)
                           : "NV was not measured: the TPM is locked down (--auths FILE)\n");
  Print(fmt::format("\none checkpoint {:.1f} ms, an anchor {:.1f} ms more\n", report.checkpoint_ms, report.anchor_ms));
  Print(fmt::format("proposal: checkpoint.interval_ms = {}, anchor.interval_ms = {} ({} min)\n",
                    cadence.checkpoint_interval_ms, cadence.anchor_interval_ms,
                    cadence.anchor_interval_ms / kMsPerMinute));
  Print(fmt::format("          {:.1f} anchors a day and 8 besides: {} NV writes last {:.1f} years\n",
                    cadence.anchors_per_day, nv_budget, cadence.years));
}

Result<int> Measure(const Home& home, const BenchOptions& arguments, const Config& config) {
  tpm::BenchOptions options;
  options.rounds = arguments.rounds;
  if (!arguments.auths.empty()) {
    STELE_TRY(const Bytes text, ReadFile(arguments.auths, kAuthsBytesMax));
    STELE_TRY(const tpm::HierarchyAuths auths, DecodeAuths(AsText(text)));
    options.owner_auth = auths.owner;
  }
  SystemClock clock;
  const bool scratch = config.tpm.kind == TpmKind::kEmbedded ||
                       (config.tpm.kind == TpmKind::kAuto && (tpm::HasSwtpmState(home.Tpm()) || !HasTpmDevice()));
  tpm::BenchReport report;
  if (scratch) {
    options.owner_auth.reset();  // the scratch TPM has none
    STELE_TRY(report, OnScratch(options, clock));
  } else {
    STELE_TRY(const TpmSource source, TpmSource::Open(home, config.tpm));
    STELE_TRY(UniqueFd connection, source.Connect());
    STELE_TRY(report, tpm::Bench(std::move(connection), options, clock));
  }
  const tpm::Cadence cadence = tpm::ProposeCadence(report, static_cast<std::uint64_t>(config.nv_budget));
  if (arguments.json) {
    PrintJson(ToJson(report, cadence, scratch));
  } else {
    PrintReport(report, cadence, scratch, config.nv_budget);
  }
  return kExitYes;
}

}  // namespace

int RunTpmBench(const Home& home, const BenchOptions& options) {
  const bool named = !options.config.empty();
  const auto config = LoadConfig(named ? fs::path(options.config) : home.Config(), named);
  if (!config) {
    (void)Complain(config.error());
    return kExitUsage;
  }
  const auto exit_status = Measure(home, options, *config);
  return exit_status ? *exit_status : Complain(exit_status.error());
}

}  // namespace stele::daemons::cli
