// Goal: addresses of flows are read strictly, and a batch counts as arrived only when the other side has ended the
// connection in order. Method: spellings; a TLS server on the loopback that reads everything, or goes away too early.
#include "appliance/alerts/receiver.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <thread>

#include "tests/unit/tls_material.h"

namespace stele::alerts {
namespace {

witness::Deadline In(int ms) { return std::chrono::steady_clock::now() + std::chrono::milliseconds(ms); }

TEST(Destination, NamesASiemOrAWebhookAndNothingElse) {
  const auto siem = ParseDestination("syslog-tls://siem.example.org");
  ASSERT_TRUE(siem.has_value());
  EXPECT_FALSE(siem->webhook);
  EXPECT_EQ(siem->url.port, 6514);
  EXPECT_EQ(ParseDestination("syslog-tls://[2001:db8::1]")->url.port, 6514);
  EXPECT_EQ(ParseDestination("syslog-tls://[2001:db8::1]:443")->url.port, 443);
  EXPECT_EQ(ParseDestination("syslog-tls://siem:443")->url.port, 443);
  const auto hook = ParseDestination("https://alerts.example.org/stele/hook");
  ASSERT_TRUE(hook.has_value());
  EXPECT_TRUE(hook->webhook);
  EXPECT_EQ(hook->url.port, 443);
  EXPECT_EQ(hook->url.path, "/stele/hook");
  for (const char* wrong : {"", "siem:6514", "http://a/", "syslog-tls://", "syslog-tls://a/path", "syslog://a",
                            "https://a?b", "https://u@a"})
    EXPECT_FALSE(ParseDestination(wrong).has_value()) << wrong;
}

class ReceiverTest : public testing::Test {
 protected:
  void SetUp() override {
    (void)std::signal(SIGPIPE, SIG_IGN);  // as stele-courier does
    listener_ = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    ASSERT_EQ(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), size), 0);
    ASSERT_EQ(::listen(listener_.get(), 4), 0);
    ASSERT_EQ(::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    port_ = ntohs(address.sin_port);
  }
  void TearDown() override {
    if (server_.joinable()) server_.join();
  }
  // Serves one connection: reads until `least` bytes or the end, then leaves.
  void Serve(std::size_t least) {
    server_ = std::thread([this, least] {
      const auto tls = witness::TlsContext::ForServer(own_.CertificatePem(), own_.KeyPem());
      UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      auto wire = tls->Accept(std::move(fd), In(5'000));
      if (!wire) return;
      std::array<std::byte, 4'096> chunk;
      while (got_.size() < least) {
        const auto count = (*wire)->Read(chunk, In(5'000));
        if (!count || *count == 0) return;
        got_ += AsText(ByteView(chunk).first(*count));
      }
    });
  }
  [[nodiscard]] Receiver Open(const std::string& ca_pem, const std::string& server_name = "") const {
    ReceiverSettings settings;
    settings.to = *ParseDestination("syslog-tls://127.0.0.1:" + std::to_string(port_));
    settings.ca_pem = ca_pem;
    settings.server_name = server_name;
    auto receiver = Receiver::Open(std::move(settings), origin_, key_);
    EXPECT_TRUE(receiver.has_value());
    return std::move(*receiver);
  }
  static std::vector<Alert> Batch(std::size_t count, std::size_t bytes) {
    std::vector<Alert> batch(count);
    for (Alert& alert : batch) alert.payload = Bytes(bytes, std::byte{'x'});
    return batch;
  }

  test::Material ca_ = test::Issue({"authority", "", true});
  test::Material own_ = test::Issue({"siem", "DNS:siem.example.org,IP:127.0.0.1"}, &ca_);
  Origin origin_{"00ff", "origin", "box", "https://stele"};
  AlertKey key_ = *AlertKeyOf(Hash{});
  UniqueFd listener_;
  std::uint16_t port_ = 0;
  std::thread server_;
  std::string got_;
};

TEST_F(ReceiverTest, ABatchHasArrivedWhenTheServerHasReadItToItsEnd) {
  Serve(~std::size_t{0});
  const auto arrival = Open(ca_.CertificatePem()).Deliver(Batch(3, 100), std::nullopt);
  EXPECT_EQ(arrival.count, 3U) << (arrival.error ? arrival.error->context : "");
  server_.join();
  EXPECT_EQ(std::count(got_.begin(), got_.end(), '['), 3);
}

TEST_F(ReceiverTest, ABatchHasNotArrivedWhenTheServerLeavesBeforeItsEnd) {
  Serve(1);
  const auto arrival = Open(ca_.CertificatePem()).Deliver(Batch(200, 60'000), std::nullopt);
  EXPECT_EQ(arrival.count, 0U);
  EXPECT_TRUE(arrival.error.has_value());
}

TEST_F(ReceiverTest, NothingIsSentToWhoHasAnotherAuthoritysCertificateOrAnothersName) {
  const test::Material stranger = test::Issue({"stranger", "", true});
  Serve(1);
  auto arrival = Open(stranger.CertificatePem()).Deliver(Batch(1, 10), std::nullopt);
  ASSERT_TRUE(arrival.error.has_value());
  EXPECT_EQ(arrival.error->code, Code::kDenied);
  server_.join();
  Serve(1);
  arrival = Open(ca_.CertificatePem(), "other.example.org").Deliver(Batch(1, 10), std::nullopt);
  ASSERT_TRUE(arrival.error.has_value());
  EXPECT_EQ(arrival.error->code, Code::kDenied);
  server_.join();
  EXPECT_TRUE(got_.empty());
  Serve(~std::size_t{0});
  EXPECT_EQ(Open(ca_.CertificatePem(), "siem.example.org").Deliver(Batch(1, 10), std::nullopt).count, 1U);
}

}  // namespace
}  // namespace stele::alerts
