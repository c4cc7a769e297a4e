// stele-audit: `stele audit` alone, one static program without any library of a TPM, for an auditor's own machine.
#include <cstdio>
#include <exception>

#include "appliance/base/system.h"
#include "appliance/daemons/cli/audit.h"
#include "appliance/daemons/version.h"

int main(int argc, char** argv) {
  constexpr int kUsage = 2;
  constexpr int kCannotTell = 3;
  stele::SetLogName("stele-audit");
  CLI::App app{"Checks the evidence of a Stele log, offline"};
  app.set_version_flag("--version", std::string("stele-audit ") + stele::daemons::kVersion);
  stele::daemons::cli::AuditOptions options;
  stele::daemons::cli::AddAuditOptions(app, options);
  try {
    app.parse(argc, argv);
    return stele::daemons::cli::RunAudit(options);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;  // help and version are no errors
  } catch (const std::exception& error) {
    std::fprintf(stderr, "stele-audit: %s\n", error.what());
    return kCannotTell;
  }
}
