// The command line's side of the read API: one connection to run/query.sock of a running Stele. Who asks is decided there,
// by the uid of the peer; every answer that shows records has been recorded first.
#pragma once

#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "appliance/base/bytes.h"
#include "appliance/channel/api_client.h"
#include "appliance/daemons/home.h"

namespace stele::daemons::cli {

// Exit status of every command (docs/operating.md).
enum ExitStatus : int {
  kExitYes = 0,         // done; the verdict is good
  kExitNo = 1,          // the answer is no: tampered, not found, refused
  kExitUsage = 2,       // wrong usage or configuration
  kExitCannotTell = 3,  // no answer: nothing runs there, I/O, TPM unavailable
};

struct Answer {
  int status = 0;  // as HTTP
  std::string content_type;
  std::string body;

  [[nodiscard]] bool ok() const { return status >= 200 && status < 300; }
  [[nodiscard]] Result<nlohmann::json> Json() const;
  [[nodiscard]] std::string ErrorText() const;  // the API's message, escaped
  [[nodiscard]] ExitStatus Exit() const;        // 400 and such: usage; 403, 404: no; 5xx, 429: cannot tell
};

using Query = std::map<std::string, std::string>;

class Client {
 public:
  // kUnavailable: no Stele runs in that directory.
  [[nodiscard]] static Result<Client> Connect(const Home& home);

  [[nodiscard]] Result<Answer> Get(const std::string& path, const Query& query = {});
  // Hands over the body piece by piece until it ends or `more` says false. An answer that is not ok() is returned whole.
  [[nodiscard]] Result<Answer> Stream(const std::string& path, const Query& query, const std::function<bool(ByteView)>& more);

 private:
  explicit Client(channel::ApiClient api) : api_(std::move(api)) {}
  channel::ApiClient api_;
};

// Prints "stele: ..." to stderr and returns the exit status that belongs to the error.
ExitStatus Complain(const Error& error);
ExitStatus Complain(const Answer& answer);

}  // namespace stele::daemons::cli
