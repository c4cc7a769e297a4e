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

namespace stele::ingest {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using boost::system::error_code;

constexpr std::size_t kReadBytes = 16 * limits::kKiB;  // the most one TLS record holds
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
  [[nodiscard]] bool Add(std::size_t bytes) {
    if (shared_->bodies_bytes + bytes > shared_->options.bodies_bytes_max) return false;
    shared_->bodies_bytes += bytes;
    bytes_ += bytes;
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

  void Finish() {
    beast::get_lowest_layer(stream_).close();
    if (closed_) std::exchange(closed_, nullptr)();
  }

  void ReadHeader() {
    if (buffer_.size() == 0) buffer_.shrink_to_fit();
    parser_.emplace();
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
    JsonBody::Kind kind{};
    if (auto refusal = CheckRequest(parser_->get(), shared_->tokens, kind)) return Refuse(std::move(*refusal));
    if (parser_->content_length().value_or(0) > shared_->options.body_bytes_max) return Refuse(TooLarge());
    part_.resize(kReadBytes);
    body_.emplace(kind, shared_->checker, limits::kHttpEvents);
    charge_ = std::make_shared<Charge>(shared_);
    body_deadline_ = std::chrono::steady_clock::now() + std::chrono::milliseconds(shared_->options.body_ms);
    if (parser_->get()[http::field::expect].empty()) return ReadBody();
    static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
    asio::async_write(stream_, asio::buffer(kContinue), [self = shared_from_this()](error_code write_error, std::size_t) {
      if (write_error) return self->Finish();
      self->ReadBody();
    });
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
    const std::size_t octets = part_.size() - parser_->get().body().size;
    if (!charge_->Add(octets)) return Unavailable("too many bodies at once", 1);
    if (auto appended = body_->Append(ByteView(part_).first(octets)); !appended) return RefuseBody(appended.error());
    ReadBody();
  }

  void RefuseBody(const Error& error) {
    if (error.code == Code::kUnavailable) return Refuse({http::status::payload_too_large, "too_large", error.context});
    Refuse({http::status::bad_request, "bad_request", error.context});
  }

  void OnBodyDone() {
    if (auto finished = body_->Finish(); !finished) return RefuseBody(finished.error());
    JsonBatch batch;
    batch.events = body_->TakeEvents();
    batch.body = body_->TakeBody();
    batch.peer = peer_;
    batch.receive_wall_ns = shared_->clock.WallNs();
    body_.reset();
    Bytes().swap(part_);
    unparsed_lines_.clear();
    unparsed_count_ = 0;
    for (const auto& event : batch.events) {
      if (event.parsed) continue;
      ++unparsed_count_;
      if (unparsed_lines_.size() < limits::kHttpUnparsedListed) unparsed_lines_.push_back(event.line);
    }
    const std::uint64_t events = batch.events.size();
    if (events == 0) return Answer(http::status::ok, CommittedText(JsonOutcome{true, {}, std::nullopt, 0}, {}, 0));
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
    Answer(http::status::ok, CommittedText(outcome, unparsed_lines_, unparsed_count_));
  }

  void Unavailable(std::string_view message, std::int64_t retry_after_s) {
    retry_after_s_ = retry_after_s;
    keep_open_ = parser_->is_done() && parser_->keep_alive();
    Send(http::status::service_unavailable, ErrorText("unavailable", message));
  }

  // The request cannot be trusted to end where we think it ends: answer and close.
  void Refuse(Refusal refusal) {
    ++shared_->counters.requests_refused;
    keep_open_ = false;
    Send(refusal.status, ErrorText(refusal.code, refusal.message));
  }

  void Answer(http::status status, std::string text) {
    keep_open_ = parser_->keep_alive();
    Send(status, std::move(text));
  }

  void Send(http::status status, std::string text) {
    body_.reset();
    charge_.reset();
    response_ = {};
    response_.version(11);
    response_.result(status);
    response_.set(http::field::content_type, "application/json");
    response_.set(http::field::cache_control, "no-store");
    if (status == http::status::unauthorized) response_.set(http::field::www_authenticate, "Bearer");
    if (status == http::status::method_not_allowed) response_.set(http::field::allow, "POST");
    if (status == http::status::service_unavailable) response_.set(http::field::retry_after, std::to_string(retry_after_s_));
    response_.keep_alive(keep_open_);
    response_.body() = std::move(text);
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
  std::optional<JsonBody> body_;
  std::shared_ptr<Charge> charge_;  // shared with the batch it was spent on
  std::chrono::steady_clock::time_point body_deadline_;
  http::response<http::string_body> response_;
  std::vector<std::uint32_t> unparsed_lines_;
  std::uint64_t unparsed_count_ = 0;
  std::int64_t retry_after_s_ = 1;
  bool keep_open_ = false;
};

}  // namespace

std::shared_ptr<HttpSession> HttpSession::Make(asio::ip::tcp::socket socket, asio::ssl::context& tls, std::shared_ptr<HttpShared> shared,
                                               const record::Peer& peer, std::function<void()> closed) {
  return std::make_shared<TlsSession>(std::move(socket), tls, std::move(shared), peer, std::move(closed));
}

}  // namespace stele::ingest
