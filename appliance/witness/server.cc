#include "appliance/witness/server.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <thread>

#include "appliance/base/text.h"

namespace stele::witness {
namespace {

constexpr const char* kText = "text/plain; charset=utf-8";
constexpr std::string_view kPath = "/add-checkpoint";

bool IsOurs(std::string_view target) {  // whatever the submission prefix is
  return target.size() >= kPath.size() && target.substr(target.size() - kPath.size()) == kPath;
}

std::string LineOf(const Witness::Decided& decided, const HttpAnswer& answer) {
  const ledger::Checkpoint& checkpoint = decided.decision.checkpoint;
  std::string line = std::to_string(answer.status);
  if (!checkpoint.origin.empty()) line += " " + checkpoint.origin + " size " + std::to_string(checkpoint.size);
  if (!decided.decision.reason.empty()) line += ": " + decided.decision.reason;
  if (!decided.problem.empty()) line += ": " + decided.problem;
  return line;
}

HttpAnswer AnswerTo(Witness& witness, const HttpRequest& request, const Say& say) {
  if (!IsOurs(request.target)) return {404, kText, "there is no such path\n"};
  if (request.method != "POST") return {405, kText, "only POST\n"};
  const Witness::Decided decided = witness.AddCheckpoint(request.body);
  HttpAnswer answer = HttpAnswerOf(decided);
  say(LineOf(decided, answer));
  return answer;
}

void ServeConnection(Witness& witness, UniqueFd fd, const TlsContext* tls, const Say& say, const ServerLimits& limits) {
  const auto deadline = [&limits] {
    return std::chrono::steady_clock::now() + std::chrono::milliseconds(limits.request_ms);
  };
  std::unique_ptr<Wire> wire;
  if (tls != nullptr) {
    auto accepted = tls->Accept(std::move(fd), deadline());
    if (!accepted) return;
    wire = std::move(*accepted);
  } else {
    wire = PlainWire(std::move(fd));
  }
  HttpInbox inbox;
  for (;;) {
    const auto until = deadline();
    const auto request = ReadRequest(*wire, inbox, ledger::kAddCheckpointBytesMax, until);
    if (!request) {
      const int status = request.error().code == Code::kDenied ? 413 : request.error().code == Code::kInvalid ? 400 : 0;
      if (status != 0)
        (void)wire->Write(AsBytes(FormatAnswer({status, kText, request.error().context + "\n"}, false)), until);
      return;
    }
    if (!wire->Write(AsBytes(FormatAnswer(AnswerTo(witness, *request, say), request->keep_alive)), until)) return;
    if (!request->keep_alive) return;
  }
}

}  // namespace

Result<void> ServeWitness(Witness& witness, UniqueFd listener, const TlsContext* tls, int stop_fd, const Say& say,
                          const ServerLimits& limits) {
  std::atomic<std::size_t> connections{0};
  Result<void> served;
  for (;;) {
    pollfd polled[2] = {{stop_fd, POLLIN, 0}, {listener.get(), POLLIN, 0}};
    if (::poll(polled, 2, -1) < 0 && errno != EINTR) {
      served = FailErrno("poll");
      break;
    }
    if (polled[0].revents != 0) break;
    if ((polled[1].revents & POLLIN) == 0) continue;
    UniqueFd fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd.valid() || connections.load() >= limits.connections_max) continue;
    ++connections;
    std::thread([&, fd = std::move(fd)]() mutable {
      ServeConnection(witness, std::move(fd), tls, say, limits);
      --connections;
    }).detach();  // waited for below, by its count: each ends within its deadlines
  }
  while (connections.load() != 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  return served;
}

}  // namespace stele::witness
