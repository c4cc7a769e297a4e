// Goal: hostile requests over a real TLS connection get exactly the planned answer, and never reach stele-query.
// Method: raw bytes, one connection each (threats: CL.TE smuggling, bad Host, traversal, huge heads).
#include <gtest/gtest.h>

#include "tests/unit/web/web_fixture.h"
#include "web/server/answer.h"
#include "web/server/assets.h"

namespace stele::web::test {
namespace {

using namespace std::string_view_literals;

struct Row {
  const char* name;
  std::string request;
  int status;  // 0: closed without an answer
  bool closes;
};

std::string Post(std::string_view path, std::string_view lines, std::string_view body = {}) {
  return "POST " + std::string(path) + " HTTP/1.1\r\nHost: localhost\r\n" + std::string(lines) + "\r\n" +
         std::string(body);
}
constexpr std::string_view kProofs =
    "Origin: https://localhost\r\nSec-Fetch-Site: same-origin\r\nContent-Type: application/json\r\n";

std::vector<Row> Matrix() {
  const std::string proofs(kProofs);
  return {
      // smuggling: two lengths, or a length and chunks
      {"CL.TE", Post("/api/v1/sign-in", proofs + "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nG"),
       400, true},
      {"TE.CL",
       Post("/api/v1/sign-in", proofs + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
            "5c\r\nGPOST / HTTP/1.1\r\n"),
       400, true},
      {"TE alone", Post("/api/v1/sign-in", proofs + "Transfer-Encoding: chunked\r\n", "0\r\n\r\n"), 400, true},
      {"TE obscured", Post("/api/v1/sign-in", proofs + "Transfer-Encoding: xchunked\r\nContent-Length: 2\r\n", "{}"),
       400, true},
      {"TE twice",
       Post("/api/v1/sign-in", proofs + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n"),
       400, true},
      {"CL twice, different", Post("/api/v1/sign-in", proofs + "Content-Length: 2\r\nContent-Length: 9\r\n", "{}"), 400,
       true},
      {"CL twice, same", Post("/api/v1/sign-in", proofs + "Content-Length: 2\r\nContent-Length: 2\r\n", "{}"), 400,
       true},
      {"CL list", Post("/api/v1/sign-in", proofs + "Content-Length: 2, 2\r\n", "{}"), 400, true},
      {"CL negative", Post("/api/v1/sign-in", proofs + "Content-Length: -1\r\n"), 400, true},
      {"CL plus", Post("/api/v1/sign-in", proofs + "Content-Length: +2\r\n", "{}"), 400, true},
      {"CL overflow", Post("/api/v1/sign-in", proofs + "Content-Length: 99999999999999999999999\r\n"), 400, true},
      {"CL with spaces inside", Post("/api/v1/sign-in", proofs + "Content-Length: 2 2\r\n", "{}"), 400, true},
      {"body on GET", Get("/api/v1/status", "Content-Length: 5\r\n") + "GET /", 400, true},
      {"body too large", Post("/api/v1/sign-in", proofs + "Content-Length: 65537\r\n"), 413, true},
      // lines and fields
      {"bare LF", "GET / HTTP/1.1\nHost: localhost\n\n" + Get("/"), 400, true},
      {"bare LF in fields", "GET / HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n", 400, true},
      {"bare CR in fields", "GET / HTTP/1.1\r\nHost: localhost\r\nX: a\rb\r\n\r\n", 400, true},
      {"folded line", "GET / HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n", 400, true},
      {"space before colon", "GET / HTTP/1.1\r\nHost : localhost\r\n\r\n", 400, true},
      {"NUL in a field", std::string("GET / HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n"sv), 400, true},
      {"leading empty line", "\r\n" + Get("/"), 400, true},
      {"HTTP/1.0", "GET / HTTP/1.0\r\nHost: localhost\r\n\r\n", 400, true},
      {"HTTP/0.9", "GET /\r\n\r\n", 400, true},
      {"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, true},
      {"not HTTP", std::string(64, '\x16') + "\r\n\r\n", 400, true},
      {"65 fields",
       [] {
         std::string r = "GET / HTTP/1.1\r\nHost: localhost\r\n";
         for (int i = 0; i < 64; ++i) r += "A: b\r\n";
         return r + "\r\n";
       }(),
       400, true},
      {"huge field", "GET / HTTP/1.1\r\nHost: localhost\r\nX: " + std::string(20'000, 'a') + "\r\n\r\n", 431, true},
      {"huge head without end", "GET / HTTP/1.1\r\nHost: localhost\r\nX: " + std::string(60'000, 'a'), 431, true},
      {"huge target", Get("/?q=" + std::string(9'000, 'a')), 400, true},
      {"Expect", Post("/api/v1/sign-in", proofs + "Expect: 100-continue\r\nContent-Length: 2\r\n", "{}"), 400, true},
      {"Upgrade", Get("/", "Connection: Upgrade\r\nUpgrade: websocket\r\n"), 400, true},
      {"hop-by-hop trick", Get("/api/v1/status", "Connection: close, cookie\r\n"), 400, true},
      // Host
      {"no Host", "GET / HTTP/1.1\r\n\r\n", 400, true},
      {"two Hosts", "GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", 400, true},
      {"rebound Host", "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421, true},
      {"Host with a suffix", "GET / HTTP/1.1\r\nHost: localhost.evil.example\r\n\r\n", 421, true},
      {"Host with user", "GET / HTTP/1.1\r\nHost: localhost@evil.example\r\n\r\n", 421, true},
      {"absolute target", "GET https://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, true},
      {"asterisk target", "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, true},
      {"CONNECT", "CONNECT localhost:443 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, true},
      // paths
      {"traversal", Get("/../../etc/passwd"), 400, true},
      {"encoded traversal", Get("/%2e%2e/%2e%2e/etc/passwd"), 400, true},
      {"encoded slash", Get("/..%2f..%2fetc/passwd"), 400, true},
      {"double encoding", Get("/%252e%252e/etc/passwd"), 400, true},
      {"NUL in the path", Get("/index.html%00.js"), 400, true},
      {"backslash", Get("/..\\..\\etc\\passwd"), 400, true},
      {"encoded backslash", Get("/..%5c..%5cetc"), 400, true},
      {"double slash", Get("//evil.example/"), 400, true},
      {"query twice", Get("/api/v1/search?q=a&q=b"), 400, true},
      {"query not UTF-8", Get("/api/v1/search?q=%ff"), 400, true},
      {"a file that is not there", Get("/etc/passwd"), 404, false},
      {"an API that is not there", Get("/api/v2/status"), 404, false},
      // methods
      {"PUT", "PUT /api/v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n", 405, true},
      {"DELETE", "DELETE /api/v1/record/1 HTTP/1.1\r\nHost: localhost\r\n\r\n", 405, true},
      {"TRACE", "TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405, true},
      {"POST elsewhere", Post("/api/v1/search", proofs + "Content-Length: 0\r\n"), 405, false},
      {"GET of sign-in", Get("/api/v1/sign-in"), 405, false},
      {"lower-case get", "get / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405, true},
      // where it comes from
      {"cross-site API", Get("/api/v1/status", "Sec-Fetch-Site: cross-site\r\n"), 403, false},
      {"same-site API", Get("/api/v1/status", "Sec-Fetch-Site: same-site\r\n"), 403, false},
      {"other Origin", Get("/api/v1/status", "Origin: https://evil.example\r\n"), 403, false},
      {"null Origin", Get("/api/v1/status", "Origin: null\r\n"), 403, false},
      {"sign-in without Sec-Fetch-Site",
       Post("/api/v1/sign-in", "Origin: https://localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n",
            "{}"),
       403, true},
      {"sign-in without Origin",
       Post("/api/v1/sign-in", "Sec-Fetch-Site: same-origin\r\nContent-Type: application/json\r\nContent-Length: 2\r\n",
            "{}"),
       403, true},
      {"sign-in as a form",
       Post("/api/v1/sign-in",
            "Origin: https://localhost\r\nSec-Fetch-Site: same-origin\r\nContent-Type: text/plain\r\nContent-Length: "
            "2\r\n",
            "{}"),
       400, true},
      {"two session cookies", Get("/api/v1/status", "Cookie: __Host-stele=a; __Host-stele=b\r\n"), 400, true},
      {"two Cookie fields", Get("/api/v1/status", "Cookie: __Host-stele=a\r\nCookie: __Host-stele=b\r\n"), 400, true},
  };
}

void ExpectSecurityFields(const Reply& reply, const std::string& name) {
  EXPECT_EQ(reply.Field("content-security-policy"), kContentSecurityPolicy) << name;
  EXPECT_EQ(reply.Field("cross-origin-opener-policy"), "same-origin") << name;
  EXPECT_EQ(reply.Field("cross-origin-embedder-policy"), "require-corp") << name;
  EXPECT_EQ(reply.Field("cross-origin-resource-policy"), "same-origin") << name;
  EXPECT_EQ(reply.Field("x-content-type-options"), "nosniff") << name;
  EXPECT_EQ(reply.Field("referrer-policy"), "no-referrer") << name;
  EXPECT_NE(reply.Field("permissions-policy"), "") << name;
  EXPECT_NE(reply.Field("strict-transport-security"), "") << name;
  EXPECT_NE(reply.Field("date"), "") << name;
  EXPECT_EQ(reply.Field("server"), "") << name;
}

TEST(Requests, TheMatrixOfHostileRequestsGetsItsAnswers) {
  RunningServer server;
  const auto query =
      server.Connect([](QueryPeer& peer, const channel::ApiRequest& request) { peer.Reply(request.id, "{}"); });
  const std::vector<Row> rows = Matrix();
  EXPECT_GE(rows.size(), 60U);
  for (const Row& row : rows) {
    Client client(server.port());
    ASSERT_TRUE(client.connected()) << row.name;
    const Reply reply = client.Ask(row.request);
    EXPECT_EQ(reply.status, row.status) << row.name;
    EXPECT_TRUE(reply.complete) << row.name;
    ExpectSecurityFields(reply, row.name);
    EXPECT_EQ(reply.Field("cache-control"), "no-store") << row.name;
    EXPECT_EQ(reply.Field("content-type"), "application/json") << row.name;
    EXPECT_EQ(reply.body.rfind("{\"error\":{\"code\":\"", 0), 0U) << row.name << reply.body;
    EXPECT_EQ(!reply.Field("allow").empty(), row.status == 405) << row.name;
    EXPECT_EQ(reply.Field("connection"), row.closes ? "close" : "") << row.name;
    if (row.closes) {
      EXPECT_TRUE(client.WaitForClose(5'000)) << row.name;
    } else {
      EXPECT_EQ(client.Ask(Get("/api/v1/status")).status, 200) << row.name << ": the connection goes on";
    }
  }
  std::size_t went_on = 0;
  for (const Row& row : rows) went_on += row.closes ? 0U : 1U;
  EXPECT_EQ(query->request_count(), went_on) << "nothing hostile was passed on";
}

TEST(Requests, TheFrontPageIsServedWithItsEtagAndRevalidated) {
  RunningServer server;
  Client client(server.port());
  const Reply page = client.Ask(Get("/"));
  EXPECT_EQ(page.status, 200);
  EXPECT_EQ(page.body, FindAsset("/")->bytes);
  EXPECT_EQ(page.Field("content-type"), "text/html; charset=utf-8");
  EXPECT_EQ(page.Field("cache-control"), "no-cache");
  ExpectSecurityFields(page, "front page");
  const std::string etag = page.Field("etag");
  ASSERT_EQ(etag.size(), 66U);
  const Reply again = client.Ask(Get("/index.html", "If-None-Match: " + etag + "\r\n"));
  EXPECT_EQ(again.status, 304);
  EXPECT_EQ(again.body, "");
  ExpectSecurityFields(again, "304");
  const Reply head = client.Ask("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n", true);
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.Field("content-length"), std::to_string(page.body.size()));
  EXPECT_EQ(client.Ask(Get("/", "Connection: close\r\n")).Field("connection"), "close");
  EXPECT_TRUE(client.WaitForClose(5'000));
}

TEST(Requests, EveryFileOfTheViewerIsServed) {
  RunningServer server;
  Client client(server.port());
  for (const Asset& asset : AllAssets()) {
    const Reply reply = client.Ask(Get(asset.path));
    EXPECT_EQ(reply.status, 200) << asset.path;
    EXPECT_EQ(reply.body, asset.bytes) << asset.path;
    EXPECT_EQ(reply.Field("content-type"), asset.content_type);
    EXPECT_EQ(reply.Field("content-disposition"), asset.path == "/verify.html" ? "attachment; filename=\"verify.html\"" : "")
        << "a page for another machine is saved, not opened here";
    EXPECT_EQ(reply.Field("cache-control"), asset.immutable ? "public, max-age=31536000, immutable" : "no-cache");
  }
}

TEST(Requests, ApiRequestsReachTheQuerySideWholeAndAnswersComeBack) {
  RunningServer server;
  const auto query = server.Connect([](QueryPeer& peer, const channel::ApiRequest& request) {
    peer.Respond(request.id, 200, "application/json", {{"set-session", "fresh-token"}, {"x-secret", "no"}});
    EXPECT_TRUE(peer.Part(request.id, "{\"a\":", false));
    EXPECT_TRUE(peer.Part(request.id, "1}", true));
  });
  Client client(server.port());
  const Reply reply =
      client.Ask(Get("/api/v1/search?q=x+y", "Cookie: __Host-stele=tok\r\nSec-Fetch-Site: same-origin\r\n"));
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.body, "{\"a\":1}");
  EXPECT_EQ(reply.Field("set-cookie"), "__Host-stele=fresh-token; Secure; HttpOnly; SameSite=Strict; Path=/");
  EXPECT_EQ(reply.Field("cache-control"), "no-store");
  EXPECT_EQ(reply.Field("x-secret"), "");
  ExpectSecurityFields(reply, "api");
  const auto asked = query->WaitForRequest(0);
  ASSERT_TRUE(asked);
  EXPECT_EQ(asked->method, "GET");
  EXPECT_EQ(asked->path, "/api/v1/search");
  EXPECT_EQ(asked->query.at("q"), "x y");
  EXPECT_EQ(asked->session_token, "tok");
  EXPECT_EQ(asked->peer, "127.0.0.1");
  EXPECT_EQ(asked->certificate_sha256, "");
}

TEST(Requests, SignInAndSignOutCarryBodyAndCookie) {
  RunningServer server;
  const auto query = server.Connect([](QueryPeer& peer, const channel::ApiRequest& request) {
    if (request.path == "/api/v1/sign-out") {
      peer.Respond(request.id, 200, "application/json", {{"clear-session", "1"}});
    } else {
      peer.Respond(request.id, 401, "application/json", {{"retry-after", "4"}});
    }
    EXPECT_TRUE(peer.Part(request.id, "{}", true));
  });
  Client client(server.port());
  const Reply refused = client.Ask(SignIn("{\"user\":\"anna\"}"));
  EXPECT_EQ(refused.status, 401);
  EXPECT_EQ(refused.Field("retry-after"), "4");
  EXPECT_EQ(query->WaitForRequest(0)->body, "{\"user\":\"anna\"}");
  EXPECT_EQ(query->WaitForRequest(0)->method, "POST");
  const Reply out = client.Ask(Post("/api/v1/sign-out", std::string(kProofs) + "Content-Length: 0\r\n"));
  EXPECT_EQ(out.status, 200);
  EXPECT_EQ(out.Field("set-cookie"), "__Host-stele=; Max-Age=0; Secure; HttpOnly; SameSite=Strict; Path=/");
}

TEST(Requests, PipelinedRequestsAreAnsweredInOrder) {
  RunningServer server;
  const auto query =
      server.Connect([](QueryPeer& peer, const channel::ApiRequest& request) { peer.Reply(request.id, request.path); });
  Client client(server.port());
  ASSERT_TRUE(client.Send(Get("/api/v1/one") + SignIn("{}") + Get("/") + Get("/api/v1/two")));
  EXPECT_EQ(client.ReadReply().body, "/api/v1/one");
  EXPECT_EQ(client.ReadReply().body, "/api/v1/sign-in");
  EXPECT_EQ(client.ReadReply().body, FindAsset("/")->bytes);
  EXPECT_EQ(client.ReadReply().body, "/api/v1/two");
}

TEST(Requests, TheEleventhSignInOfAMinuteWaits) {
  RunningServer server;
  const auto query =
      server.Connect([](QueryPeer& peer, const channel::ApiRequest& request) { peer.Reply(request.id, "{}"); });
  Client client(server.port());
  for (int i = 0; i < 10; ++i) EXPECT_EQ(client.Ask(SignIn("{}")).status, 200) << i;
  const Reply reply = client.Ask(SignIn("{}"));
  EXPECT_EQ(reply.status, 429);
  EXPECT_NE(reply.Field("retry-after"), "");
  EXPECT_EQ(query->request_count(), 10U);
  EXPECT_EQ(client.Ask(Get("/api/v1/status")).status, 200) << "reading goes on";
}

TEST(Requests, SlowHeadsBodiesAndIdleConnectionsAreClosed) {
  ServerBounds bounds;
  bounds.head_ms = 300;
  bounds.idle_ms = 900;
  RunningServer server(bounds);
  Client slow(server.port());
  const std::string request = Get("/");
  const auto begin = std::chrono::steady_clock::now();
  bool sent = true;
  for (std::size_t i = 0; i < 12 && sent; ++i) {  // a byte now and then does not move the deadline
    sent = slow.Send(request.substr(i, 1));
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  EXPECT_TRUE(slow.WaitForClose(4'000));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(4'000));
  Client half(server.port());
  ASSERT_TRUE(half.Send(Post("/api/v1/sign-in", std::string(kProofs) + "Content-Length: 20\r\n", "{\"us")));
  EXPECT_TRUE(half.WaitForClose(4'000));
  Client idle(server.port());
  EXPECT_FALSE(idle.WaitForClose(400));
  EXPECT_TRUE(idle.WaitForClose(4'000));
}

TEST(Requests, ConnectionsPerAddressAreBounded) {
  ServerBounds bounds;
  bounds.connections_per_address = 3;
  RunningServer server(bounds);
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(std::make_unique<Client>(server.port()));
    EXPECT_EQ(clients.back()->Ask(Get("/")).status, 200);
  }
  EXPECT_FALSE(Client(server.port()).connected());
  EXPECT_NE(server.Notices().find("turned away"), std::string::npos);
  clients.pop_back();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_TRUE(Client(server.port()).connected());
}

TEST(Configuration, UnknownMembersAndWrongTypesAreErrors) {
  const auto parse = [](std::string_view text) { return ParseConfiguration(AsBytes(text)); };
  const auto good = parse(R"({"tls":{"certificate_pem":"a","key_pem":"b","client_ca_pem":"c"},"hosts":["x"]})");
  ASSERT_TRUE(good);
  EXPECT_EQ(good->hosts, std::vector<std::string>{"x"});
  EXPECT_EQ(parse(R"({"tls":{"certificate_pem":"a","key_pem":"b"}})")->hosts.size(), 3U);
  for (const char* wrong :
       {"", "[]", "{}", R"({"tls":{}})", R"({"tls":{"certificate_pem":"a","key_pem":"b"},"host":[]})",
        R"({"tls":{"certificate_pem":"a","key_pem":"b"},"hosts":[1]})",
        R"({"tls":{"certificate_pem":"a","key_pem":7}})"}) {
    EXPECT_FALSE(parse(wrong)) << wrong;
  }
}

}  // namespace
}  // namespace stele::web::test
