// Goal: what may be asked, and by whom it seems to be asked. Method: tables over parsed heads; no network.
#include "web/server/policy.h"

#include <gtest/gtest.h>

namespace stele::web {
namespace {

const Hosts& OurHosts() {
  static const Hosts hosts({"localhost", "127.0.0.1", "::1", "Stele.Example.ORG"});
  return hosts;
}

tl::expected<Request, Refusal> JudgeText(const std::string& lines) {
  const auto head = ParseHead(lines + "\r\n");
  if (!head) {
    ADD_FAILURE() << head.error().context << ": " << lines;
    return tl::unexpected(Refusal{});
  }
  return Judge(*head, OurHosts());
}
tl::expected<Request, Refusal> JudgeGet(const std::string& path, const std::string& more = {}) {
  return JudgeText("GET " + path + " HTTP/1.1\r\nHost: localhost:9443\r\n" + more);
}
int StatusOf(const tl::expected<Request, Refusal>& judged) { return judged ? 200 : judged.error().status; }

TEST(Policy, AnOrdinaryApiRequestIsPassedOn) {
  const auto judged = JudgeGet("/api/v1/search?q=denied",
                               "Cookie: theme=dark; __Host-stele=abc-DEF_123; x=y\r\nSec-Fetch-Site: same-origin\r\n"
                               "Last-Event-ID: 41\r\nX-Forwarded-For: 10.0.0.1\r\n");
  ASSERT_TRUE(judged) << judged.error().message;
  EXPECT_TRUE(judged->api);
  EXPECT_FALSE(judged->head_only);
  EXPECT_EQ(judged->session_token, "abc-DEF_123");
  EXPECT_EQ(judged->headers, (std::map<std::string, std::string>{{"last-event-id", "41"}}));
  EXPECT_EQ(judged->query.at("q"), "denied");
}

TEST(Policy, OnlyKnownHostsAreAnswered) {
  for (const char* known :
       {"localhost", "localhost:9443", "LOCALHOST:1", "127.0.0.1:65535", "[::1]", "[::1]:9443", "stele.example.org"}) {
    EXPECT_TRUE(OurHosts().Knows(known)) << known;
  }
  for (const char* unknown : {"", "evil.example", "localhost.evil.example", "127.0.0.1.nip.io",
                              "localhost:", "localhost:0", "localhost:65536", "localhost:9443x", "[::2]", "[::1", "::1",
                              "user@localhost", "localhost, evil", "localhost.", "[localhost]", ":9443"}) {
    EXPECT_FALSE(OurHosts().Knows(unknown)) << unknown;
  }
  EXPECT_EQ(StatusOf(JudgeText("GET / HTTP/1.1\r\nHost: evil.example\r\n")), 421);
  EXPECT_EQ(StatusOf(JudgeText("GET / HTTP/1.1\r\n")), 400);
}

TEST(Policy, OtherSitesMayOnlyLinkToTheFrontPage) {
  for (const char* site : {"cross-site", "same-site", "SAME-ORIGIN", "", "x"}) {
    const std::string line = "Sec-Fetch-Site: " + std::string(site) + "\r\n";
    EXPECT_EQ(StatusOf(JudgeGet("/api/v1/status", line)), 403) << site;
    EXPECT_EQ(
        StatusOf(JudgeGet("/api/v1/search?q=x", line + "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n")),
        403);
    EXPECT_EQ(StatusOf(JudgeGet("/", line + "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n")), 403);
    EXPECT_EQ(StatusOf(JudgeGet("/main.js", line + "Sec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: script\r\n")), 403);
    EXPECT_EQ(StatusOf(JudgeGet("/", line + "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n")), 200);
  }
  for (const char* site : {"same-origin", "none"}) {
    EXPECT_EQ(StatusOf(JudgeGet("/api/v1/status", "Sec-Fetch-Site: " + std::string(site) + "\r\n")), 200);
  }
  EXPECT_EQ(StatusOf(JudgeGet("/api/v1/status")), 200) << "no browser, no fetch metadata: the session decides";
}

TEST(Policy, TheOriginMustBeThisVeryServer) {
  EXPECT_EQ(StatusOf(JudgeGet("/api/v1/status", "Origin: https://localhost:9443\r\n")), 200);
  for (const char* origin : {"https://localhost", "http://localhost:9443", "https://evil.example", "null", "",
                             "https://localhost:9443.evil.example"}) {
    EXPECT_EQ(StatusOf(JudgeGet("/api/v1/status", "Origin: " + std::string(origin) + "\r\n")), 403) << origin;
  }
}

std::string Sign(const std::string& path, const std::string& lines) {
  return "POST /api/v1/" + path + " HTTP/1.1\r\nHost: localhost\r\n" + lines;
}

TEST(Policy, SignInWantsEveryProofOfItsOrigin) {
  const std::string origin = "Origin: https://localhost\r\n";
  const std::string site = "Sec-Fetch-Site: same-origin\r\n";
  const std::string type = "Content-Type: application/json\r\n";
  const auto judged = JudgeText(Sign("sign-in", origin + site + type + "Content-Length: 10\r\n"));
  ASSERT_TRUE(judged);
  EXPECT_TRUE(judged->sign_in);
  EXPECT_EQ(judged->content_length, 10U);
  EXPECT_EQ(StatusOf(JudgeText(Sign("sign-in", site + type))), 403);
  EXPECT_EQ(StatusOf(JudgeText(Sign("sign-in", origin + type))), 403);
  EXPECT_EQ(StatusOf(JudgeText(Sign("sign-in", origin + site))), 400);
  EXPECT_EQ(StatusOf(JudgeText(Sign("sign-in", origin + "Sec-Fetch-Site: none\r\n" + type))), 403);
  EXPECT_EQ(StatusOf(JudgeText(Sign("sign-in", "Origin: https://evil.example\r\n" + site + type))), 403);
  for (const char* wrong :
       {"text/plain", "application/x-www-form-urlencoded", "application/jsonp", "multipart/form-data"}) {
    EXPECT_EQ(StatusOf(JudgeText(Sign("sign-in", origin + site + "Content-Type: " + wrong + "\r\n"))), 400) << wrong;
  }
  EXPECT_TRUE(JudgeText(Sign("sign-in", origin + site + "Content-Type: application/json; charset=utf-8\r\n")));
  EXPECT_TRUE(JudgeText(Sign("sign-out", origin + site)));
  EXPECT_EQ(StatusOf(JudgeText(Sign("sign-out", origin))), 403);
  EXPECT_EQ(StatusOf(JudgeText(Sign("sign-out", origin + site + "Content-Length: 2\r\n"))), 400);
}

TEST(Policy, MethodsAreFewAndNamed) {
  for (const char* method : {"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get", "BREW"}) {
    const auto judged = JudgeText(std::string(method) + " /api/v1/status HTTP/1.1\r\nHost: localhost\r\n");
    ASSERT_FALSE(judged) << method;
    EXPECT_EQ(judged.error().status, 405) << method;
    EXPECT_EQ(judged.error().allow, "GET, HEAD");
  }
  for (const char* method : {"GET", "HEAD", "PUT"}) {
    const auto judged = JudgeText(std::string(method) + " /api/v1/sign-in HTTP/1.1\r\nHost: localhost\r\n");
    ASSERT_FALSE(judged) << method;
    EXPECT_EQ(judged.error().status, 405);
    EXPECT_EQ(judged.error().allow, "POST");
  }
}

TEST(Policy, CookiesThatAreNoTokenAreNoSession) {
  const auto token = [](const std::string& cookies) {
    const auto judged = JudgeGet("/api/v1/status", "Cookie: " + cookies + "\r\n");
    return judged ? judged->session_token : "refused " + std::to_string(judged.error().status);
  };
  EXPECT_EQ(token("__Host-stele=abc"), "abc");
  EXPECT_EQ(token(" __Host-stele = abc "), "abc");
  EXPECT_EQ(token("__host-stele=abc"), "");
  EXPECT_EQ(token("x__Host-stele=abc"), "");
  EXPECT_EQ(token("__Host-stele"), "");
  EXPECT_EQ(token("__Host-stele=a,b"), "");
  EXPECT_EQ(token("__Host-stele=\"abc\""), "");
  EXPECT_EQ(token("__Host-stele=" + std::string(257, 'a')), "");
  EXPECT_EQ(token("__Host-stele=a; __Host-stele=b"), "refused 400");
}

TEST(Policy, LengthsAndConnectionOptionsAreExact) {
  for (const char* line : {"Content-Length: 1", "Content-Length: 01", "Content-Length: +0", "Content-Length: 0x0",
                           "Transfer-Encoding: chunked", "Transfer-Encoding: identity", "Expect: 100-continue",
                           "Upgrade: h2c", "Connection: upgrade", "Connection: close, cookie", "Host: localhost",
                           "Sec-Fetch-Site: none\r\nSec-Fetch-Site: none", "Cookie: a=b\r\nCookie: c=d"}) {
    const auto head = ParseHead("GET / HTTP/1.1\r\nHost: localhost\r\n" + std::string(line) + "\r\n\r\n");
    if (!head) continue;  // the parser was first
    EXPECT_EQ(StatusOf(Judge(*head, OurHosts())), 400) << line;
  }
  EXPECT_TRUE(JudgeGet("/", "Content-Length: 0\r\n"));
  EXPECT_FALSE(JudgeGet("/", "Connection: close\r\n")->keep_alive);
  EXPECT_TRUE(JudgeGet("/", "Connection: Keep-Alive\r\n")->keep_alive);
}

}  // namespace
}  // namespace stele::web
