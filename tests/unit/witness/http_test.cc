// Goal: the witness's server and our client speak tlog-witness to each other, over TCP and TLS, and neither hangs or
// dies of what the other sends. Method: a real server on the loopback, our client, and raw bytes by hand.
#include "appliance/witness/http.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <thread>

#include "appliance/base/system.h"
#include "appliance/witness/server.h"
#include "tests/unit/tls_material.h"
#include "tests/unit/witness/small_log.h"

namespace stele::witness {
namespace {

Deadline In(int ms) { return std::chrono::steady_clock::now() + std::chrono::milliseconds(ms); }

class WitnessServerTest : public testing::Test {
 protected:
  void SetUp() override {
    MakeWitnessOf(dir_.path(), "witness.invalid/w", {log_.key()});
    auto witness = Witness::Open(dir_.path(), clock_);
    ASSERT_TRUE(witness.has_value());
    witness_ = std::move(*witness);
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe(ends.data()), 0);
    stop_read_ = UniqueFd(ends[0]);
    stop_write_ = UniqueFd(ends[1]);
  }
  void TearDown() override {
    (void)!::write(stop_write_.get(), "s", 1);
    if (server_.joinable()) server_.join();
  }

  void Start(const TlsContext* tls) {
    UniqueFd listener(::socket(AF_INET, SOCK_STREAM, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    ASSERT_EQ(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), size), 0);
    ASSERT_EQ(::listen(listener.get(), 16), 0);
    ASSERT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    port_ = ntohs(address.sin_port);
    server_ = std::thread([this, tls, fd = std::move(listener)]() mutable {
      const auto served =
          ServeWitness(*witness_, std::move(fd), tls, stop_read_.get(), [](const std::string&) {}, {4, 500});
      EXPECT_TRUE(served.has_value());
    });
  }
  UniqueFd Dial() {
    const auto addresses = LookUp("127.0.0.1", port_);
    EXPECT_TRUE(addresses.has_value());
    auto fd = ConnectTo(*addresses, In(2'000));
    EXPECT_TRUE(fd.has_value());
    return fd ? std::move(*fd) : UniqueFd();
  }
  Result<HttpAnswer> Ask(const std::string& path, const std::string& body) {
    const auto wire = PlainWire(Dial());
    return Post(*wire, "witness.invalid", path, body, 1 << 16, In(2'000));
  }
  std::string Raw(std::string_view bytes) {
    const auto wire = PlainWire(Dial());
    EXPECT_TRUE(wire->Write(AsBytes(bytes), In(2'000)).has_value());
    std::string all;
    std::array<std::byte, 4096> chunk{};
    for (;;) {
      const auto got = wire->Read(chunk, In(2'000));
      if (!got || *got == 0) return all;
      all += AsText(ByteView(chunk).first(*got));
    }
  }

  TemporaryDir dir_;
  SystemClock clock_;
  SmallLog log_{"log.invalid/a"};
  std::unique_ptr<Witness> witness_;
  UniqueFd stop_read_, stop_write_;
  std::uint16_t port_ = 0;
  std::thread server_;
};

TEST_F(WitnessServerTest, CosignsOverPlainHttpWithAnyPrefix) {
  Start(nullptr);
  const auto good = Ask("/some/prefix/add-checkpoint", log_.Request(0, 64));
  ASSERT_TRUE(good.has_value()) << Describe(good.error());
  EXPECT_EQ(good->status, 200);
  EXPECT_TRUE(ledger::ParseSignatureLines(good->body).has_value());
  const auto conflict = Ask("/add-checkpoint", log_.Request(0, 100));
  ASSERT_TRUE(conflict.has_value());
  EXPECT_EQ(conflict->status, 409);
  EXPECT_EQ(conflict->content_type, "text/x.tlog.size");
  const auto nowhere = Ask("/elsewhere", "x");
  ASSERT_TRUE(nowhere.has_value());
  EXPECT_EQ(nowhere->status, 404);
}

TEST_F(WitnessServerTest, KeepsAConnectionOpenForTheNextRequest) {
  Start(nullptr);
  const auto request = [this](std::uint64_t from, std::uint64_t to) {
    const std::string body = log_.Request(from, to);
    return "POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
           body;
  };
  const std::string answers = Raw(request(0, 64) + request(64, 100));
  const std::size_t first = answers.find("HTTP/1.1 200");
  ASSERT_NE(first, std::string::npos) << answers;
  EXPECT_NE(answers.find("HTTP/1.1 200", first + 1), std::string::npos) << answers;
}

TEST_F(WitnessServerTest, MalformedHttpIsAnsweredAndNeverEndsTheServer) {
  Start(nullptr);
  EXPECT_NE(Raw("GET /add-checkpoint HTTP/1.1\r\nHost: w\r\nConnection: close\r\n\r\n").find(" 405 "),
            std::string::npos);
  EXPECT_NE(Raw("nonsense\r\n\r\n").find(" 400 "), std::string::npos);
  EXPECT_NE(Raw("POST /add-checkpoint HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n").find(" 413 "), std::string::npos);
  EXPECT_EQ(Raw("POST /add-che"), "") << "a client that says no more is closed after its time";
  EXPECT_EQ(Ask("/add-checkpoint", log_.Request(0, 64))->status, 200);
}

TEST_F(WitnessServerTest, TlsClientTrustsOnlyWhoItShouldAndOnlyForThatName) {
  const test::Material authority = test::Issue({.common_name = "authority", .authority = true});
  const test::Material own = test::Issue({.common_name = "witness", .alternative_names = "DNS:localhost"}, &authority);
  const auto server = TlsContext::ForServer(own.CertificatePem(), own.KeyPem());
  ASSERT_TRUE(server.has_value()) << Describe(server.error());
  Start(&*server);
  const auto trusting = TlsContext::ForClient(authority.CertificatePem());
  ASSERT_TRUE(trusting.has_value());
  auto wire = trusting->Connect(Dial(), "localhost", In(2'000));
  ASSERT_TRUE(wire.has_value()) << Describe(wire.error());
  const auto answer = Post(**wire, "localhost", "/add-checkpoint", log_.Request(0, 64), 1 << 16, In(2'000));
  ASSERT_TRUE(answer.has_value()) << Describe(answer.error());
  EXPECT_EQ(answer->status, 200);
  EXPECT_FALSE(trusting->Connect(Dial(), "another.invalid", In(2'000)).has_value());
  const auto nobody = TlsContext::ForClient("");
  ASSERT_TRUE(nobody.has_value());
  EXPECT_FALSE(nobody->Connect(Dial(), "localhost", In(2'000)).has_value());
}

TEST(WitnessHttp, AnswersOfOtherServersAreBounded) {
  const auto answer_of = [](const std::string& bytes) {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends.data()), 0);
    UniqueFd theirs(ends[1]);
    EXPECT_EQ(::send(theirs.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
    EXPECT_EQ(::shutdown(theirs.get(), SHUT_WR), 0);
    const auto wire = PlainWire(UniqueFd(ends[0]));
    return Post(*wire, "w", "/add-checkpoint", "old 0\n", 100, In(500));
  };
  const auto chunked = answer_of("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
  ASSERT_TRUE(chunked.has_value()) << Describe(chunked.error());
  EXPECT_EQ(chunked->body, "abc");
  const auto until_close = answer_of("HTTP/1.1 409 Conflict\r\n\r\n64\n");
  ASSERT_TRUE(until_close.has_value());
  EXPECT_EQ(until_close->body, "64\n");
  EXPECT_FALSE(answer_of("HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n").has_value());
  EXPECT_FALSE(answer_of("HTTP/1.1 200 OK\r\n\r\n" + std::string(101, 'x')).has_value());
  EXPECT_FALSE(answer_of("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc").has_value());
  EXPECT_FALSE(answer_of("HTTP/1.1 200 OK\r\nX: " + std::string(kHttpHeadBytesMax, 'x') + "\r\n\r\n").has_value());
  EXPECT_FALSE(answer_of("").has_value());
}

}  // namespace
}  // namespace stele::witness
