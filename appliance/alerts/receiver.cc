#include "appliance/alerts/receiver.h"

#include "appliance/base/text.h"
#include "appliance/witness/http.h"

namespace stele::alerts {
namespace {

constexpr std::string_view kSyslogScheme = "syslog-tls://";
constexpr std::string_view kWebhookScheme = "https://";
constexpr std::size_t kAnswerBytesMax = std::size_t{64} * 1024;
constexpr std::size_t kReasonCharactersMax = 200;

witness::Deadline DeadlineOfNow() { return std::chrono::steady_clock::now() + std::chrono::milliseconds(kDeliverMs); }

}  // namespace

Result<Destination> ParseDestination(std::string_view text) {
  Destination to;
  to.webhook = text.starts_with(kWebhookScheme);
  if (!to.webhook && !text.starts_with(kSyslogScheme))
    return Fail(Code::kInvalid, "must be syslog-tls://host[:port] or https://host[:port]/path");
  const std::string_view rest = text.substr(to.webhook ? kWebhookScheme.size() : kSyslogScheme.size());
  auto url = witness::ParseUrl(std::string(kWebhookScheme) + std::string(rest));
  if (!url || (!to.webhook && !url->path.empty()))
    return Fail(Code::kInvalid,
                "must be syslog-tls://host[:port] or https://host[:port]/path, without user, query and fragment");
  to.url = std::move(*url);
  // An IPv6 address has colons of its own, inside its brackets.
  const bool names_port =
      rest.find(':', rest.find(']') == std::string_view::npos ? 0 : rest.find(']')) != std::string_view::npos;
  if (!to.webhook && !names_port) to.url.port = kSyslogTlsPort;
  return to;
}

Result<Receiver> Receiver::Open(ReceiverSettings settings, const Origin& origin, const AlertKey& key) {
  STELE_TRY(auto tls, witness::TlsContext::ForClient(settings.ca_pem));
  if (!settings.certificate_pem.empty()) STELE_TRY_VOID(tls.UseCertificate(settings.certificate_pem, settings.key_pem));
  Receiver receiver(std::move(settings), origin, key, std::move(tls));
  const witness::Url& url = receiver.settings_.to.url;
  auto addresses = witness::LookUp(url.host, url.port);
  if (addresses) {
    receiver.addresses_ = std::move(*addresses);
  } else {
    receiver.lookup_problem_ = addresses.error().context;
  }
  return receiver;
}

Result<std::unique_ptr<witness::Wire>> Receiver::Connect(witness::Deadline deadline) const {
  if (!lookup_problem_.empty()) return Fail(Code::kUnavailable, lookup_problem_);
  STELE_TRY(UniqueFd fd, witness::ConnectTo(addresses_, deadline));
  const std::string& name = settings_.server_name.empty() ? settings_.to.url.host : settings_.server_name;
  return tls_.Connect(std::move(fd), name, deadline);
}

// Syslog has no acknowledgement. What stands in for one is the end of the TLS connection: the receiver ends its side in
// order only after it has read everything before our close_notify; a receiver that dies or closes early resets the
// connection.
Result<void> Receiver::ToSiem(std::span<const Alert> batch, const std::optional<std::string>& note) const {
  const auto deadline = DeadlineOfNow();
  STELE_TRY(const auto wire, Connect(deadline));
  for (const Alert& alert : batch) STELE_TRY_VOID(wire->Write(AsBytes(SyslogFrame(alert, *origin_)), deadline));
  if (settings_.receipts && note)
    STELE_TRY_VOID(wire->Write(AsBytes(ReceiptFrame(*note, batch.back().time_ns, *origin_)), deadline));
  return wire->Finish(deadline);
}

Result<void> Receiver::ToWebhook(const Alert& alert, const std::optional<std::string>& note) const {
  const auto deadline = DeadlineOfNow();
  STELE_TRY(const auto wire, Connect(deadline));
  const std::string body = WebhookBody(alert, *origin_, settings_.receipts ? note : std::nullopt);
  const std::string path = settings_.to.url.path.empty() ? "/" : settings_.to.url.path;
  STELE_TRY(const witness::HttpAnswer answer, witness::Post(*wire, settings_.to.url.Authority(), path, body,
                                                            kAnswerBytesMax, deadline, WebhookFields(body, *key_)));
  if (answer.status >= 200 && answer.status < 300) return {};
  const std::string_view line =
      std::string_view(answer.body).substr(0, std::min(answer.body.find('\n'), kReasonCharactersMax));
  return Fail(Code::kUnavailable, "status " + std::to_string(answer.status) +
                                      (line.empty() ? "" : ": " + EscapeForTerminal(AsBytes(line))));
}

Arrival Receiver::Deliver(std::span<const Alert> batch, const std::optional<std::string>& note) const {
  const auto sent = settings_.to.webhook ? ToWebhook(batch.front(), note) : ToSiem(batch, note);
  if (!sent) return {0, sent.error()};
  return {settings_.to.webhook ? 1 : batch.size(), std::nullopt};
}

}  // namespace stele::alerts
