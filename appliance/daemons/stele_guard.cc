// stele-guard: keeps the packet filter's rules as the policy in force says. Its promise: no rule changes before the
// change is an entry of the log, and nobody else changes one unseen. It has CAP_NET_ADMIN in the network namespaces it
// was given, no store and no TPM. This file is its start; what it does is in netfilter/guard.
#include <nlohmann/json.hpp>

#include "appliance/base/system.h"
#include "appliance/channel/control.h"
#include "appliance/daemons/program.h"
#include "appliance/sandbox/profiles.h"
#include "appliance/sandbox/sandbox.h"
#include "netfilter/guard/service.h"
#include "netfilter/nflog.h"

namespace stele {
namespace {

// The supervisor wants the kept policy in place and nothing else: it binds its listeners afterwards.
bool OnlyKept(const std::string& configuration_json) {
  const auto object = nlohmann::json::parse(configuration_json, nullptr, /*allow_exceptions=*/false);
  return object.is_object() && object.value("only_kept", nlohmann::json(false)) == nlohmann::json(true);
}

// The supervisor wants the sockets of the netlink log groups and nothing else: it has not the privilege to open them
// itself.
bool OnlyLogGroups(const std::string& configuration_json) {
  const auto object = nlohmann::json::parse(configuration_json, nullptr, /*allow_exceptions=*/false);
  return object.is_object() && object.value("log_groups", nlohmann::json(false)) == nlohmann::json(true);
}

Result<void> HandOverLogGroups(int control) {
  STELE_TRY(const auto sockets, netfilter::OpenLogGroups());
  for (std::size_t i = 0; i < sockets.size(); ++i) {
    STELE_TRY_VOID(
        channel::SendTakeChannel(control, {"dropped", "dropped-" + std::to_string(i), ""}, sockets[i].get()));
  }
  return channel::SendReady(control, "{}");
}

Result<void> Serve() {
  UniqueFd control(channel::kControlFd);
  auto start_up = channel::ReceiveStartUp(control.get());
  if (!start_up && start_up.error().code == Code::kNotFound) return {};  // never started
  if (!start_up) return tl::unexpected(start_up.error());
  if (OnlyLogGroups(start_up->configuration_json)) return HandOverLogGroups(control.get());
  STELE_TRY(guard::Settings settings, guard::ParseSettings(start_up->configuration_json));
  std::vector<guard::Namespace> namespaces;
  for (channel::GivenChannel& given : start_up->channels) {
    if (given.what.role == "network-namespace") namespaces.push_back({given.what.name, std::move(given.descriptor)});
  }
  STELE_TRY(guard::Places places, guard::Places::Open(namespaces));
  namespaces.clear();
  STELE_TRY(const sandbox::Report report, sandbox::LockDown(sandbox::GuardProfile(settings.dir)));
  if (OnlyKept(start_up->configuration_json)) {
    STELE_TRY_VOID(guard::ApplyKept(settings, places));
    return channel::SendReady(control.get(), report.ToJson());
  }
  STELE_TRY_VOID(channel::SetBlocking(control.get(), false));
  SystemClock clock;
  SystemEntropy entropy;
  guard::Service service(std::move(settings), std::move(places), std::move(control), report.ToJson(), clock, entropy);
  for (channel::GivenChannel& given : start_up->channels) {
    if (given.what.role == "ledger") service.UseLedger(std::move(given.descriptor));
    if (given.what.role == "policy-socket") service.UseListener(std::move(given.descriptor));
  }
  return service.Run();
}

}  // namespace
}  // namespace stele

int main() { return stele::daemons::RunProgram("stele-guard", stele::Serve); }
