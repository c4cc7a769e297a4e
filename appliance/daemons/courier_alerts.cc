#include "appliance/daemons/courier_alerts.h"

#include "appliance/base/limits.h"
#include "appliance/base/system.h"

namespace stele::courier {
namespace {

using nlohmann::json;

constexpr std::size_t kCaBytesMax = 4 * limits::kMiB;

Result<alerts::Receiver> OpenReceiver(const json& flow, const alerts::Origin& origin, const alerts::AlertKey& key) {
  alerts::ReceiverSettings settings;
  STELE_TRY(settings.to, alerts::ParseDestination(flow.value("to", "")));
  STELE_TRY(const Bytes ca, ReadFile(flow.value("ca_path", ""), kCaBytesMax));
  settings.ca_pem = std::string(AsText(ca));
  settings.server_name = flow.value("server_name", "");
  settings.certificate_pem = flow.value("certificate_pem", "");
  settings.key_pem = flow.value("key_pem", "");
  settings.receipts = flow.value("receipts", false);
  return alerts::Receiver::Open(std::move(settings), origin, key);
}

}  // namespace

Result<std::unique_ptr<AlertFlows>> AlertFlows::Open(const json& configuration, const std::string& dir) {
  const auto seed = ParseHash(configuration.value("seed", ""));
  if (!seed) return Fail(Code::kInvalid, "alerts without a key");
  STELE_TRY(alerts::AlertKey key, alerts::AlertKeyOf(*seed));
  std::unique_ptr<AlertFlows> all(
      new AlertFlows(std::move(key)));  // NOLINT(cppcoreguidelines-owning-memory)  // private
  all->origin_ = {configuration.value("log_id", ""), configuration.value("origin", ""), configuration.value("host", ""),
                  configuration.value("viewer_url", "")};
  const json flows = configuration.value("flows", json::array());
  for (const json& flow : flows) {
    const std::string name = flow.value("name", "");
    auto receiver = OpenReceiver(flow, all->origin_, all->key_);
    if (!receiver) return Fail(receiver.error().code, "alerts.flows: " + name + ": " + receiver.error().context);
    all->members_.push_back(
        {{name, flow.value("to", ""), std::filesystem::path(dir) / ("alerts-" + name + ".json"),
          configuration.value("alarm_after_ms", std::int64_t{0}), configuration.value("retry_ms_max", std::int64_t{0})},
         std::move(*receiver),
         nullptr});
  }
  return all;
}

std::vector<std::uint16_t> AlertFlows::Ports() const {
  std::vector<std::uint16_t> ports;
  for (const Member& member : members_) ports.push_back(member.receiver.port());
  return ports;
}

void AlertFlows::Start(Clock& clock, Ask ask, alerts::Flow::Raise raise) {
  for (Member& member : members_) {
    member.flow = std::make_unique<alerts::Flow>(
        member.settings, clock,
        [ask, name = member.settings.name](std::optional<std::uint64_t> from) { return ask(name, from); },
        [&receiver = member.receiver](std::span<const alerts::Alert> batch, const std::optional<std::string>& note) {
          return receiver.Deliver(batch, note);
        },
        raise);
    std::thread([&flow = *member.flow] {
      for (;;) std::this_thread::sleep_for(flow.Step());
    }).detach();
  }
}

json AlertFlows::Status() const {
  json flows = json::array();
  for (const Member& member : members_) flows.push_back(json::parse(member.flow->StatusJson(), nullptr, false));
  return {{"public_key_pem", alerts::PublicKeyPem(key_)}, {"flows", std::move(flows)}};
}

}  // namespace stele::courier
