#include "appliance/daemons/cli/client.h"

#include <cstdio>

#include "appliance/base/limits.h"
#include "appliance/base/text.h"
#include "appliance/daemons/listeners.h"

namespace stele::daemons::cli {
namespace {

constexpr std::size_t kAnswerBytesMax = 256 * limits::kMiB;  // of one answer held in memory; a page is far smaller

}  // namespace

Result<nlohmann::json> Answer::Json() const {
  auto parsed = nlohmann::json::parse(body, nullptr, false);
  if (parsed.is_discarded()) return Fail(Code::kInvalid, "the answer is not JSON");
  return parsed;
}

std::string Answer::ErrorText() const {
  const auto parsed = nlohmann::json::parse(body, nullptr, false);
  std::string text = "status " + std::to_string(status);
  if (!parsed.is_object() || !parsed.contains("error") || !parsed["error"].is_object()) return text;
  const auto& error = parsed["error"];
  text = error.value("code", text) + ": " + error.value("message", std::string());
  if (error.contains("column") && error["column"].is_number_integer()) {
    text += " (column " + std::to_string(error["column"].get<std::int64_t>()) + ")";
  }
  return EscapeForTerminal(AsBytes(text));
}

ExitStatus Answer::Exit() const {
  if (ok()) return kExitYes;
  if (status == 401 || status == 403 || status == 404) return kExitNo;
  return status >= 500 || status == 429 ? kExitCannotTell : kExitUsage;
}

Result<Client> Client::Connect(const Home& home) {
  auto connection = ConnectUnix(home.QuerySocket());
  if (!connection) {
    return Fail(connection.error().code, connection.error().context + " (start it with: stele up --dir " + home.dir.string() + ")",
                connection.error().detail);
  }
  STELE_TRY(auto api, channel::ApiClient::Greet(std::move(*connection), channel::Role::kCli));
  return Client(std::move(api));
}

Result<Answer> Client::Get(const std::string& path, const Query& query) {
  std::string body;
  STELE_TRY(Answer answer, Stream(path, query, [&body](ByteView part) {
              body += AsText(part);
              return body.size() <= kAnswerBytesMax;
            }));
  if (answer.ok()) answer.body = std::move(body);
  return answer;
}

Result<Answer> Client::Stream(const std::string& path, const Query& query, const std::function<bool(ByteView)>& more) {
  Answer answer;
  STELE_TRY(auto got, api_.Get(path, query, more));
  answer.status = got.response.status;
  answer.content_type = std::move(got.response.content_type);
  answer.body = std::move(got.refusal);
  return answer;
}

ExitStatus Complain(const Error& error) {
  const std::string text = EscapeForTerminal(AsBytes(Describe(error)));
  std::fprintf(stderr, "stele: %s\n", text.c_str());
  switch (error.code) {
    case Code::kInvalid: return kExitUsage;
    case Code::kDenied:
    case Code::kNotFound:
    case Code::kCorrupt: return kExitNo;
    case Code::kIo:
    case Code::kTpm:
    case Code::kUnavailable: return kExitCannotTell;
  }
  return kExitCannotTell;
}

ExitStatus Complain(const Answer& answer) {
  std::fprintf(stderr, "stele: %s\n", answer.ErrorText().c_str());
  return answer.Exit();
}

}  // namespace stele::daemons::cli
