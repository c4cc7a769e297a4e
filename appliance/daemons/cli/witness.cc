// stele witness init, serve, sign: a small witness (c2sp.org/tlog-witness), so that two appliances witness each other.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <fmt/format.h>
#include <array>
#include <charconv>
#include <cstdio>
#include <optional>

#include "appliance/base/system.h"
#include "appliance/daemons/cli/client.h"
#include "appliance/daemons/cli/commands.h"
#include "appliance/daemons/cli/output.h"
#include "appliance/daemons/listeners.h"
#include "appliance/sandbox/profiles.h"
#include "appliance/witness/answer_file.h"
#include "appliance/witness/server.h"

namespace stele::daemons::cli {
namespace {

constexpr std::size_t kPemBytesMax = 1 << 20;

UniqueFd g_stop_read;   // NOLINT(cert-err58-cpp)  // no allocation, cannot throw
UniqueFd g_stop_write;  // NOLINT(cert-err58-cpp)
extern "C" void OnWitnessSignal(int) {
  const int saved = errno;
  (void)!::write(g_stop_write.get(), "s", 1);  // full: the wish is known already
  errno = saved;
}

Result<void> CatchSignals() {
  std::array<int, 2> ends{-1, -1};
  if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) return FailErrno("make a pipe");
  g_stop_read = UniqueFd(ends[0]);
  g_stop_write = UniqueFd(ends[1]);
  struct sigaction action {};
  action.sa_handler = OnWitnessSignal;
  for (const int signal : {SIGINT, SIGTERM}) {
    if (::sigaction(signal, &action, nullptr) != 0) return FailErrno("catch signals");
  }
  (void)::signal(SIGPIPE, SIG_IGN);  // cannot fail
  return {};
}

struct Endpoint {
  std::string address;
  std::uint16_t port = 0;
};
Result<Endpoint> ParseListen(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  Endpoint endpoint;
  if (colon == std::string::npos) return Fail(Code::kInvalid, "--listen: expected ADDRESS:PORT");
  endpoint.address = text.substr(0, colon);
  if (endpoint.address.size() > 2 && endpoint.address.front() == '[' && endpoint.address.back() == ']')
    endpoint.address = endpoint.address.substr(1, endpoint.address.size() - 2);
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data() + colon + 1, end, endpoint.port);
  if (error != std::errc{} || stop != end) return Fail(Code::kInvalid, "--listen: expected ADDRESS:PORT");
  return endpoint;
}

Result<std::optional<witness::TlsContext>> TlsOf(const WitnessOptions& options) {
  if (options.tls_certificate.empty()) return std::optional<witness::TlsContext>();
  STELE_TRY(const Bytes certificate, ReadFile(options.tls_certificate, kPemBytesMax));
  STELE_TRY(const Bytes key, ReadFile(options.tls_key, kPemBytesMax));
  STELE_TRY(auto context, witness::TlsContext::ForServer(AsText(certificate), AsText(key)));
  return std::optional<witness::TlsContext>(std::move(context));
}

Result<void> Serve(const WitnessOptions& options) {
  SystemClock clock;
  STELE_TRY(const Endpoint endpoint, ParseListen(options.listen));
  STELE_TRY(const auto tls, TlsOf(options));
  STELE_TRY(const auto served, witness::Witness::Open(options.witness_dir, clock));
  STELE_TRY(BoundListener listener, BindListener("witness", "tcp", endpoint.address, endpoint.port));
  STELE_TRY_VOID(CatchSignals());
  STELE_TRY_VOID(sandbox::LockDown(sandbox::WitnessProfile(served->HeadsDir())));
  Print(fmt::format("{}\n{} logs, serving on {}://{}/add-checkpoint\n", served->key().Vkey(), served->logs().size(),
                    tls ? "https" : "http", listener.address));
  std::fflush(stdout);
  return witness::ServeWitness(*served, std::move(listener.descriptor), tls ? &*tls : nullptr, g_stop_read.get(),
                               [](const std::string& line) { LogInfo(line); });
}

}  // namespace

int RunWitnessInit(const WitnessOptions& options) {
  SystemEntropy entropy;
  const auto vkey = witness::MakeWitness(options.witness_dir, options.name, entropy);
  if (!vkey) return Complain(vkey.error());
  Print(*vkey + "\n");
  return kExitYes;
}

int RunWitnessServe(const WitnessOptions& options) {
  const auto served = Serve(options);
  return served ? kExitYes : Complain(served.error());
}

int RunWitnessSign(const WitnessOptions& options) {
  const auto answered = [&]() -> Result<witness::AnswerFile> {
    SystemClock clock;
    STELE_TRY(const Bytes request, ReadFile(options.input, ledger::kAddCheckpointBytesMax));
    STELE_TRY(const auto served, witness::Witness::Open(options.witness_dir, clock));
    STELE_TRY(auto answer, witness::AnswerRequestFile(*served, AsText(request)));
    STELE_TRY_VOID(WriteFileDurably(options.output, AsBytes(witness::FormatAnswerFile(answer)), 0644));
    return answer;
  }();
  if (!answered) return Complain(answered.error());
  if (answered->status == 200) {
    Print("cosigned\n");
    return kExitYes;
  }
  Print(fmt::format("not cosigned: status {}: {}\n", answered->status, Safe(answered->reason)));
  return kExitNo;
}

}  // namespace stele::daemons::cli
