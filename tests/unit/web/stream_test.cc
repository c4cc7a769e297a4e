// Goal: live tails pass through unchanged, and nobody's slowness costs memory or the others. Method: a scripted peer on
// a real SOCK_SEQPACKET pair, clients that stop reading, peers that break the protocol or disappear.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "tests/unit/web/web_fixture.h"

namespace stele::web::test {
namespace {

using std::chrono::milliseconds;

TEST(Stream, ALiveTailArrivesEventByEvent) {
  RunningServer server;
  const auto query = server.Connect(nullptr);
  Client client(server.port());
  ASSERT_TRUE(client.Send(Get("/api/v1/tail?q=host:fw1", "Last-Event-ID: 41\r\nAccept: text/event-stream\r\n")));
  const auto asked = query->WaitForRequest(0);
  ASSERT_TRUE(asked);
  EXPECT_EQ(asked->headers.at("last-event-id"), "41");
  query->Respond(asked->id, 200, "text/event-stream");
  const std::string head =
      client.Read([](const std::string& text) { return text.find("\r\n\r\n") != std::string::npos; });
  EXPECT_NE(head.find("Content-Type: text/event-stream\r\n"), std::string::npos) << "before the first event";
  EXPECT_NE(head.find("Cache-Control: no-store\r\n"), std::string::npos);
  for (int i = 42; i < 45; ++i) {
    const std::string event = "id: " + std::to_string(i) + "\ndata: {}\n\n";
    ASSERT_TRUE(query->Part(asked->id, event, false));
    const std::string got =
        client.Read([&](const std::string& text) { return text.find("\n\n") != std::string::npos; });
    EXPECT_NE(got.find(event), std::string::npos) << got;
  }
  client.Leave();
  EXPECT_TRUE(query->WaitForCancel(asked->id)) << "the query side is told that nobody listens";
}

TEST(Stream, ATailWhoseReaderStopsIsCutLoudlyAndOthersGoOn) {
  ServerBounds bounds;
  bounds.tail_bytes = 64 * 1024;
  RunningServer server(bounds);
  const auto query = server.Connect([](QueryPeer& peer, const channel::ApiRequest& request) {
    if (request.path == "/api/v1/status") peer.Reply(request.id, "{}");
  });
  Client lazy(server.port());
  const int small = 4096;
  (void)::setsockopt(lazy.fd(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  ASSERT_TRUE(lazy.Send(Get("/api/v1/tail")));
  const auto asked = query->WaitForRequest(0);
  ASSERT_TRUE(asked);
  query->Respond(asked->id, 200, "text/event-stream");
  const std::string event = "data: " + std::string(30'000, 'x') + "\n\n";
  bool cancelled = false;
  for (int i = 0; i < 2'000 && !cancelled; ++i) {
    ASSERT_TRUE(query->Part(asked->id, event, false));
    cancelled = query->WaitForCancel(asked->id, 1);
  }
  EXPECT_TRUE(cancelled);
  EXPECT_NE(server.Notices().find("did not keep up"), std::string::npos);
  Client other(server.port());
  EXPECT_EQ(other.Ask(Get("/api/v1/status")).status, 200);
  const std::string rest = lazy.Read([](const std::string&) { return false; }, 3'000);
  EXPECT_TRUE(lazy.closed());
  EXPECT_EQ(rest.find("\r\n0\r\n\r\n"), std::string::npos) << "no end was pretended";
}

TEST(Stream, ALargeAnswerToASlowReaderStopsTheChannelInsteadOfFillingMemory) {
  ServerBounds bounds;
  bounds.pending_bytes = 1'024 * 1'024;
  bounds.pause_ms = 5'000;
  RunningServer server(bounds);
  const auto query = server.Connect(nullptr);
  Client slow(server.port());
  ASSERT_TRUE(slow.Send(Get("/api/v1/export")));
  const auto asked = query->WaitForRequest(0);
  ASSERT_TRUE(asked);
  query->Respond(asked->id, 200, "application/x-ndjson");
  const std::string part(60'000, 'y');
  std::size_t sent_bytes = 0;
  while (sent_bytes < 200'000'000 && query->Part(asked->id, part, false, 300)) sent_bytes += part.size();
  EXPECT_LT(sent_bytes, 50'000'000U) << "the channel stood still";
  // The reader comes back in time: everything moves again, and nothing is missing.
  std::thread reader_side([&] {
    const auto reply = slow.ReadReply(false, 20'000);
    EXPECT_TRUE(reply.complete);
    EXPECT_EQ(reply.body.size(), sent_bytes);
  });
  EXPECT_TRUE(query->Part(asked->id, {}, true, 10'000));
  reader_side.join();
}

TEST(Stream, AReaderThatHoldsUpTheOthersIsClosed) {
  ServerBounds bounds;
  bounds.pending_bytes = 1'024 * 1'024;
  bounds.pause_ms = 300;
  RunningServer server(bounds);
  const auto query = server.Connect([](QueryPeer& peer, const channel::ApiRequest& request) {
    if (request.path == "/api/v1/status") peer.Reply(request.id, "{}");
  });
  Client stuck(server.port());
  ASSERT_TRUE(stuck.Send(Get("/api/v1/export")));
  const auto asked = query->WaitForRequest(0);
  ASSERT_TRUE(asked);
  query->Respond(asked->id, 200, "application/octet-stream");
  const std::string part(60'000, 'z');
  bool cancelled = false;
  for (int i = 0; i < 2'000 && !cancelled; ++i) {
    ASSERT_TRUE(query->Part(asked->id, part, false, 5'000));
    cancelled = query->WaitForCancel(asked->id, 1);
  }
  EXPECT_TRUE(cancelled);
  EXPECT_NE(server.Notices().find("held up the others"), std::string::npos);
  Client other(server.port());
  EXPECT_EQ(other.Ask(Get("/api/v1/status")).status, 200);
}

TEST(Stream, WithoutItsPeerTheApiSays503AndAReplacementIsUsed) {
  RunningServer server;
  Client client(server.port());
  const Reply none = client.Ask(Get("/api/v1/status"));
  EXPECT_EQ(none.status, 503);
  EXPECT_NE(none.body.find("\"unavailable\""), std::string::npos);
  auto first = server.Connect(nullptr);
  ASSERT_TRUE(client.Send(Get("/api/v1/status")));
  ASSERT_TRUE(first->WaitForRequest(0));
  const auto echo = [](QueryPeer& peer, const channel::ApiRequest& request) { peer.Reply(request.id, "second"); };
  const auto second = server.Connect(echo);
  EXPECT_EQ(client.ReadReply().status, 503) << "the open request is lost with its channel";
  EXPECT_TRUE(first->WaitForEnd());
  EXPECT_EQ(client.Ask(Get("/api/v1/status")).body, "second");
  EXPECT_EQ(client.Ask(Get("/")).status, 200);
}

TEST(Stream, WhenThePeerDiesATailEndsLoudly) {
  RunningServer server;
  auto query = server.Connect(nullptr);
  Client client(server.port());
  ASSERT_TRUE(client.Send(Get("/api/v1/tail")));
  const auto asked = query->WaitForRequest(0);
  ASSERT_TRUE(asked);
  query->Respond(asked->id, 200, "text/event-stream");
  ASSERT_TRUE(query->Part(asked->id, "id: 1\n\n", false));
  (void)client.Read([](const std::string& text) { return text.find("id: 1") != std::string::npos; });
  query.reset();
  const std::string rest = client.Read([](const std::string&) { return false; }, 3'000);
  EXPECT_TRUE(client.closed());
  EXPECT_EQ(rest.find("0\r\n\r\n"), std::string::npos);
  EXPECT_EQ(Client(server.port()).Ask(Get("/api/v1/status")).status, 503);
}

TEST(Stream, ABadMessageClosesOnlyTheChannel) {
  using Break = std::function<void(QueryPeer&, std::uint64_t)>;
  const std::pair<const char*, Break> table[] = {
      {"wrong type", [](QueryPeer& peer, std::uint64_t) { peer.SendRaw(channel::Type::kStop, {}); }},
      {"not a response",
       [](QueryPeer& peer, std::uint64_t) { peer.SendRaw(channel::Type::kApiResponse, AsBytes("{")); }},
      {"short body", [](QueryPeer& peer, std::uint64_t) { peer.SendRaw(channel::Type::kApiBody, AsBytes("abc")); }},
      {"body before response", [](QueryPeer& peer, std::uint64_t id) { (void)peer.Part(id, "x", true); }},
      {"answer never asked for",
       [](QueryPeer& peer, std::uint64_t id) { peer.Respond(id + 1000, 200, "application/json"); }},
      {"two answers",
       [](QueryPeer& peer, std::uint64_t id) {
         peer.Respond(id, 200, "text/event-stream");
         peer.Respond(id, 200, "text/event-stream");
       }},
  };
  for (const auto& row : table) {
    RunningServer server;
    const auto query = server.Connect(nullptr);
    Client client(server.port());
    ASSERT_TRUE(client.Send(Get("/api/v1/status")));
    const auto asked = query->WaitForRequest(0);
    ASSERT_TRUE(asked) << row.first;
    row.second(*query, asked->id);
    EXPECT_TRUE(query->WaitForEnd()) << row.first;
    EXPECT_NE(server.Notices().find("channel to stele-query closed"), std::string::npos) << row.first;
    EXPECT_EQ(Client(server.port()).Ask(Get("/")).status, 200) << row.first;
  }
  RunningServer server;
  const auto impostor = server.Connect(nullptr, channel::Role::kReceive);
  EXPECT_TRUE(impostor->WaitForEnd()) << "only stele-query may answer";
}

TEST(Stream, HostileAnswersCannotWriteFieldsOrPages) {
  RunningServer server;
  const auto query = server.Connect([](QueryPeer& peer, const channel::ApiRequest& request) {
    const bool good = request.path == "/api/v1/good";
    peer.Respond(request.id, good ? 200 : 500, good ? "text/csv" : "text/html",
                 {{"content-disposition",
                   good ? "attachment; filename=\"stele-1.csv\"" : "attachment; filename=\"a\"\r\nX: y\""},
                  {"set-session", "a; Domain=evil"},
                  {"retry-after", "1\r\nX: y"},
                  {"location", "https://evil.example/"}});
    EXPECT_TRUE(peer.Part(request.id, "<script>", true));
  });
  Client client(server.port());
  const Reply bad = client.Ask(Get("/api/v1/bad"));
  EXPECT_EQ(bad.status, 500);
  EXPECT_EQ(bad.Field("content-type"), "application/octet-stream");
  for (const char* name : {"x", "set-cookie", "retry-after", "location", "content-disposition"})
    EXPECT_EQ(bad.Count(name), 0U) << name;
  const Reply good = client.Ask(Get("/api/v1/good"));
  EXPECT_EQ(good.Field("content-type"), "text/csv; charset=utf-8");
  EXPECT_EQ(good.Field("content-disposition"), "attachment; filename=\"stele-1.csv\"");
  EXPECT_TRUE(good.Field("content-security-policy").ends_with("; sandbox"));
}

TEST(Stream, APeerThatNeverAnswersIsNotWaitedForForEver) {
  ServerBounds bounds;
  bounds.answer_ms = 300;
  RunningServer server(bounds);
  const auto query = server.Connect(nullptr);
  Client client(server.port());
  EXPECT_EQ(client.Ask(Get("/api/v1/status")).status, 503);
  EXPECT_TRUE(query->WaitForCancel(query->WaitForRequest(0)->id));
  EXPECT_EQ(client.Ask(Get("/")).status, 200);
}

TEST(Stream, HeadOfALiveTailIsOnlyItsHead) {
  RunningServer server;
  const auto query = server.Connect([](QueryPeer& peer, const channel::ApiRequest& request) {
    peer.Respond(request.id, 200, request.path == "/api/v1/tail" ? "text/event-stream" : "application/json");
    if (request.path != "/api/v1/tail") {
      EXPECT_TRUE(peer.Part(request.id, "{}", true));
    }
  });
  Client client(server.port());
  const Reply reply = client.Ask("HEAD /api/v1/tail HTTP/1.1\r\nHost: localhost\r\n\r\n", true);
  EXPECT_EQ(reply.status, 200);
  EXPECT_TRUE(query->WaitForCancel(query->WaitForRequest(0)->id));
  EXPECT_EQ(client.Ask(Get("/api/v1/status")).body, "{}");
}

}  // namespace
}  // namespace stele::web::test
