// stele-confirm: the last word in the trial of an update. Runs in a trial only, as the user stele, who may then write
// one variable of the firmware: BootOrder.
//
//   stele-confirm [--patience SECONDS]     0: everything serves, and this slot starts first from now on;
//                                          1: it does not; the unit then restarts the machine (FailureAction)
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <exception>
#include <string>
#include <thread>

#include "appliance/base/system.h"
#include "firmware/update/efi_variables.h"
#include "image/console/serving.h"

namespace {

using namespace stele;
using namespace stele::update;

constexpr const char* kFacts = "/run/stele-confirm/facts";  // for the console
constexpr const char* kStateIsMounted = "/run/stele-boot/state-is-mounted";
constexpr int kPatienceSeconds = 900;

bool WaitUntilServing(std::chrono::seconds patience) {
  const auto end = std::chrono::steady_clock::now() + patience;
  while (!IsServing()) {
    if (std::chrono::steady_clock::now() >= end) return false;
    std::this_thread::sleep_for(std::chrono::seconds(1));
  }
  return true;
}

Result<void> PutThisSlotFirst(const EfiVariables& variables, const BootState& boot) {
  if (!boot.current || !SlotOf(*boot.current)) return Fail(Code::kInvalid, "the firmware started no slot of ours");
  const auto wanted = PutFirst(boot.order, *boot.current);
  STELE_TRY_VOID(variables.Write(kBootOrder, EncodeEntries(wanted)));
  STELE_TRY(const Bytes kept, variables.Read(kBootOrder));
  if (!SameBytes(kept, EncodeEntries(wanted))) return Fail(Code::kIo, "the firmware did not keep the boot order");
  return {};
}

Result<void> Confirm(std::chrono::seconds patience) {
  const EfiVariables variables;
  const BootState boot = variables.ReadBootState();
  const std::string version = "version " + (boot.note ? std::to_string(boot.note->version) : std::string("?"));
  if (::access(kStateIsMounted, F_OK) != 0)
    return Fail(Code::kUnavailable, version + " does not open the state partition");
  if (!WaitUntilServing(patience))
    return Fail(Code::kUnavailable, version + " does not serve after " + std::to_string(patience.count()) + " s");
  STELE_TRY_VOID(PutThisSlotFirst(variables, boot));
  const auto told = WriteFileDurably(kFacts, AsBytes("update " + version + " confirmed\n"), 0644);
  if (!told) LogWarning(Describe(told.error()));
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  SetLogName("stele-confirm");
  int patience = kPatienceSeconds;
  CLI::App app{"Confirms an update that serves"};
  app.add_option("--patience", patience, "how long to wait, in seconds")->check(CLI::PositiveNumber);
  try {
    app.parse(argc, argv);
    const auto confirmed = Confirm(std::chrono::seconds(patience));
    if (confirmed) return 0;
    LogError(confirmed.error().context + "; restarting with what ran before");
    return 1;
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  } catch (const std::exception& error) {
    LogError(error.what());
    return 1;
  }
}
