// A real server on a loopback port, a TLS client that sends exactly the bytes it is told, and a peer on a real
// SOCK_SEQPACKET pair that plays stele-query from a script.
#pragma once

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "appliance/base/system.h"
#include "appliance/channel/api_messages.h"
#include "appliance/channel/channel.h"
#include "appliance/daemons/certificates.h"
#include "web/server/server.h"

namespace stele::web::test {

// A directory that is removed at the end.
class TemporaryDir {
 public:
  TemporaryDir();
  ~TemporaryDir();
  TemporaryDir(const TemporaryDir&) = delete;
  TemporaryDir& operator=(const TemporaryDir&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// One installation's keys, made once for all tests; and those of another installation.
struct Keys {
  TemporaryDir dir;
  daemons::Certificates made;
};
const Keys& OurKeys();
const Keys& StrangeKeys();

struct ClientOptions {
  std::string certificate_path;  // of a client certificate; empty: none
  std::string key_path;
  int max_version = 0;
  std::string ciphers;
  std::string alpn = "http/1.1";  // empty: none offered
  std::string trusted_ca_pem;     // empty: ours
};

struct Reply {
  int status = 0;
  std::vector<std::pair<std::string, std::string>> fields;  // lower-case names
  std::string body;                                         // chunks joined
  bool complete = false;
  [[nodiscard]] std::string Field(const std::string& name) const;
  [[nodiscard]] std::size_t Count(const std::string& name) const;
};

class Client {
 public:
  explicit Client(std::uint16_t port, const ClientOptions& options = {});
  ~Client();
  [[nodiscard]] bool connected() const { return connected_; }
  [[nodiscard]] std::string version() const { return SSL_get_version(ssl_); }
  bool Send(std::string_view bytes);
  // What arrives until `enough` says so, the server closes (closed() is true) or the time is over.
  std::string Read(const std::function<bool(const std::string&)>& enough, int wait_ms = 5'000);
  Reply ReadReply(bool head_only = false, int wait_ms = 5'000);
  Reply Ask(std::string_view request, bool head_only = false);
  bool WaitForClose(int wait_ms);  // discards what comes
  [[nodiscard]] bool closed() const { return closed_; }
  [[nodiscard]] int fd() const { return fd_.get(); }
  void Leave();  // closes without a word

 private:
  UniqueFd fd_;
  SSL_CTX* context_ = nullptr;
  SSL* ssl_ = nullptr;
  std::string left_;  // arrived, not yet taken
  bool connected_ = false;
  bool closed_ = false;
};

// Plays stele-query. Each request is given to `answer` on the peer's thread.
class QueryPeer {
 public:
  using Answer = std::function<void(QueryPeer&, const channel::ApiRequest&)>;
  QueryPeer(UniqueFd end, Answer answer, channel::Role role = channel::Role::kQuery);
  ~QueryPeer();
  void Respond(std::uint64_t id, int status, const std::string& content_type,
               std::map<std::string, std::string> headers = {});
  // False when the channel stayed full for `wait_ms`.
  bool Part(std::uint64_t id, std::string_view bytes, bool end, int wait_ms = 10'000);
  void Reply(std::uint64_t id, const std::string& body);  // 200, JSON, whole
  void SendRaw(channel::Type type, ByteView body);
  std::optional<channel::ApiRequest> WaitForRequest(std::size_t index, int wait_ms = 5'000);
  bool WaitForCancel(std::uint64_t id, int wait_ms = 5'000);
  bool WaitForEnd(int wait_ms = 5'000);  // the server closed the channel
  [[nodiscard]] std::size_t request_count();

 private:
  void Run();
  template <typename Condition>
  bool WaitFor(int wait_ms, Condition condition);

  UniqueFd end_;
  Answer answer_;
  std::mutex lock_;
  std::condition_variable changed_;
  std::vector<channel::ApiRequest> requests_;
  std::vector<std::uint64_t> cancels_;
  bool ended_ = false;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

class RunningServer {
 public:
  explicit RunningServer(const ServerBounds& bounds = {}, std::vector<std::string> hosts = {"localhost", "127.0.0.1"});
  ~RunningServer();
  [[nodiscard]] std::uint16_t port() const { return port_; }
  std::unique_ptr<QueryPeer> Connect(QueryPeer::Answer answer, channel::Role role = channel::Role::kQuery);
  [[nodiscard]] std::string Notices();

 private:
  SystemClock clock_;
  std::mutex lock_;
  std::string notices_;
  std::unique_ptr<Server> server_;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

// "GET path HTTP/1.1" with Host, further lines, and the empty line.
std::string Get(std::string_view path, std::string_view more = {});
std::string SignIn(std::string_view body, std::string_view more = {});

}  // namespace stele::web::test
