// stele-courier: takes the log's checkpoints to its witnesses and keeps what they sign, and takes alarms out by the
// flows of stele.toml. Its promise: it reaches the witnesses of its policy and the receivers of its flows, and nothing
// else; it has no store and no TPM. This file is its loop; what a round does is in appliance/witness, what a flow does
// in appliance/alerts.
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <chrono>
#include <cstdlib>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "appliance/base/limits.h"
#include "appliance/base/system.h"
#include "appliance/channel/api_client.h"
#include "appliance/channel/control.h"
#include "appliance/daemons/courier_alerts.h"
#include "appliance/daemons/program.h"
#include "appliance/sandbox/profiles.h"
#include "appliance/sandbox/sandbox.h"
#include "appliance/witness/courier.h"
#include "appliance/witness/url.h"

namespace stele {
namespace {

using nlohmann::json;

constexpr std::size_t kCaBytesMax = 4 * limits::kMiB;
constexpr std::int64_t kPostMs = 5'000;        // a whole request and its answer
constexpr int kAskSeconds = 10;                // stele-query's answer
constexpr std::chrono::seconds kAloneMax{60};  // without stele-query: then a fresh start, with a fresh channel
constexpr std::size_t kAnswerBytesMax = ledger::kNoteBytesMax;
constexpr std::size_t kLogAnswerBytesMax = 2 * limits::kMiB;  // a feed's answer, in base64, and a checkpoint
constexpr std::chrono::milliseconds kStatusPoll{1'000};

struct Configuration {
  std::string dir;
  std::string vkey;
  std::string policy;  // empty: no witnesses
  std::string ca_path;
  std::int64_t interval_ms = 0;
  std::int64_t quorum_max_age_s = 0;
  json alerts;  // null: no flows
};

Result<Configuration> ParseConfiguration(const std::string& text) {
  const json object = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return Fail(Code::kInvalid, "the configuration is not a JSON object");
  Configuration configuration;
  configuration.dir = object.value("dir", "");
  configuration.vkey = object.value("vkey", "");
  configuration.policy = object.value("policy", "");
  configuration.ca_path = object.value("ca_path", "");
  configuration.interval_ms = object.value("interval_ms", std::int64_t{0});
  configuration.quorum_max_age_s = object.value("quorum_max_age_s", std::int64_t{0});
  configuration.alerts = object.value("alerts", json());
  if (configuration.dir.empty() || configuration.interval_ms <= 0)
    return Fail(Code::kInvalid, "the configuration needs dir and interval_ms");
  return configuration;
}

// The witnesses' addresses, looked up once, and how to reach them.
class Witnesses {
 public:
  static Result<Witnesses> LookUp(const ledger::WitnessPolicy& policy, const std::string& ca_path) {
    Witnesses all;
    bool tls = false;
    for (const ledger::WitnessPolicy::Witness& witness : policy.witnesses) {
      std::optional<Door> door;
      if (!witness.url.empty()) {
        STELE_TRY(witness::Url url, witness::ParseUrl(witness.url));
        tls = tls || url.tls;
        auto addresses = witness::LookUp(url.host, url.port);
        if (!addresses) LogWarning("witness " + witness.name + ": " + Describe(addresses.error()));
        door = Door{std::move(url), addresses.value_or(std::vector<witness::Address>{})};
      }
      all.doors_.push_back(std::move(door));
    }
    if (!tls) return all;
    STELE_TRY(const Bytes ca, ReadFile(ca_path, kCaBytesMax));
    STELE_TRY(auto context, witness::TlsContext::ForClient(AsText(ca)));
    all.tls_ = std::move(context);
    return all;
  }

  [[nodiscard]] std::vector<std::uint16_t> Ports() const {
    std::vector<std::uint16_t> ports;
    for (const auto& door : doors_) {
      if (door) ports.push_back(door->url.port);
    }
    return ports;
  }

  [[nodiscard]] Result<witness::HttpAnswer> Post(std::size_t index, const std::string& body) const {
    const std::optional<Door>& door = doors_.at(index);
    if (!door) return Fail(Code::kNotFound, "it has no address");
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(kPostMs);
    STELE_TRY(UniqueFd fd, witness::ConnectTo(door->addresses, deadline));
    std::unique_ptr<witness::Wire> wire;
    if (door->url.tls) {
      auto shaken = tls_->Connect(std::move(fd), door->url.host, deadline);
      if (!shaken) return Fail(Code::kUnavailable, shaken.error().context);
      wire = std::move(*shaken);
    } else {
      wire = witness::PlainWire(std::move(fd));
    }
    auto answer = witness::Post(*wire, door->url.Authority(), door->url.path + "/add-checkpoint", body, kAnswerBytesMax,
                                deadline);
    if (!answer) return Fail(Code::kUnavailable, answer.error().context);
    return answer;
  }

 private:
  struct Door {
    witness::Url url;
    std::vector<witness::Address> addresses;
  };
  std::vector<std::optional<Door>> doors_;  // as the policy's witnesses; none: requests travel as files
  std::optional<witness::TlsContext> tls_;
};

// stele-query, over the channel of the moment. Thread safety: any thread; one question at a time.
class QuerySource final : public witness::LogSource {
 public:
  Result<void> Use(UniqueFd fd) {
    const timeval limit{kAskSeconds, 0};
    if (::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0)
      return FailErrno("limit the wait for stele-query");
    STELE_TRY_VOID(channel::SetBlocking(fd.get(), true));
    const std::lock_guard lock(mutex_);
    STELE_TRY(client_, channel::ApiClient::Greet(std::move(fd), channel::Role::kCli));
    return {};
  }

  [[nodiscard]] bool connected() const {
    const std::lock_guard lock(mutex_);
    return client_.has_value();
  }

  Result<alerts::FeedSlice> Feed(const std::string& flow, std::optional<std::uint64_t> from) {
    std::map<std::string, std::string> query;
    if (from) query["from"] = std::to_string(*from);
    STELE_TRY(const std::string body, Get("/api/v1/feed/" + flow, query));
    return alerts::ParseFeed(body);
  }

  Result<std::string> NewestCheckpoint() override { return Get("/log/checkpoint", {}); }

  Result<std::vector<Hash>> Consistency(std::uint64_t from, std::uint64_t to) override {
    if (from == 0 || from == to) return std::vector<Hash>{};
    STELE_TRY(const std::string body,
              Get("/api/v1/consistency", {{"from", std::to_string(from)}, {"to", std::to_string(to)}}));
    const json answer = json::parse(body, nullptr, false);
    if (!answer.is_object() || !answer.contains("proof") || !answer["proof"].is_array())
      return Fail(Code::kUnavailable, "stele-query answered no proof");
    std::vector<Hash> proof;
    for (const json& text : answer["proof"]) {
      const auto hash = text.is_string() ? ParseHash(text.get_ref<const std::string&>()) : std::nullopt;
      if (!hash) return Fail(Code::kUnavailable, "stele-query answered no proof");
      proof.push_back(*hash);
    }
    return proof;
  }

 private:
  Result<std::string> Get(const std::string& path, const std::map<std::string, std::string>& query) {
    const std::lock_guard lock(mutex_);
    if (!client_) return Fail(Code::kUnavailable, "stele-query is not there");
    std::string body;
    auto answer = client_->Get(path, query, [&body](ByteView part) {
      body += AsText(part);
      return body.size() <= kLogAnswerBytesMax;
    });
    if (!answer) {
      client_.reset();  // what comes now could be the answer to this; the supervisor brings another when stele-query is
                        // new
      return tl::unexpected(std::move(answer.error()));
    }
    if (answer->response.status == 404) return Fail(Code::kNotFound, "there is no checkpoint yet");
    if (answer->response.status != 200) return Fail(Code::kUnavailable, "stele-query: " + answer->refusal);
    return body;
  }

  mutable std::mutex mutex_;
  std::optional<channel::ApiClient> client_;
};

// A notice to the supervisor. Any thread: a frame is sent whole.
void Say(int control, const json& notice) {
  const std::string text = notice.dump(-1, ' ', false, json::error_handler_t::replace);
  if (const auto sent = channel::Send(control, channel::Type::kNotice, AsBytes(text)); !sent)
    LogWarning("the supervisor does not hear: " + text);
}

void SayAlarm(int control, const std::string& name, const std::string& text) {
  Say(control, {{"event", "alarm"}, {"alarm", {{"alarm", name}, {"text", text}}}});
}

class Loop {
 public:
  // Without witnesses `courier` is null, without flows `alerts` is.
  Loop(UniqueFd control, witness::Courier* courier, const courier::AlertFlows* alerts, QuerySource& source,
       std::int64_t interval_ms)
      : control_(std::move(control)), courier_(courier), alerts_(alerts), source_(source), interval_ms_(interval_ms) {}

  // A round, then the supervisor's words until the next.
  Result<void> Run() {
    auto connected = std::chrono::steady_clock::now();
    for (;;) {
      if (courier_ != nullptr) OneRound();
      if (source_.connected()) connected = std::chrono::steady_clock::now();
      if (std::chrono::steady_clock::now() - connected > kAloneMax)
        return Fail(Code::kUnavailable, "stele-query does not answer");
      const auto next = std::chrono::steady_clock::now() + std::chrono::milliseconds(interval_ms_);
      for (;;) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(next - std::chrono::steady_clock::now()).count();
        if (left <= 0) break;
        if (alerts_ != nullptr) TellAlerts();
        pollfd polled{control_.get(), POLLIN, 0};
        const auto wait = alerts_ != nullptr ? std::min<std::int64_t>(left, kStatusPoll.count()) : left;
        if (::poll(&polled, 1, static_cast<int>(wait)) > 0 && !ReadControl()) return {};
      }
    }
  }

 private:
  void OneRound() {
    const auto alarms = courier_->Round();
    if (!alarms && alarms.error().code != Code::kUnavailable) LogWarning(Describe(alarms.error()));
    if (alarms) {
      for (const witness::CourierAlarm& alarm : *alarms) SayAlarm(control_.get(), alarm.name, alarm.text);
    }
    std::string status = courier_->StatusJson();
    if (status == said_) return;
    Say(control_.get(), {{"event", "witnesses"}, {"detail", json::parse(status, nullptr, false)}});
    said_ = std::move(status);
  }

  void TellAlerts() {
    json status = alerts_->Status();
    if (status == said_alerts_) return;
    Say(control_.get(), {{"event", "alerts"}, {"detail", status}});
    said_alerts_ = std::move(status);
  }

  bool ReadControl() {
    for (;;) {
      auto frame = channel::Receive(control_.get(), /*wait=*/false, /*with_descriptors=*/true);
      if (!frame) return frame.error().code == Code::kUnavailable;
      if (frame->type == channel::Type::kStop) return false;
      if (frame->type != channel::Type::kTakeChannel || frame->descriptors.size() != 1) continue;
      if (const auto used = source_.Use(std::move(frame->descriptors.front())); !used)
        LogWarning(Describe(used.error()));
    }
  }

  UniqueFd control_;
  witness::Courier* courier_;
  const courier::AlertFlows* alerts_;
  QuerySource& source_;
  std::int64_t interval_ms_;
  std::string said_;
  json said_alerts_;
};

Result<void> Serve() {
  UniqueFd control(channel::kControlFd);
  auto start_up = channel::ReceiveStartUp(control.get());
  if (!start_up && start_up.error().code == Code::kNotFound) return {};  // never started
  if (!start_up) return tl::unexpected(start_up.error());
  STELE_TRY(const Configuration configuration, ParseConfiguration(start_up->configuration_json));
  STELE_TRY(const ledger::VerifyKey log, ledger::ParseVkey(configuration.vkey));
  const bool witnessed = !configuration.policy.empty();
  ledger::WitnessPolicy policy;
  if (witnessed) {
    STELE_TRY(policy, witness::ParsePolicyFor(configuration.policy, log));
  }
  STELE_TRY(const Witnesses witnesses, Witnesses::LookUp(policy, configuration.ca_path));
  std::vector<std::uint16_t> ports = witnesses.Ports();
  std::unique_ptr<courier::AlertFlows> flows;
  if (configuration.alerts.is_object()) {
    STELE_TRY(flows, courier::AlertFlows::Open(configuration.alerts, configuration.dir));
    for (const std::uint16_t port : flows->Ports()) ports.push_back(port);
  }
  QuerySource source;
  for (channel::GivenChannel& given : start_up->channels) {
    if (given.what.role == "query") STELE_TRY_VOID(source.Use(std::move(given.descriptor)));
  }
  STELE_TRY_VOID(channel::SetBlocking(control.get(), false));
  STELE_TRY(const sandbox::Report report,
            sandbox::LockDown(sandbox::CourierProfile(configuration.dir, std::move(ports))));
  SystemClock clock;
  witness::Courier courier(
      witness::Cosigned(configuration.dir, policy, log), source,
      [&witnesses, fd = control.get()](std::size_t index, const std::string& body) -> Result<witness::HttpAnswer> {
        // Several dead witnesses shall not keep the supervisor waiting, least of all for a stop.
        if (pollfd polled{fd, POLLIN, 0}; ::poll(&polled, 1, 0) > 0) return Fail(Code::kUnavailable, "put off");
        return witnesses.Post(index, body);
      },
      clock, configuration.quorum_max_age_s);
  STELE_TRY_VOID(channel::SendReady(control.get(), report.ToJson()));
  const int control_fd = control.get();
  if (flows != nullptr) {
    flows->Start(
        clock,
        [&source](const std::string& flow, std::optional<std::uint64_t> from) { return source.Feed(flow, from); },
        [control_fd](const alerts::FlowAlarm& alarm) { SayAlarm(control_fd, alarm.name, alarm.text); });
  }
  const auto ran =
      Loop(std::move(control), witnessed ? &courier : nullptr, flows.get(), source, configuration.interval_ms).Run();
  if (flows == nullptr) return ran;
  // The threads of the flows still use what this function holds.
  if (!ran) LogError(Describe(ran.error()));
  std::_Exit(ran ? EXIT_SUCCESS : EXIT_FAILURE);
}

}  // namespace
}  // namespace stele

int main() { return stele::daemons::RunProgram("stele-courier", stele::Serve); }
