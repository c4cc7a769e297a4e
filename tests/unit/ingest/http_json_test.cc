// Goal: an event is acknowledged after its commit and never otherwise, and no request can hold or break the server.
// Method: a real TLS client on the loopback against the real server; the sink plays the ledger's part of the contract.
#include "appliance/ingest/http_json.h"

#include <gtest/gtest.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <zlib.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <future>
#include <nlohmann/json.hpp>
#include <thread>

#include "appliance/base/hash.h"
#include "appliance/base/system.h"

namespace stele::ingest {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;
using nlohmann::json;

struct Pem {
  std::string certificate;
  std::string key;
};

std::string Drain(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

Pem SelfSigned() {
  const std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  const std::unique_ptr<X509, void (*)(X509*)> certificate(X509_new(), X509_free);
  X509_set_version(certificate.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), 0);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
  X509_set_pubkey(certificate.get(), key.get());
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate.get()), "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("localhost"), -1, -1, 0);
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(certificate.get()));
  X509_sign(certificate.get(), key.get(), EVP_sha256());
  const std::unique_ptr<BIO, int (*)(BIO*)> certificate_out(BIO_new(BIO_s_mem()), BIO_free);
  const std::unique_ptr<BIO, int (*)(BIO*)> key_out(BIO_new(BIO_s_mem()), BIO_free);
  PEM_write_bio_X509(certificate_out.get(), certificate.get());
  PEM_write_bio_PrivateKey(key_out.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  return {Drain(certificate_out.get()), Drain(key_out.get())};
}

const Pem& TestPem() {
  static const Pem pem = SelfSigned();
  return pem;
}

// Numbers events like a ledger does; keeps what it took; can hold its answers back or refuse.
class KeepingSink final : public EventSink {
 public:
  void Submit(JsonBatch batch, std::function<void(JsonOutcome)> done) override {
    if (refuse) {
      JsonOutcome refused;
      refused.retry_after_s = 7;
      return done(refused);
    }
    const std::uint64_t first = events.size();
    for (const auto& event : batch.events) events.emplace_back(AsText(batch.EventBytes(event)));
    peer = batch.peer;
    identity = batch.identity;
    target = batch.target;
    flags.clear();
    for (const auto& event : batch.events) flags.push_back(event.signature_flags);
    JsonOutcome outcome;
    outcome.committed = true;
    outcome.ranges = {{first, events.size() - 1}};
    outcome.checkpoint = "note\n";
    if (batch.wants_leaves) outcome.leaves.resize(batch.events.size());
    if (hold) {
      held.push_back([done = std::move(done), outcome] { done(outcome); });
    } else {
      done(outcome);
    }
  }
  std::vector<std::string> events;
  std::vector<std::function<void()>> held;
  record::Peer peer{};
  std::string identity;
  std::string target;
  std::vector<std::uint16_t> flags;
  bool hold = false;
  bool refuse = false;
};

UniqueFd ListenOnLoopback(std::uint16_t& port) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  STELE_CHECK(::bind(fd.get(), reinterpret_cast<sockaddr*>(&name), sizeof name) == 0);
  STELE_CHECK(::listen(fd.get(), 128) == 0);
  socklen_t size = sizeof name;
  STELE_CHECK(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&name), &size) == 0);
  port = ntohs(name.sin_port);
  return fd;
}

HttpJsonOptions Options() {
  HttpJsonOptions options;
  options.certificate_pem = TestPem().certificate;
  options.key_pem = TestPem().key;
  return options;
}

// The server on a thread of its own; everything about it happens there.
class Running {
 public:
  template <typename Action>
  auto Do(Action action) {
    std::packaged_task<decltype(action())()> task(action);
    auto result = task.get_future();
    asio::post(context_, [&task] { task(); });
    return result.get();
  }

  explicit Running(HttpJsonOptions options = Options()) {
    auto made = HttpJsonServer::Make(context_, ListenOnLoopback(port), std::move(options), sink, clock_);
    STELE_CHECK(made.has_value());
    server = std::move(*made);
    server->Start();
    thread_ = std::thread([this] { context_.run(); });
  }
  ~Running() {
    Do([this] { server.reset(); });
    work_.reset();
    thread_.join();
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

  template <typename Condition>
  bool Eventually(Condition condition) {
    for (int i = 0; i < 500; ++i) {
      if (Do(condition)) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }

  std::uint16_t port = 0;
  KeepingSink sink;
  std::unique_ptr<HttpJsonServer> server;

 private:
  asio::io_context context_;
  asio::executor_work_guard<asio::io_context::executor_type> work_{context_.get_executor()};
  SystemClock clock_;
  std::thread thread_;
};

class Client {
 public:
  explicit Client(std::uint16_t port, const Pem* certificate = nullptr) : tls_(ContextOf(certificate)), stream_(context_, tls_) {
    stream_.lowest_layer().connect(tcp::endpoint(asio::ip::address_v4::loopback(), port));
    timeval limit{10, 0};
    (void)::setsockopt(stream_.lowest_layer().native_handle(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  }
  bool Handshake() {
    boost::system::error_code error;
    stream_.handshake(asio::ssl::stream_base::client, error);
    return !error;
  }
  bool Send(std::string_view octets) {
    boost::system::error_code error;
    asio::write(stream_, asio::buffer(octets), error);
    return !error;
  }
  http::response<http::string_body> Read() {
    http::response<http::string_body> response;
    boost::system::error_code error;
    http::read(stream_, buffer_, response, error);
    if (error) response.result(0U);
    return response;
  }
  http::response<http::string_body> Ask(std::string_view octets) {
    (void)Send(octets);  // a server that refuses early may close before all is sent; the answer says
    return Read();
  }
  bool IsClosed() {
    char octet = 0;
    boost::system::error_code error;
    (void)asio::read(stream_, asio::buffer(&octet, 1), error);
    return !!error;
  }
  SSL* ssl() { return stream_.native_handle(); }

 private:
  asio::io_context context_;
  static asio::ssl::context ContextOf(const Pem* certificate) {
    asio::ssl::context tls(asio::ssl::context::tls_client);
    if (certificate != nullptr) {
      tls.use_certificate_chain(asio::buffer(certificate->certificate));
      tls.use_private_key(asio::buffer(certificate->key), asio::ssl::context::pem);
    }
    return tls;
  }
  asio::ssl::context tls_;
  asio::ssl::stream<tcp::socket> stream_;
  boost::beast::flat_buffer buffer_;
};

std::string Post(std::string_view body, std::string_view more = "", std::string_view type = "application/x-ndjson") {
  return "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: " + std::string(type) + "\r\n" + std::string(more) +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
}

TEST(HttpJson, EventsAreAnsweredWithTheirSequenceNumbers) {
  Running running;
  Client client(running.port);
  ASSERT_TRUE(client.Handshake());
  const auto response = client.Ask(Post("{\"a\":1}\nnot json\n\n{\"b\":2}\n"));
  EXPECT_EQ(response.result_int(), 200U);
  EXPECT_EQ(json::parse(response.body()), json::parse(R"({"ranges":[[0,2]],"unparsed":[2],"unparsed_count":1,"checkpoint":"note\n"})"));
  EXPECT_EQ(running.Do([&] { return running.sink.events; }), (std::vector<std::string>{"{\"a\":1}", "not json", "{\"b\":2}"}));
  EXPECT_EQ(record::PeerAddressText(running.Do([&] { return running.sink.peer; })), "127.0.0.1");
  EXPECT_EQ(json::parse(client.Ask(Post("{\n\"c\":3}", "", "application/json")).body())["ranges"], json::parse("[[3,3]]"));
}

TEST(HttpJson, TheAnswerWaitsForTheCommit) {
  Running running;
  running.Do([&] { running.sink.hold = true; });
  Client client(running.port);
  ASSERT_TRUE(client.Handshake());
  ASSERT_TRUE(client.Send(Post("1\n")));
  ASSERT_TRUE(running.Eventually([&] { return running.sink.held.size() == 1; }));
  auto answer = std::async(std::launch::async, [&] { return client.Read().result_int(); });
  EXPECT_EQ(answer.wait_for(std::chrono::milliseconds(100)), std::future_status::timeout);
  running.Do([&] { running.sink.held[0](); });
  EXPECT_EQ(answer.get(), 200U);
}

TEST(HttpJson, ARefusedBatchIsAnsweredWithRetryAfterAndTheConnectionLives) {
  Running running;
  running.Do([&] { running.sink.refuse = true; });
  Client client(running.port);
  ASSERT_TRUE(client.Handshake());
  const auto refused = client.Ask(Post("1\n"));
  EXPECT_EQ(refused.result_int(), 503U);
  EXPECT_EQ(refused[http::field::retry_after], "7");
  running.Do([&] { running.sink.refuse = false; });
  EXPECT_EQ(client.Ask(Post("1\n")).result_int(), 200U);
  EXPECT_EQ(running.Do([&] { return running.server->counters().events_refused; }), 1U);
}

TEST(HttpJson, ACommitThatComesAfterTheClientLeftIsHarmless) {
  Running running;
  running.Do([&] { running.sink.hold = true; });
  {
    Client client(running.port);
    ASSERT_TRUE(client.Handshake());
    ASSERT_TRUE(client.Send(Post("1\n")));
    ASSERT_TRUE(running.Eventually([&] { return running.sink.held.size() == 1; }));
  }
  running.Do([&] { running.sink.held[0](); });
  EXPECT_TRUE(running.Eventually([&] { return running.server->counters().connections_open == 0; }));
  EXPECT_EQ(running.Do([&] { return running.server->counters().events_committed; }), 1U);
}

TEST(HttpJson, ACommitThatComesAfterTheServerIsGoneIsHarmless) {
  Running running;
  running.Do([&] { running.sink.hold = true; });
  Client client(running.port);
  ASSERT_TRUE(client.Handshake());
  ASSERT_TRUE(client.Send(Post("1\n")));
  ASSERT_TRUE(running.Eventually([&] { return running.sink.held.size() == 1; }));
  running.Do([&] { running.server.reset(); });
  running.Do([&] { running.sink.held[0](); });
  EXPECT_TRUE(client.IsClosed());
}

std::string Gzipped(const std::string& plain) {
  z_stream stream{};
  STELE_CHECK(deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(deflateBound(&stream, plain.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(plain.data()));
  stream.avail_in = static_cast<uInt>(plain.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  STELE_CHECK(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

TEST(HttpJson, ACompressedBodyIsReadAndABombIsNot) {
  Running running;
  Client client(running.port);
  ASSERT_TRUE(client.Handshake());
  std::string lines;
  for (int i = 0; i < 20'000; ++i) lines += "{\"number\":" + std::to_string(i) + "}\n";
  const auto response = client.Ask(Post(Gzipped(lines), "Content-Encoding: gzip\r\n"));
  EXPECT_EQ(response.result_int(), 200U);
  EXPECT_EQ(json::parse(response.body())["ranges"], json::parse("[[0,19999]]"));
  EXPECT_EQ(running.Do([&] { return running.sink.events[19'999]; }), "{\"number\":19999}");
  EXPECT_EQ(client.Ask(Post("{\"a\":1}\n", "Content-Encoding: gzip\r\n")).result_int(), 400U);
  const auto status = [&](const std::string& body) {
    Client other(running.port);
    return other.Handshake() ? other.Ask(Post(body, "Content-Encoding: gzip\r\n")).result_int() : 0;
  };
  EXPECT_EQ(status(Gzipped(std::string(48'000'000, '1'))), 413U);
  EXPECT_EQ(status(Gzipped(lines).substr(0, 500)), 400U);
  EXPECT_EQ(running.Do([&] { return running.sink.events.size(); }), 20'000U);
}

TEST(HttpJson, InflatedBytesCountAgainstTheBodyLimit) {
  auto options = Options();
  options.body_bytes_max = 1'000;
  Running running(options);
  Client client(running.port);
  ASSERT_TRUE(client.Handshake());
  EXPECT_EQ(client.Ask(Post(Gzipped(std::string(999, '1')), "Content-Encoding: gzip\r\n")).result_int(), 200U);
  const std::string body = Gzipped(std::string(1'001, '1'));
  ASSERT_LT(body.size(), 100U);
  EXPECT_EQ(client.Ask(Post(body, "Content-Encoding: gzip\r\n")).result_int(), 413U);
  EXPECT_EQ(running.Do([&] { return running.sink.events.size(); }), 1U);
}

TEST(HttpJson, ASenderIsKnownByItsTokenOrItsCertificate) {
  auto options = Options();
  options.senders = {{"gate", Sha256Of(AsBytes("gate-token")), std::nullopt}, {"camera", std::nullopt, Hash{}}};
  const Pem own = SelfSigned();
  {
    const std::unique_ptr<BIO, int (*)(BIO*)> in(BIO_new_mem_buf(own.certificate.data(), -1), BIO_free);
    const std::unique_ptr<X509, void (*)(X509*)> certificate(PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr), X509_free);
    unsigned size = 0;
    X509_digest(certificate.get(), EVP_sha256(), reinterpret_cast<unsigned char*>(options.senders[1].fingerprint->data()), &size);
  }
  Running running(options);
  const auto ask = [&](const Pem* certificate, std::string_view more) {
    Client client(running.port, certificate);
    return client.Handshake() ? client.Ask(Post("1\n", more)).result_int() : 0U;
  };
  EXPECT_EQ(ask(nullptr, ""), 401U);
  const Pem stranger = SelfSigned();
  EXPECT_EQ(ask(&stranger, ""), 401U);
  EXPECT_EQ(ask(nullptr, "Authorization: Bearer gate-token\r\n"), 200U);
  EXPECT_EQ(running.Do([&] { return running.sink.identity; }), "gate");
  EXPECT_EQ(ask(&own, ""), 200U);
  EXPECT_EQ(running.Do([&] { return running.sink.identity; }), "camera");
  EXPECT_EQ(ask(&own, "Authorization: Bearer gate-token\r\n"), 401U);
}

TEST(HttpJson, LeavesAreGivenWhenTheyAreAskedFor) {
  Running running;
  Client client(running.port);
  ASSERT_TRUE(client.Handshake());
  EXPECT_EQ(json::parse(client.Ask(Post("1\n2\n", "Prefer: receipt\r\n")).body())["leaves"].size(), 2U);
  EXPECT_FALSE(json::parse(client.Ask(Post("1\n2\n")).body()).contains("leaves"));
  std::string many;
  for (std::size_t i = 0; i <= limits::kHttpReceiptEvents; ++i) many += "1\n";
  EXPECT_EQ(client.Ask(Post(many, "Prefer: receipt\r\n")).result_int(), 413U);
}

TEST(HttpJson, TheOtherDoorsAnswerInTheirProtocols) {
  Running running;
  Client client(running.port);
  ASSERT_TRUE(client.Handshake());
  const auto to = [](std::string_view path, std::string_view type, std::string_view body) {
    return "POST " + std::string(path) + " HTTP/1.1\r\nHost: x\r\nContent-Type: " + std::string(type) + "\r\nContent-Length: " +
           std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
  };
  auto response = client.Ask(to("/nginx/_bulk", "application/x-ndjson", "{\"create\":{}}\n{\"a\":1}\n{\"delete\":{}}\n"));
  EXPECT_EQ(response.result_int(), 200U);
  EXPECT_EQ(response["X-Elastic-Product"], "Elasticsearch");
  EXPECT_EQ(json::parse(response.body())["items"][0]["create"]["_id"], "0");
  EXPECT_EQ(json::parse(response.body())["items"][1]["delete"]["status"], 405);
  EXPECT_EQ(running.Do([&] { return running.sink.target; }), "nginx");
  response = client.Ask(to("/_bulk", "application/x-ndjson", "{\"delete\":{}}\n"));
  EXPECT_EQ(json::parse(response.body())["errors"], true);
  response = client.Ask(to("/v1/logs", "application/json", R"({"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":1}]}]}]})"));
  EXPECT_EQ(response.body(), "{}");
  EXPECT_EQ(running.Do([&] { return running.sink.events.back(); }), R"({"logRecord":{"body":1}})");
  response = client.Ask(to("/webhook/gate", "application/json", " [1,\n2] \n"));
  EXPECT_EQ(json::parse(response.body())["unparsed_count"], 0);
  EXPECT_EQ(running.Do([&] { return running.sink.events.back(); }), "[1,\n2]");
  EXPECT_EQ(running.Do([&] { return running.sink.target; }), "gate");
  response = client.Ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(response.result_int(), 200U);
  EXPECT_EQ(json::parse(response.body())["version"]["number"], "8.0.0");
  response = client.Ask("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(response.result_int(), 200U);
  EXPECT_TRUE(response.body().empty());
  response = client.Ask(to("/v1/logs", "application/x-protobuf", "x"));
  EXPECT_EQ(response.result_int(), 415U);
  EXPECT_NE(json::parse(response.body())["message"].get<std::string>().find("JSON"), std::string::npos);
}

TEST(HttpJson, SignedEventsCarryTheirVerdict) {
  auto options = Options();
  auto keys = std::make_shared<SourceKeys>();
  ASSERT_TRUE(keys->Add("", "EdDSA", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"));
  options.keys = keys;
  Running running(options);
  Client client(running.port);
  ASSERT_TRUE(client.Handshake());
  const std::string jws = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9"
                          "g7sVvpAr_MuM0KA";
  const auto response = client.Ask(Post("{\"a\":1}\n\"" + jws + "g\"\n" + jws + "g\n\"" + jws + "w\"\n"));
  EXPECT_EQ(json::parse(response.body())["unparsed"], json::parse("[3]"));
  EXPECT_EQ(running.Do([&] { return running.sink.flags; }),
            (std::vector<std::uint16_t>{0, record::kFlagSignatureValid, record::kFlagSignatureValid, record::kFlagSignatureInvalid}));
  EXPECT_EQ(running.Do([&] { return running.server->counters().signatures_invalid; }), 1U);
}

TEST(HttpJson, PipelinedRequestsAreAnsweredInOrder) {
  Running running;
  Client client(running.port);
  ASSERT_TRUE(client.Handshake());
  ASSERT_TRUE(client.Send(Post("1\n") + Post("2\n3\n")));
  EXPECT_EQ(json::parse(client.Read().body())["ranges"], json::parse("[[0,0]]"));
  EXPECT_EQ(json::parse(client.Read().body())["ranges"], json::parse("[[1,2]]"));
}

TEST(HttpJson, AChunkedBodyIsRead) {
  Running running;
  Client client(running.port);
  ASSERT_TRUE(client.Handshake());
  const auto response = client.Ask(
      "POST /api/v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
      "4\r\n{\"a\"\r\n6\r\n:1}\n{}\r\n0\r\n\r\n");
  EXPECT_EQ(response.result_int(), 200U);
  EXPECT_EQ(running.Do([&] { return running.sink.events; }), (std::vector<std::string>{"{\"a\":1}", "{}"}));
}

TEST(HttpJson, AClientThatAsksFirstIsToldToGoOn) {
  Running running;
  Client client(running.port);
  ASSERT_TRUE(client.Handshake());
  ASSERT_TRUE(client.Send("POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"));
  EXPECT_EQ(client.Read().result_int(), 100U);
  EXPECT_EQ(client.Ask("{}").result_int(), 200U);
}

TEST(HttpJson, AnEmptyBodyIsAnsweredAndNothingIsStored) {
  Running running;
  Client client(running.port);
  ASSERT_TRUE(client.Handshake());
  const auto response = client.Ask(Post("\n"));
  EXPECT_EQ(response.result_int(), 200U);
  EXPECT_EQ(json::parse(response.body())["ranges"], json::array());
  EXPECT_TRUE(running.Do([&] { return running.sink.events; }).empty());
}

struct Refused {
  const char* name;
  std::string octets;
  unsigned status;
};
class Refusals : public ::testing::TestWithParam<Refused> {};

TEST_P(Refusals, AreAnsweredClosedAndStoreNothing) {
  auto options = Options();
  options.body_bytes_max = 100'000;
  Running running(options);
  Client client(running.port);
  ASSERT_TRUE(client.Handshake());
  const auto response = client.Ask(GetParam().octets);
  EXPECT_EQ(response.result_int(), GetParam().status);
  EXPECT_FALSE(response.keep_alive());
  EXPECT_TRUE(json::parse(response.body()).contains("error"));
  EXPECT_TRUE(client.IsClosed());
  EXPECT_TRUE(running.Do([&] { return running.sink.events; }).empty());
}

const std::string kHead = "POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n";

INSTANTIATE_TEST_SUITE_P(
    HttpJson, Refusals,
    ::testing::Values(Refused{"not_http", "<13>this is syslog\r\n\r\n", 400}, Refused{"get", "GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n", 405},
                      Refused{"two_lengths", kHead + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n1\n2", 400},
                      Refused{"length_and_chunks", kHead + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
                      Refused{"length_that_is_none", kHead + "Content-Length: +2\r\n\r\n1\n", 400},
                      Refused{"body_too_large", Post(std::string(100'001, '1')), 413},
                      Refused{"chunks_too_large", kHead + "Transfer-Encoding: chunked\r\n\r\n20000\r\n" + std::string(0x20000, '1') + "\r\n0\r\n\r\n", 413},
                      Refused{"bad_chunk", kHead + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400},
                      Refused{"header_too_large", kHead + "X: " + std::string(20'000, 'x') + "\r\n\r\n", 431},
                      Refused{"an_array", Post("[1]", "", "application/json"), 400}, Refused{"plain_text", Post("1", "", "text/plain"), 415}),
    [](const auto& refused) { return refused.param.name; });

TEST(HttpJson, TokensAreAskedForBeforeTheBodyIsRead) {
  auto options = Options();
  options.tokens = {"secret"};
  Running running(options);
  Client without(running.port);
  ASSERT_TRUE(without.Handshake());
  const auto refused = without.Ask(Post("1\n"));
  EXPECT_EQ(refused.result_int(), 401U);
  EXPECT_EQ(refused[http::field::www_authenticate], "Bearer");
  Client with(running.port);
  ASSERT_TRUE(with.Handshake());
  EXPECT_EQ(with.Ask(Post("1\n", "Authorization: Bearer secret\r\n")).result_int(), 200U);
}

TEST(HttpJson, HalfABodyStoresNothing) {
  Running running;
  {
    Client client(running.port);
    ASSERT_TRUE(client.Handshake());
    ASSERT_TRUE(client.Send("POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{}\n{}\n"));
  }
  EXPECT_TRUE(running.Eventually([&] { return running.server->counters().connections == 1 && running.server->counters().connections_open == 0; }));
  EXPECT_TRUE(running.Do([&] { return running.sink.events; }).empty());
}

TEST(HttpJson, AClaimedLengthReservesNothing) {
  auto options = Options();
  options.bodies_bytes_max = 10'000;
  Running running(options);
  Client claims(running.port);
  ASSERT_TRUE(claims.Handshake());
  ASSERT_TRUE(claims.Send(kHead + "Content-Length: 60000000\r\n\r\n1\n"));
  Client honest(running.port);
  ASSERT_TRUE(honest.Handshake());
  EXPECT_EQ(honest.Ask(Post("1\n")).result_int(), 200U);
  EXPECT_EQ(honest.Ask(Post(std::string(20'000, ' ') + "1\n")).result_int(), 503U);
  Client after(running.port);
  ASSERT_TRUE(after.Handshake());
  EXPECT_EQ(after.Ask(Post("1\n")).result_int(), 200U);
}

TEST(HttpJson, SlowHandshakesHeadersAndBodiesAreGivenUp) {
  auto options = Options();
  options.handshake_ms = 200;
  options.idle_ms = 300;
  options.body_stall_ms = 200;
  Running running(options);
  Client silent(running.port);
  Client header(running.port);
  ASSERT_TRUE(header.Handshake());
  ASSERT_TRUE(header.Send("POST /v1/ev"));
  Client body(running.port);
  ASSERT_TRUE(body.Handshake());
  ASSERT_TRUE(body.Send("POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"));
  EXPECT_TRUE(running.Eventually([&] { return running.server->counters().connections == 3 && running.server->counters().connections_open == 0; }));
  Client prompt(running.port);
  ASSERT_TRUE(prompt.Handshake());
  EXPECT_EQ(prompt.Ask(Post("1\n")).result_int(), 200U);
}

TEST(HttpJson, ConnectionsFromOneAddressAreLimited) {
  auto options = Options();
  options.connections_per_address_max = 2;
  Running running(options);
  {
    Client first(running.port);
    Client second(running.port);
    ASSERT_TRUE(first.Handshake());
    ASSERT_TRUE(second.Handshake());
    Client third(running.port);
    EXPECT_FALSE(third.Handshake());
    EXPECT_EQ(first.Ask(Post("1\n")).result_int(), 200U);
  }
  EXPECT_TRUE(running.Eventually([&] { return running.server->counters().connections_open == 0; }));
  Client later(running.port);
  EXPECT_TRUE(later.Handshake());
  EXPECT_EQ(running.Do([&] { return running.server->counters().connections_refused; }), 1U);
}

TEST(HttpJson, Tls13IsTheDefaultTls12IsTakenAndOlderIsRefused) {
  Running running;
  Client current(running.port);
  ASSERT_TRUE(current.Handshake());
  EXPECT_STREQ(SSL_get_version(current.ssl()), "TLSv1.3");
  Client older(running.port);
  SSL_set_max_proto_version(older.ssl(), TLS1_2_VERSION);
  ASSERT_TRUE(older.Handshake());
  EXPECT_STREQ(SSL_get_version(older.ssl()), "TLSv1.2");
  Client oldest(running.port);
  SSL_set_security_level(oldest.ssl(), 0);
  SSL_set_min_proto_version(oldest.ssl(), TLS1_VERSION);
  SSL_set_max_proto_version(oldest.ssl(), TLS1_1_VERSION);
  EXPECT_FALSE(oldest.Handshake());
}

TEST(HttpJson, OnlyHttp11IsNegotiated) {
  Running running;
  Client both(running.port);
  const std::string offers("\x02h2\x08http/1.1", 12);
  SSL_set_alpn_protos(both.ssl(), reinterpret_cast<const unsigned char*>(offers.data()), 12);
  ASSERT_TRUE(both.Handshake());
  const unsigned char* chosen = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(both.ssl(), &chosen, &size);
  EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(chosen), size), "http/1.1");
  Client only_h2(running.port);
  SSL_set_alpn_protos(only_h2.ssl(), reinterpret_cast<const unsigned char*>("\x02h2"), 3);
  EXPECT_FALSE(only_h2.Handshake());
}

TEST(HttpJson, ACertificateIsReplacedWithoutARestart) {
  Running running;
  Client before(running.port);
  ASSERT_TRUE(before.Handshake());
  const Pem next = SelfSigned();
  EXPECT_FALSE(running.Do([&] { return running.server->Reload(next.certificate, TestPem().key).has_value(); }));
  EXPECT_FALSE(running.Do([&] { return running.server->Reload("no", "no").has_value(); }));
  EXPECT_TRUE(running.Do([&] { return running.server->Reload(next.certificate, next.key).has_value(); }));
  Client after(running.port);
  ASSERT_TRUE(after.Handshake());
  const std::unique_ptr<X509, void (*)(X509*)> old_one(SSL_get1_peer_certificate(before.ssl()), X509_free);
  const std::unique_ptr<X509, void (*)(X509*)> new_one(SSL_get1_peer_certificate(after.ssl()), X509_free);
  EXPECT_NE(X509_cmp(old_one.get(), new_one.get()), 0);
  EXPECT_EQ(before.Ask(Post("1\n")).result_int(), 200U);
}

TEST(HttpJson, ABodyOfManyMegabytesIsKeptWhole) {
  Running running;
  Client client(running.port);
  ASSERT_TRUE(client.Handshake());
  std::string body;
  for (int i = 0; i < 100'000; ++i) body += "{\"number\":" + std::to_string(i) + ",\"text\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}\n";
  const auto response = client.Ask(Post(body));
  ASSERT_EQ(response.result_int(), 200U);
  EXPECT_EQ(json::parse(response.body())["ranges"], json::parse("[[0,99999]]"));
  std::string kept;
  for (const auto& event : running.Do([&] { return running.sink.events; })) kept += event + "\n";
  EXPECT_TRUE(kept == body);
}

TEST(HttpJson, WrongKeysAndWrongSocketsAreRefusedAtTheStart) {
  asio::io_context context;
  KeepingSink sink;
  SystemClock clock;
  std::uint16_t port = 0;
  auto options = Options();
  options.key_pem = SelfSigned().key;
  EXPECT_EQ(HttpJsonServer::Make(context, ListenOnLoopback(port), options, sink, clock).error().code, Code::kInvalid);
  EXPECT_EQ(HttpJsonServer::Make(context, UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)), Options(), sink, clock).error().code, Code::kIo);
}

}  // namespace
}  // namespace stele::ingest
