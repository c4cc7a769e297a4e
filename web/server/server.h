// stele-web's server: HTTPS on inherited listening sockets, the viewer's files, and the read API passed on to
// stele-query.
//
// It holds no store, no key but its TLS key, and knows no password: session tokens go through unread. Everything runs
// on one thread, the one that calls Run().
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "appliance/base/fd.h"
#include "appliance/base/limits.h"
#include "appliance/base/seams.h"

namespace stele::web {

struct ServerConfiguration {
  std::string certificate_pem;
  std::string key_pem;
  std::string client_ca_pem;       // empty: no client certificates
  std::vector<std::string> hosts;  // names and addresses this server answers to
};

// {"tls":{"certificate_pem","key_pem","client_ca_pem"},"hosts":[...]}; unknown members are errors. Without hosts:
// localhost, 127.0.0.1, ::1.
[[nodiscard]] Result<ServerConfiguration> ParseConfiguration(ByteView json);

struct ServerBounds {  // tests make them small
  std::size_t connections = limits::kWebConnections;
  std::size_t connections_per_address = limits::kWebConnectionsPerAddress;
  std::size_t tail_bytes = limits::kWebTailBytes;
  std::size_t pending_bytes = limits::kWebPendingBytes;
  std::int64_t handshake_ms = limits::kWebHandshakeMs;
  std::int64_t head_ms = limits::kWebHeadMs;
  std::int64_t idle_ms = limits::kWebIdleMs;
  std::int64_t answer_ms = limits::kWebAnswerMs;
  std::int64_t stall_ms = limits::kWebStallMs;
  std::int64_t pause_ms = limits::kWebPauseMs;
};

class Server {
 public:
  // `notice` gets one line for the log about what an operator should know; it may hold hostile text.
  [[nodiscard]] static Result<std::unique_ptr<Server>> Make(const ServerConfiguration& configuration, Clock& clock,
                                                            std::function<void(std::string_view)> notice,
                                                            const ServerBounds& bounds = {});
  ~Server();

  // From any thread, before or during Run().
  [[nodiscard]] Result<void> AddListener(UniqueFd listener);  // TCP, bound and listening
  void SetQuery(UniqueFd channel);                            // replaces the one before
  void Stop();
  // Calls `readable` whenever `fd` can be read, until it returns false. Before Run() or on its thread.
  [[nodiscard]] Result<void> Watch(UniqueFd fd, std::function<bool(int fd)> readable);

  void Run();  // until Stop()

 private:
  class Parts;
  explicit Server(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace stele::web
