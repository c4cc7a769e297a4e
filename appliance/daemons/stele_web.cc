// stele-web: the viewer's door. Its promise: it serves the files compiled into it and passes API requests on to
// stele-query over one channel. No store, no TPM, no file, no connection of its own.
#include <memory>
#include <string>

#include "appliance/base/system.h"
#include "appliance/channel/control.h"
#include "appliance/daemons/program.h"
#include "appliance/sandbox/profiles.h"
#include "appliance/sandbox/sandbox.h"
#include "web/server/server.h"

namespace stele {
namespace {

constexpr int kFramesPerTurn = 16;

Result<void> Give(web::Server& server, const std::string& role, UniqueFd descriptor) {
  if (role == "listener") return server.AddListener(std::move(descriptor));
  if (role != "query") return Fail(Code::kInvalid, "a descriptor of the unknown role " + role);
  server.SetQuery(std::move(descriptor));
  return {};
}

// One later word of the supervisor. False: finish.
bool HandleControl(web::Server& server, channel::Frame frame) {
  if (frame.type == channel::Type::kStop) return false;
  if (frame.type != channel::Type::kTakeChannel) return true;
  const auto what = channel::DecodeTakeChannel(frame.body);
  if (!what || frame.descriptors.size() != 1) {
    LogWarning("a descriptor from the supervisor came without its role");
    return true;
  }
  if (const auto given = Give(server, what->role, std::move(frame.descriptors.front())); !given) {
    LogWarning(Describe(given.error()));
  }
  return true;
}

// Reads what is there; false when the supervisor is gone or said stop.
bool ReadControl(web::Server& server, int fd) {
  for (int i = 0; i < kFramesPerTurn; ++i) {
    auto frame = channel::Receive(fd, /*wait=*/false, /*with_descriptors=*/true);
    if (!frame && frame.error().code == Code::kUnavailable) return true;
    if (!frame || !HandleControl(server, std::move(*frame))) {
      server.Stop();
      return false;
    }
  }
  return true;
}

Result<void> Serve() {
  UniqueFd control(channel::kControlFd);
  auto start_up = channel::ReceiveStartUp(control.get());
  if (!start_up && start_up.error().code == Code::kNotFound) return {};  // never started
  if (!start_up) return tl::unexpected(start_up.error());
  STELE_TRY(const web::ServerConfiguration configuration,
            web::ParseConfiguration(AsBytes(start_up->configuration_json)));
  SystemClock clock;
  STELE_TRY(const std::unique_ptr<web::Server> server,
            web::Server::Make(configuration, clock, [](std::string_view text) { LogWarning(text); }));
  for (channel::GivenChannel& given : start_up->channels) {
    STELE_TRY_VOID(Give(*server, given.what.role, std::move(given.descriptor)));
  }
  const int control_fd = control.get();
  STELE_TRY_VOID(server->Watch(std::move(control), [&server](int fd) { return ReadControl(*server, fd); }));
  STELE_TRY(const sandbox::Report report, sandbox::LockDown(sandbox::WebProfile()));
  STELE_TRY_VOID(channel::SendReady(control_fd, report.ToJson()));
  server->Run();
  return {};
}

}  // namespace
}  // namespace stele

int main() { return stele::daemons::RunProgram("stele-web", stele::Serve); }
