#include "tests/unit/web/web_fixture.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <poll.h>
#include <sys/socket.h>

#include <chrono>
#include <csignal>
#include <cstdlib>

namespace stele::web::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

struct BioFree {
  void operator()(BIO* bio) const { BIO_free_all(bio); }
};

std::string Lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

// Joins chunks; false while the last one has not come.
bool JoinChunks(std::string_view in, std::string& out) {
  for (;;) {
    const std::size_t line = in.find("\r\n");
    if (line == std::string_view::npos) return false;
    const std::size_t size = std::strtoul(std::string(in.substr(0, line)).c_str(), nullptr, 16);
    if (in.size() < line + 2 + size + 2) return false;
    if (size == 0) return true;
    out.append(in.substr(line + 2, size));
    in.remove_prefix(line + 2 + size + 2);
  }
}

std::unique_ptr<Keys> MakeKeys() {
  auto keys = std::make_unique<Keys>();
  SystemClock clock;
  auto made = daemons::EnsureCertificates(keys->dir.path() / "keys", {}, clock);
  if (!made) {
    ADD_FAILURE() << Describe(made.error());
    return keys;
  }
  keys->made = std::move(*made);
  return keys;
}

}  // namespace

TemporaryDir::TemporaryDir() {
  std::string pattern = (std::filesystem::temp_directory_path() / "stele-web-XXXXXX").string();
  path_ = ::mkdtemp(pattern.data());
}
TemporaryDir::~TemporaryDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

const Keys& OurKeys() {
  static const std::unique_ptr<Keys> keys = MakeKeys();
  return *keys;
}
const Keys& StrangeKeys() {
  static const std::unique_ptr<Keys> keys = MakeKeys();
  return *keys;
}

std::string Reply::Field(const std::string& name) const {
  for (const auto& field : fields) {
    if (field.first == name) return field.second;
  }
  return {};
}
std::size_t Reply::Count(const std::string& name) const {
  std::size_t count = 0;
  for (const auto& field : fields) count += field.first == name ? 1U : 0U;
  return count;
}

Client::Client(std::uint16_t port, const ClientOptions& options) {
  (void)std::signal(SIGPIPE, SIG_IGN);  // writing to a server that has closed is part of the tests
  fd_.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval limit{10, 0};
  (void)::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  (void)::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  context_ = SSL_CTX_new(TLS_client_method());
  const std::string ca = options.trusted_ca_pem.empty() ? OurKeys().made.ca_pem : options.trusted_ca_pem;
  const std::unique_ptr<BIO, BioFree> in(BIO_new_mem_buf(ca.data(), static_cast<int>(ca.size())));
  X509* authority = PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr);
  X509_STORE_add_cert(SSL_CTX_get_cert_store(context_), authority);
  X509_free(authority);
  SSL_CTX_set_verify(context_, SSL_VERIFY_PEER, nullptr);
  if (options.max_version != 0) SSL_CTX_set_max_proto_version(context_, options.max_version);
  if (!options.ciphers.empty()) SSL_CTX_set_cipher_list(context_, options.ciphers.c_str());
  if (!options.certificate_path.empty()) {
    SSL_CTX_use_certificate_file(context_, options.certificate_path.c_str(), SSL_FILETYPE_PEM);
    SSL_CTX_use_PrivateKey_file(context_, options.key_path.c_str(), SSL_FILETYPE_PEM);
  }
  ssl_ = SSL_new(context_);
  if (!options.alpn.empty()) {
    const std::string wire = static_cast<char>(options.alpn.size()) + options.alpn;
    SSL_set_alpn_protos(ssl_, reinterpret_cast<const unsigned char*>(wire.data()), static_cast<unsigned>(wire.size()));
  }
  SSL_set1_host(ssl_, "localhost");
  if (::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return;
  SSL_set_fd(ssl_, fd_.get());
  connected_ = SSL_connect(ssl_) == 1;
  ERR_clear_error();
}

Client::~Client() {
  SSL_free(ssl_);
  SSL_CTX_free(context_);
}

bool Client::Send(std::string_view bytes) {
  if (!connected_) return false;
  const bool sent = SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size())) == static_cast<int>(bytes.size());
  ERR_clear_error();
  return sent;
}

std::string Client::Read(const std::function<bool(const std::string&)>& enough, int wait_ms) {
  const auto until = steady_clock::now() + milliseconds(wait_ms);
  std::string out = std::exchange(left_, {});
  while (connected_ && !closed_ && !enough(out)) {
    const auto left = std::chrono::duration_cast<milliseconds>(until - steady_clock::now()).count();
    if (left <= 0) break;
    pollfd readable{fd_.get(), POLLIN, 0};
    if (SSL_pending(ssl_) == 0 && ::poll(&readable, 1, static_cast<int>(left)) <= 0) break;
    char buffer[16'384];
    const int size = SSL_read(ssl_, buffer, sizeof buffer);
    if (size > 0) {
      out.append(buffer, static_cast<std::size_t>(size));
    } else if (SSL_get_error(ssl_, size) != SSL_ERROR_WANT_READ) {
      closed_ = true;
    }
    ERR_clear_error();
  }
  return out;
}

Reply Client::ReadReply(bool head_only, int wait_ms) {
  std::size_t used = 0;
  const auto parse = [&](const std::string& received) {
    class Reply reply;
    const std::size_t end = received.find("\r\n\r\n");
    if (end == std::string::npos) return reply;
    reply.status = std::atoi(received.substr(9, 3).c_str());
    std::size_t at = received.find("\r\n") + 2;
    while (at < end + 2) {
      const std::size_t line_end = received.find("\r\n", at);
      const std::string line = received.substr(at, line_end - at);
      const std::size_t colon = line.find(": ");
      if (colon != std::string::npos) reply.fields.emplace_back(Lower(line.substr(0, colon)), line.substr(colon + 2));
      at = line_end + 2;
    }
    const std::string rest = received.substr(end + 4);
    const std::string length = reply.Field("content-length");
    if (head_only || reply.status == 304) {
      reply.complete = true;
      used = end + 4;
    } else if (!length.empty()) {
      const std::size_t size = std::strtoul(length.c_str(), nullptr, 10);
      reply.complete = rest.size() >= size;
      reply.body = rest.substr(0, size);
      used = end + 4 + size;
    } else {
      reply.complete = JoinChunks(rest, reply.body);
      used = received.size();
    }
    return reply;
  };
  // A chunked reply is looked at when it may be whole, not after every piece of it.
  const auto whole = [&](const std::string& text) {
    const std::size_t end = text.find("\r\n\r\n");
    const bool chunked = end != std::string::npos && Lower(text.substr(0, end)).find("transfer-encoding: chunked") != std::string::npos;
    return (!chunked || head_only || text.ends_with("\r\n0\r\n\r\n")) && parse(text).complete;
  };
  const std::string received = Read(whole, wait_ms);
  class Reply reply = parse(received);
  if (reply.complete) left_ = received.substr(used);
  return reply;
}

Reply Client::Ask(std::string_view request, bool head_only) {
  (void)Send(request);  // the server may have closed already; then there is no reply
  return ReadReply(head_only);
}

bool Client::WaitForClose(int wait_ms) {
  (void)Read([](const std::string&) { return false; }, wait_ms);
  return closed_;
}

void Client::Leave() { fd_.reset(); }

QueryPeer::QueryPeer(UniqueFd end, Answer answer, channel::Role role)
    : end_(std::move(end)), answer_(std::move(answer)) {
  channel::Hello hello;
  hello.role = role;
  hello.frame_bytes_max = static_cast<std::uint32_t>(limits::kChannelFrameBytes);
  hello.credits = limits::kChannelCredits;
  EXPECT_TRUE(channel::SendHello(end_.get(), hello));
  thread_ = std::thread([this] { Run(); });
}

QueryPeer::~QueryPeer() {
  stop_ = true;
  (void)::shutdown(end_.get(), SHUT_RDWR);
  thread_.join();
}

void QueryPeer::Run() {
  while (!stop_) {
    auto frame = channel::Receive(end_.get(), true);
    if (!frame) break;
    if (frame->type == channel::Type::kApiRequest) {
      auto request = channel::DecodeApiRequest(frame->body);
      EXPECT_TRUE(request);
      if (!request) break;
      {
        const std::lock_guard guard(lock_);
        requests_.push_back(*request);
      }
      changed_.notify_all();
      if (answer_) answer_(*this, *request);
    } else if (frame->type == channel::Type::kApiCancel) {
      const auto id = channel::DecodeApiCancel(frame->body);
      EXPECT_TRUE(id);
      const std::lock_guard guard(lock_);
      if (id) cancels_.push_back(*id);
      changed_.notify_all();
    }
  }
  const std::lock_guard guard(lock_);
  ended_ = true;
  changed_.notify_all();
}

void QueryPeer::SendRaw(channel::Type type, ByteView body) {
  (void)channel::Send(end_.get(), type, body);  // the server may have closed: the test looks at that
}

void QueryPeer::Respond(std::uint64_t id, int status, const std::string& content_type,
                        std::map<std::string, std::string> headers) {
  channel::ApiResponse response;
  response.id = id;
  response.status = status;
  response.content_type = content_type;
  response.headers = std::move(headers);
  SendRaw(channel::Type::kApiResponse, channel::EncodeApiResponse(response));
}

bool QueryPeer::Part(std::uint64_t id, std::string_view bytes, bool end, int wait_ms) {
  channel::ApiBody part;
  part.id = id;
  part.end = end;
  part.bytes = AsBytes(bytes);
  pollfd writable{end_.get(), POLLOUT, 0};
  if (::poll(&writable, 1, wait_ms) <= 0 || (writable.revents & POLLOUT) == 0) return false;
  return channel::Send(end_.get(), channel::Type::kApiBody, channel::EncodeApiBody(part)).has_value();
}

void QueryPeer::Reply(std::uint64_t id, const std::string& body) {
  Respond(id, 200, "application/json");
  EXPECT_TRUE(Part(id, body, true));
}

template <typename Condition>
bool QueryPeer::WaitFor(int wait_ms, Condition condition) {
  std::unique_lock guard(lock_);
  return changed_.wait_for(guard, milliseconds(wait_ms), condition);
}

std::optional<channel::ApiRequest> QueryPeer::WaitForRequest(std::size_t index, int wait_ms) {
  if (!WaitFor(wait_ms, [&] { return requests_.size() > index; })) return std::nullopt;
  const std::lock_guard guard(lock_);
  return requests_[index];
}

bool QueryPeer::WaitForCancel(std::uint64_t id, int wait_ms) {
  return WaitFor(wait_ms, [&] { return std::find(cancels_.begin(), cancels_.end(), id) != cancels_.end(); });
}

bool QueryPeer::WaitForEnd(int wait_ms) {
  return WaitFor(wait_ms, [&] { return ended_; });
}

std::size_t QueryPeer::request_count() {
  const std::lock_guard guard(lock_);
  return requests_.size();
}

RunningServer::RunningServer(const ServerBounds& bounds, std::vector<std::string> hosts) {
  ServerConfiguration configuration;
  configuration.certificate_pem = OurKeys().made.viewer.certificate_pem;
  configuration.key_pem = OurKeys().made.viewer.key_pem;
  configuration.client_ca_pem = OurKeys().made.ca_pem;
  configuration.hosts = std::move(hosts);
  auto made = Server::Make(
      configuration, clock_,
      [this](std::string_view text) {
        const std::lock_guard guard(lock_);
        notices_.append(text).append("\n");
      },
      bounds);
  if (!made) {
    ADD_FAILURE() << Describe(made.error());
    return;
  }
  server_ = std::move(*made);
  UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  EXPECT_EQ(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(::listen(listener.get(), 64), 0);
  EXPECT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &length), 0);
  port_ = ntohs(address.sin_port);
  EXPECT_TRUE(server_->AddListener(std::move(listener)));
  thread_ = std::thread([this] { server_->Run(); });
}

RunningServer::~RunningServer() {
  server_->Stop();
  thread_.join();
}

std::unique_ptr<QueryPeer> RunningServer::Connect(QueryPeer::Answer answer, channel::Role role) {
  auto ends = channel::MakePair();
  if (!ends) return nullptr;
  auto peer = std::make_unique<QueryPeer>(std::move(ends->first), std::move(answer), role);
  server_->SetQuery(std::move(ends->second));
  return peer;
}

std::string RunningServer::Notices() {
  const std::lock_guard guard(lock_);
  return notices_;
}

std::string Get(std::string_view path, std::string_view more) {
  return "GET " + std::string(path) + " HTTP/1.1\r\nHost: localhost\r\n" + std::string(more) + "\r\n";
}

std::string SignIn(std::string_view body, std::string_view more) {
  return "POST /api/v1/sign-in HTTP/1.1\r\nHost: localhost\r\nOrigin: https://localhost\r\n"
         "Sec-Fetch-Site: same-origin\r\nContent-Type: application/json\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\n" + std::string(more) + "\r\n" + std::string(body);
}

}  // namespace stele::web::test
