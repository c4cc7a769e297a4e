#include "appliance/channel/api_client.h"

#include "appliance/base/limits.h"

namespace stele::channel {

Result<ApiClient> ApiClient::Greet(UniqueFd connection, Role role) {
  STELE_TRY_VOID(SendHello(connection.get(), {role, limits::kChannelFrameBytes, 1}));
  return ApiClient(std::move(connection));
}

Result<ApiClient::Answer> ApiClient::Get(const std::string& path, const std::map<std::string, std::string>& query,
                                         const std::function<bool(ByteView)>& more) {
  ApiRequest request;
  request.id = ++last_id_;
  request.method = "GET";
  request.path = path;
  request.query = query;
  const Bytes encoded = EncodeApiRequest(request);
  if (encoded.size() + sizeof(Type) > limits::kChannelFrameBytes)
    return Fail(Code::kInvalid, "the request is too long");
  STELE_TRY_VOID(Send(connection_.get(), Type::kApiRequest, encoded));
  Answer answer;
  const auto ok = [&answer] { return answer.response.status >= 200 && answer.response.status < 300; };
  for (;;) {
    auto frame = Receive(connection_.get(), /*wait=*/true);
    if (!frame && frame.error().code == Code::kNotFound) return Fail(Code::kUnavailable, "Stele closed the connection");
    if (!frame) return tl::unexpected(std::move(frame.error()));
    if (frame->type == Type::kApiResponse) {
      STELE_TRY(auto response, DecodeApiResponse(frame->body));
      if (response.id == request.id) answer.response = std::move(response);  // else of a request that was cancelled
    } else if (frame->type == Type::kApiBody) {
      STELE_TRY(const auto part, DecodeApiBody(frame->body));
      if (part.id != request.id) continue;
      if (!ok()) {
        answer.refusal += AsText(part.bytes);
      } else if (!more(part.bytes)) {
        STELE_TRY_VOID(Send(connection_.get(), Type::kApiCancel, EncodeApiCancel(request.id)));
        return answer;
      }
      if (part.end) return answer;
    }
  }
}

}  // namespace stele::channel
