// One client's TLS connection: one request at a time, strictly in order, with a deadline for every phase.
//
//   handshake -> idle -> head -> body -> answer -> idle ...      or -> closing
//
// A request that is ambiguous or refused with its framing in doubt is answered and the connection closed. When the
// client goes during an answer, stele-query is told.
#pragma once

#include <array>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "appliance/base/seams.h"
#include "web/server/answer.h"
#include "web/server/assets.h"
#include "web/server/login_bucket.h"
#include "web/server/policy.h"
#include "web/server/query_link.h"
#include "web/server/server.h"
#include "web/server/tls.h"

namespace stele::web {

class Connection;

// What all connections of a server share; outlives them.
struct Door {
  boost::asio::ssl::context& tls;
  QueryLink& link;
  const Hosts& hosts;
  const ServerBounds& bounds;
  Clock& clock;
  LoginBucket logins;
  std::function<void(std::string_view)> notice;
  std::function<void(Connection*)> closed;  // called once for each connection
};

class Connection final : public AnswerSink, public std::enable_shared_from_this<Connection> {
 public:
  Connection(boost::asio::ip::tcp::socket socket, std::string address, Door& door);

  void Start();
  void HardClose();
  [[nodiscard]] const std::string& address() const { return address_; }

  void OnResponse(const channel::ApiResponse& response) override;
  void OnBody(ByteView bytes, bool end) override;
  void OnLost(std::string_view why) override;
  [[nodiscard]] std::size_t waiting_bytes() const override { return waiting_bytes_; }

 private:
  enum class Phase { kHandshake, kIdle, kHead, kBody, kAnswer, kClosing };
  struct Piece {
    std::string owned;             // counted as waiting
    std::string_view static_part;  // a file of the program: not counted
    [[nodiscard]] std::string_view bytes() const { return owned.empty() ? static_part : std::string_view(owned); }
  };

  void Enter(Phase phase);
  void OnDeadline();
  void Read();
  void OnRead(const boost::system::error_code& error, std::size_t size_bytes);
  void Process();
  void ProcessHead();
  void Handle(std::string body);
  void SendAsset();
  void AskQuery(std::string body);
  void SendError(int status, std::string_view code, std::string_view message,
                 std::vector<std::pair<std::string, std::string>> fields = {});
  void SendHead(AnswerHead head);
  void Enqueue(std::string bytes);
  void EnqueueStatic(std::string_view bytes);
  void WriteNext();
  void OnWrite(const boost::system::error_code& error, std::size_t size_bytes);
  void FinishAnswer();  // everything is queued; the next request follows when it is sent
  void NextRequest();
  void BeginClose();
  void Drain();

  Door& door_;
  boost::asio::ssl::stream<boost::asio::ip::tcp::socket> stream_;
  std::string address_;
  boost::asio::steady_timer deadline_;
  boost::asio::steady_timer stall_;
  Phase phase_ = Phase::kHandshake;
  ClientIdentity identity_;

  std::array<char, 4096> chunk_{};
  std::string inbox_;              // at most one head or body and one chunk
  std::size_t scanned_bytes_ = 0;  // of inbox_: holds no end of a head
  bool reading_ = false;

  Request request_;
  std::uint64_t query_id_ = 0;  // 0: none open
  AnswerHead head_;             // of an answer whose first part has not come
  bool head_sent_ = false;
  bool answer_queued_ = false;
  bool tail_ = false;
  bool download_ = false;          // stele-query is told what the client has taken
  std::size_t taken_bytes_ = 0;    // not told yet
  bool close_after_ = false;

  std::deque<Piece> out_;
  std::size_t front_sent_bytes_ = 0;
  std::size_t waiting_bytes_ = 0;
  std::size_t drained_bytes_ = 0;
  bool writing_ = false;
  bool closed_ = false;
};

}  // namespace stele::web
