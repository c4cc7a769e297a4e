#include "appliance/ingest/http_session.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>
#include <chrono>
#include <optional>

#include "appliance/ingest/gzip.h"

namespace stele::ingest {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using boost::system::error_code;

constexpr std::size_t kReadBytes = 16 * limits::kKiB;  // the most one TLS record holds
constexpr std::size_t kInflateBytes = 64 * limits::kKiB;  // inflated and cut before other connections get their turn
constexpr std::size_t kDrainBytes = 4 * limits::kMiB;  // read and thrown away, so that a refused sender can read why
constexpr std::int64_t kDrainMs = 3'000;
constexpr std::int64_t kDrainQuietMs = 300;  // a sender that has stopped sending has read the answer or never will

// The octets are not HTTP, in contrast to a stream that ended or failed.
bool IsMalformed(error_code error) {
  return error.category() == make_error_code(http::error::bad_method).category() && error != http::error::partial_message &&
         error != http::error::end_of_stream;
}

// Bodies accepted for reading count against the shared budget until they are answered.
class Charge {
 public:
  explicit Charge(std::shared_ptr<HttpShared> shared) : shared_(std::move(shared)) {}
  ~Charge() { shared_->bodies_bytes -= bytes_; }
  Charge(const Charge&) = delete;
  Charge& operator=(const Charge&) = delete;
  // What the body costs now, in all.
  [[nodiscard]] bool Set(std::size_t bytes) {
    if (bytes > bytes_ && shared_->bodies_bytes + (bytes - bytes_) > shared_->options.bodies_bytes_max) return false;
    shared_->bodies_bytes = shared_->bodies_bytes - bytes_ + bytes;
    bytes_ = bytes;
    return true;
  }

 private:
  std::shared_ptr<HttpShared> shared_;
  std::size_t bytes_ = 0;
};

class TlsSession final : public HttpSession, public std::enable_shared_from_this<TlsSession> {
 public:
  TlsSession(asio::ip::tcp::socket socket, asio::ssl::context& tls, std::shared_ptr<HttpShared> shared, const record::Peer& peer,
             std::function<void()> closed)
      : stream_(beast::tcp_stream(std::move(socket)), tls), shared_(std::move(shared)), peer_(peer), closed_(std::move(closed)) {}

  void Run() override {
    Deadline(shared_->options.handshake_ms);
    stream_.async_handshake(asio::ssl::stream_base::server, [self = shared_from_this()](error_code error) {
      if (error) {
        ++self->shared_->counters.handshakes_failed;
        return self->Finish();
      }
      self->certificate_ = self->ClientFingerprint();
      self->ReadHeader();
    });
  }

  void Close() override {
    closed_ = nullptr;
    beast::get_lowest_layer(stream_).close();
  }

 private:
  using Parser = http::request_parser<http::buffer_body>;

  void Deadline(std::int64_t ms) { beast::get_lowest_layer(stream_).expires_after(std::chrono::milliseconds(ms)); }

  std::optional<Hash> ClientFingerprint() {
    const X509* certificate = SSL_get0_peer_certificate(stream_.native_handle());
    Hash digest{};
    unsigned size = 0;
    if (certificate == nullptr || X509_digest(certificate, EVP_sha256(), reinterpret_cast<unsigned char*>(digest.data()), &size) != 1 ||
        size != digest.size()) {
      return std::nullopt;
    }
    return digest;
  }

  void Finish() {
    beast::get_lowest_layer(stream_).close();
    if (closed_) std::exchange(closed_, nullptr)();
  }

  void ReadHeader() {
    if (buffer_.size() == 0) buffer_.shrink_to_fit();
    parser_.emplace();
    request_ = {};
    parser_->header_limit(static_cast<std::uint32_t>(limits::kHttpHeaderBytes));
    parser_->body_limit(shared_->options.body_bytes_max);
    Deadline(shared_->options.idle_ms);
    http::async_read_header(stream_, buffer_, *parser_,
                            [self = shared_from_this()](error_code error, std::size_t) { self->OnHeader(error); });
  }

  void OnHeader(error_code error) {
    if (error == http::error::header_limit) {
      return Refuse({http::status::request_header_fields_too_large, "bad_request", "the header is too large"});
    }
    if (error == http::error::body_limit) return Refuse(TooLarge());
    if (error == http::error::end_of_stream) return ShutDown();
    if (IsMalformed(error)) {
      return Refuse({http::status::bad_request, "bad_request", "not an HTTP/1.1 request"});
    }
    if (error) return Finish();
    started_ = std::chrono::steady_clock::now();
    if (auto refusal = CheckRequest(parser_->get(), shared_->senders, certificate_, request_)) return Refuse(std::move(*refusal));
    if (!TakesBody(request_.door)) return AnswerHandshake();
    if (parser_->content_length().value_or(0) > shared_->options.body_bytes_max) return Refuse(TooLarge());
    part_.resize(kReadBytes);
    body_ = MakeBody(request_, shared_->checker);
    if (request_.gzip) {
      gzip_.emplace();
      inflated_.resize(kInflateBytes);
    }
    charge_ = std::make_shared<Charge>(shared_);
    body_deadline_ = started_ + std::chrono::milliseconds(shared_->options.body_ms);
    if (parser_->get()[http::field::expect].empty()) return ReadBody();
    static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
    asio::async_write(stream_, asio::buffer(kContinue), [self = shared_from_this()](error_code write_error, std::size_t) {
      if (write_error) return self->Finish();
      self->ReadBody();
    });
  }

  void AnswerHandshake() {
    const bool ready = shared_->sink.Ready();
    const bool failed = request_.door == Door::kElasticHealth && !ready;
    Answer(failed ? http::status::service_unavailable : http::status::ok, HandshakeText(request_.door, ready));
  }

  static Refusal TooLarge() { return {http::status::payload_too_large, "too_large", "the body is too large; nothing of it was kept"}; }

  void ReadBody() {
    if (parser_->is_done()) return OnBodyDone();
    auto& part = parser_->get().body();
    part.data = part_.data();
    part.size = part_.size();
    part.more = true;
    const auto left = body_deadline_ - std::chrono::steady_clock::now();
    const auto stall = std::chrono::milliseconds(shared_->options.body_stall_ms);
    beast::get_lowest_layer(stream_).expires_after(std::min<std::chrono::steady_clock::duration>(left, stall));
    http::async_read_some(stream_, buffer_, *parser_,
                          [self = shared_from_this()](error_code error, std::size_t) { self->OnBodyPart(error); });
  }

  void OnBodyPart(error_code error) {
    if (error == http::error::need_buffer) error = {};
    if (error == http::error::body_limit) return Refuse(TooLarge());
    if (IsMalformed(error)) {
      return Refuse({http::status::bad_request, "bad_request", "the body is not what its header says"});
    }
    if (error) return Finish();  // half a body: no answer was promised, nothing is kept
    const ByteView octets = ByteView(part_).first(part_.size() - parser_->get().body().size);
    if (gzip_) {
      gzip_->Give(octets);
      return Inflate();
    }
    if (TakePart(octets)) ReadBody();
  }

  // One step of a compressed body; the next is queued behind what other connections want.
  void Inflate() {
    const auto taken = gzip_->Take(inflated_);
    if (!taken) return RefuseBody(taken.error());
    if (*taken == 0) return ReadBody();
    body_bytes_ += *taken;
    if (body_bytes_ > shared_->options.body_bytes_max) return Refuse(TooLarge());
    if (!TakePart(ByteView(inflated_).first(*taken))) return;
    asio::post(stream_.get_executor(), [self = shared_from_this()] {
      if (self->closed_ && self->gzip_) self->Inflate();
    });
  }

  // False: answered already.
  bool TakePart(ByteView part) {
    if (auto appended = body_->Append(part); !appended) {
      RefuseBody(appended.error());
      return false;
    }
    return ChargeBody();
  }

  bool ChargeBody() {
    if (charge_->Set(body_->held_bytes() + (gzip_ ? limits::kGzipStateBytes + kInflateBytes : 0))) return true;
    Unavailable("too many bodies at once", 1);
    return false;
  }

  void RefuseBody(const Error& error) {
    if (error.code == Code::kUnavailable) return Refuse({http::status::payload_too_large, "too_large", error.context});
    Refuse({http::status::bad_request, "bad_request", error.context});
  }

  void OnBodyDone() {
    if (gzip_) {
      if (auto finished = gzip_->Finish(); !finished) return RefuseBody(finished.error());
    }
    if (auto finished = body_->Finish(); !finished) return RefuseBody(finished.error());
    gzip_.reset();
    Bytes().swap(inflated_);
    Bytes().swap(part_);
    if (!ChargeBody()) return;
    JsonBatch batch;
    batch.events = body_->TakeEvents();
    batch.body = body_->TakeBody();
    batch.peer = peer_;
    batch.identity = request_.identity;
    batch.target = request_.target;
    batch.wants_leaves = request_.wants_leaves;
    batch.receive_wall_ns = shared_->clock.WallNs();
    for (const auto& event : batch.events) {
      if ((event.signature_flags & record::kFlagSignatureInvalid) != 0) ++shared_->counters.signatures_invalid;
    }
    const std::uint64_t events = batch.events.size();
    if (events == 0) {
      JsonOutcome nothing;
      nothing.committed = true;
      return OnOutcome(nothing);
    }
    shared_->counters.events_received += events;
    beast::get_lowest_layer(stream_).expires_never();  // the commit decides
    // The charge belongs to the batch: it ends when the sink answers, even when the connection is long gone.
    auto done = [weak = weak_from_this(), shared = shared_, charge = std::move(charge_), events,
                 executor = stream_.get_executor()](JsonOutcome outcome) {
      auto& counter = outcome.committed ? shared->counters.events_committed : shared->counters.events_refused;
      counter += events;
      asio::post(executor, [weak, outcome = std::move(outcome)] {
        if (const auto self = weak.lock()) self->OnOutcome(outcome);
      });
    };
    shared_->sink.Submit(std::move(batch), std::move(done));
  }

  void OnOutcome(const JsonOutcome& outcome) {
    if (!closed_) return;
    if (!outcome.committed) return Unavailable("not stored, try again later", outcome.retry_after_s);
    const auto took = std::chrono::steady_clock::now() - started_;
    Answer(http::status::ok, body_->Answer(outcome, std::chrono::duration_cast<std::chrono::milliseconds>(took).count()));
  }

  void Unavailable(std::string_view message, std::int64_t retry_after_s) {
    retry_after_s_ = retry_after_s;
    keep_open_ = parser_->is_done() && parser_->keep_alive();
    SendError(http::status::service_unavailable, "unavailable", message);
  }

  // The request cannot be trusted to end where we think it ends: answer and close.
  void Refuse(Refusal refusal) {
    ++shared_->counters.requests_refused;
    keep_open_ = false;
    SendError(refusal.status, refusal.code, refusal.message);
  }

  void SendError(http::status status, std::string_view code, std::string_view message) {
    Send(status, DoorErrorText(request_.door, static_cast<unsigned>(status), code, message));
  }

  void Answer(http::status status, std::string text) {
    keep_open_ = parser_->keep_alive();
    Send(status, std::move(text));
  }

  void Send(http::status status, std::string text) {
    body_.reset();
    gzip_.reset();
    charge_.reset();
    Bytes().swap(inflated_);
    body_bytes_ = 0;
    response_ = {};
    response_.version(11);
    response_.result(status);
    response_.set(http::field::content_type, "application/json");
    response_.set(http::field::cache_control, "no-store");
    if (status == http::status::unauthorized) response_.set(http::field::www_authenticate, "Bearer");
    if (status == http::status::method_not_allowed) response_.set(http::field::allow, TakesBody(request_.door) ? "POST" : "GET, HEAD");
    if (status == http::status::service_unavailable) response_.set(http::field::retry_after, std::to_string(retry_after_s_));
    if (IsElastic(request_.door)) response_.set("X-Elastic-Product", "Elasticsearch");  // its clients refuse to send without
    response_.keep_alive(keep_open_);
    if (!request_.is_head) response_.body() = std::move(text);
    response_.prepare_payload();
    Deadline(shared_->options.body_stall_ms);
    http::async_write(stream_, response_, [self = shared_from_this()](error_code error, std::size_t) {
      if (error) return self->Finish();
      if (self->keep_open_) return self->ReadHeader();
      if (self->parser_->is_done()) return self->ShutDown();
      self->part_.resize(kReadBytes);
      self->body_deadline_ = std::chrono::steady_clock::now() + std::chrono::milliseconds(kDrainMs);
      self->Drain(0);
    });
  }

  // Closing with unread bytes makes the kernel reset the connection and the answer is lost: read some first.
  void Drain(std::size_t drained) {
    if (std::chrono::steady_clock::now() >= body_deadline_) return Finish();
    Deadline(kDrainQuietMs);
    stream_.async_read_some(asio::buffer(part_), [self = shared_from_this(), drained](error_code error, std::size_t octets) {
      if (error == beast::error::timeout) return self->Finish();
      if (error || drained + octets > kDrainBytes) return self->ShutDown();
      self->Drain(drained + octets);
    });
  }

  void ShutDown() {
    Deadline(kDrainMs);
    stream_.async_shutdown([self = shared_from_this()](error_code) { self->Finish(); });
  }

  beast::ssl_stream<beast::tcp_stream> stream_;
  std::shared_ptr<HttpShared> shared_;
  record::Peer peer_;
  std::function<void()> closed_;
  beast::flat_buffer buffer_{limits::kHttpHeaderBytes + kReadBytes};
  std::optional<Parser> parser_;
  Bytes part_;  // only while a body is read: an idle connection holds no buffer
  std::unique_ptr<EventBody> body_;  // kept until the answer, which it words
  std::optional<GzipReader> gzip_;
  Bytes inflated_;              // only while a compressed body is read
  std::size_t body_bytes_ = 0;  // inflated so far
  Request request_;
  std::optional<Hash> certificate_;  // SHA-256 of the client's, where it showed one
  std::chrono::steady_clock::time_point started_;  // when the header was complete
  std::shared_ptr<Charge> charge_;  // shared with the batch it was spent on
  std::chrono::steady_clock::time_point body_deadline_;
  http::response<http::string_body> response_;
  std::int64_t retry_after_s_ = 1;
  bool keep_open_ = false;
};

}  // namespace

std::shared_ptr<HttpSession> HttpSession::Make(asio::ip::tcp::socket socket, asio::ssl::context& tls, std::shared_ptr<HttpShared> shared,
                                               const record::Peer& peer, std::function<void()> closed) {
  return std::make_shared<TlsSession>(std::move(socket), tls, std::move(shared), peer, std::move(closed));
}

}  // namespace stele::ingest
