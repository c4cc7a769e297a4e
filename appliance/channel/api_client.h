// A front that asks one thing at a time: the command line, stele-courier.
// Thread safety: one thread.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "appliance/channel/api_messages.h"
#include "appliance/channel/channel.h"

namespace stele::channel {

class ApiClient {
 public:
  // Over a blocking channel to stele-query; says hello (which role it claims decides nothing there). With SO_RCVTIMEO
  // set, a silent peer is kUnavailable.
  [[nodiscard]] static Result<ApiClient> Greet(UniqueFd connection, Role role);

  struct Answer {
    ApiResponse response;
    std::string refusal;  // the body of an answer that is not 2xx
  };
  // Hands over the body of a 2xx piece by piece until it ends or `more` says false. kUnavailable: the peer is gone.
  [[nodiscard]] Result<Answer> Get(const std::string& path, const std::map<std::string, std::string>& query,
                                   const std::function<bool(ByteView)>& more);

 private:
  explicit ApiClient(UniqueFd connection) : connection_(std::move(connection)) {}
  UniqueFd connection_;
  std::uint64_t last_id_ = 0;
};

}  // namespace stele::channel
