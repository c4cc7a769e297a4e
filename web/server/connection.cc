#include "web/server/connection.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <chrono>
#include <utility>

namespace stele::web {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr std::int64_t kClosingMs = 2'000;
constexpr std::size_t kDrainBytesMax = 256 * limits::kKiB;
constexpr std::size_t kTakenBytes = 64 * limits::kKiB;  // between two words to stele-query
constexpr std::size_t kPieceBytes = 16 * limits::kKiB;  // small parts are joined up to here: one TLS record

// What stele-query may answer with. Never a type that a browser renders as a page.
std::string ContentTypeOf(const std::string& wanted) {
  static constexpr std::array<std::string_view, 8> kTypes = {"application/json",
                                                             "application/octet-stream",
                                                             "application/x-ndjson",
                                                             "application/zip",
                                                             "application/x-tar",
                                                             "text/event-stream",
                                                             "text/csv",
                                                             "text/plain"};
  const std::string_view bare = std::string_view(wanted).substr(0, wanted.find(';'));
  if (std::find(kTypes.begin(), kTypes.end(), bare) == kTypes.end()) return "application/octet-stream";
  return bare.starts_with("text/") && bare != "text/event-stream" ? std::string(bare) + "; charset=utf-8"
                                                                  : std::string(bare);
}

bool AllOf(std::string_view text, std::string_view extra) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [extra](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           extra.find(c) != std::string_view::npos;
  });
}

// Only `attachment; filename="plain-name.ext"` (a name from a log must not become a field of an answer).
bool IsPlainDisposition(std::string_view value) {
  constexpr std::string_view kBegin = "attachment; filename=\"";
  if (!value.starts_with(kBegin) || !value.ends_with('"') || value.size() <= kBegin.size()) return false;
  return AllOf(value.substr(kBegin.size(), value.size() - kBegin.size() - 1), "._-");
}

// The answer's fields from stele-query's words; anything else is dropped.
AnswerHead HeadOf(const channel::ApiResponse& response) {
  AnswerHead head;
  head.status = response.status >= 200 && response.status <= 599 ? response.status : 500;
  head.content_type = ContentTypeOf(response.content_type);
  for (const auto& field : response.headers) {
    const std::string& value = field.second;
    if (field.first == "set-session" && AllOf(value, "-_.~+/=")) {
      head.fields.emplace_back("Set-Cookie", "__Host-stele=" + value + "; Secure; HttpOnly; SameSite=Strict; Path=/");
    } else if (field.first == "clear-session") {
      head.fields.emplace_back("Set-Cookie", "__Host-stele=; Max-Age=0; Secure; HttpOnly; SameSite=Strict; Path=/");
    } else if (field.first == "retry-after" && value.size() <= 9 &&
               value.find_first_not_of("0123456789") == std::string::npos) {
      head.fields.emplace_back("Retry-After", value);
    } else if (field.first == "cache-control" && AllOf(value, "-=, ")) {
      head.cache_control = value;
    } else if (field.first == "content-disposition" && IsPlainDisposition(value)) {
      head.fields.emplace_back("Content-Disposition", value);
      head.download = true;
    }
  }
  return head;
}

bool EtagMatches(std::string_view if_none_match, std::string_view etag) {
  return if_none_match == "*" || if_none_match.find(etag) != std::string_view::npos;
}

}  // namespace

Connection::Connection(asio::ip::tcp::socket socket, std::string address, Door& door)
    : door_(door),
      stream_(std::move(socket), door.tls),
      address_(std::move(address)),
      deadline_(stream_.get_executor()),
      stall_(stream_.get_executor()) {}

void Connection::Start() {
  Enter(Phase::kHandshake);
  stream_.async_handshake(asio::ssl::stream_base::server, [self = shared_from_this()](const error_code& error) {
    if (self->closed_) return;
    if (error) return self->HardClose();
    self->identity_ = IdentityOf(self->stream_.native_handle());
    self->Enter(Phase::kIdle);
    self->Read();
  });
}

void Connection::HardClose() {
  if (std::exchange(closed_, true)) return;
  deadline_.cancel();
  stall_.cancel();
  error_code ignored;  // the descriptor is gone whatever it says
  // With bytes still waiting this is a cut: reset, so that the kernel does not hold what a slow client left for minutes.
  if (!out_.empty()) (void)stream_.lowest_layer().set_option(asio::socket_base::linger(true, 0), ignored);
  (void)stream_.lowest_layer().close(ignored);
  if (query_id_ != 0) door_.link.Release(std::exchange(query_id_, 0));
  door_.link.RemovePending(std::exchange(waiting_bytes_, 0));
  if (!writing_) out_.clear();  // else the write under way still points into it
  door_.closed(this);
}

void Connection::Enter(Phase phase) {
  phase_ = phase;
  std::int64_t wait_ms = 0;
  switch (phase) {
    case Phase::kHandshake:
      wait_ms = door_.bounds.handshake_ms;
      break;
    case Phase::kIdle:
      wait_ms = door_.bounds.idle_ms;
      break;
    case Phase::kHead:
    case Phase::kBody:
      wait_ms = door_.bounds.head_ms;
      break;
    case Phase::kAnswer:
      wait_ms = door_.bounds.answer_ms;
      break;
    case Phase::kClosing:
      wait_ms = kClosingMs;
      break;
  }
  deadline_.expires_after(std::chrono::milliseconds(wait_ms));
  deadline_.async_wait([weak = weak_from_this()](const error_code& error) {
    const auto self = weak.lock();
    // The timer may have been set anew between its firing and this call.
    if (!error && self && !self->closed_ && self->deadline_.expiry() <= std::chrono::steady_clock::now())
      self->OnDeadline();
  });
}

void Connection::OnDeadline() {
  if (phase_ != Phase::kAnswer) return HardClose();
  if (head_sent_ || query_id_ == 0) return;  // the stall timer watches what is being sent
  door_.link.Release(std::exchange(query_id_, 0));
  SendError(503, "unavailable", "stele-query did not answer in time");
}

void Connection::Read() {
  if (reading_ || closed_ || phase_ == Phase::kClosing) return;
  const std::size_t room_bytes = limits::kHttpHeaderBytes + limits::kWebBodyBytes;
  if (inbox_.size() >= room_bytes) return;  // the next requests wait in the socket
  reading_ = true;
  stream_.async_read_some(asio::buffer(chunk_), [self = shared_from_this()](const error_code& error, std::size_t size) {
    self->reading_ = false;
    self->OnRead(error, size);
  });
}

void Connection::OnRead(const error_code& error, std::size_t size_bytes) {
  if (closed_) return;
  if (phase_ == Phase::kClosing) return Drain();  // BeginClose() ended this read
  if (error) {
    // The client is gone. What is already queued of a file may still arrive; nobody waits for an answer.
    if (phase_ != Phase::kAnswer || query_id_ != 0 || !answer_queued_) return HardClose();
    close_after_ = true;
    return;
  }
  inbox_.append(chunk_.data(), size_bytes);
  if (phase_ != Phase::kAnswer) Process();
  Read();
}

void Connection::Process() {
  if (phase_ == Phase::kBody) {
    if (inbox_.size() < request_.content_length) return;
    std::string body = inbox_.substr(0, request_.content_length);
    inbox_.erase(0, request_.content_length);
    return Handle(std::move(body));
  }
  if (inbox_.empty()) return;
  if (phase_ == Phase::kIdle) Enter(Phase::kHead);
  ProcessHead();
}

void Connection::ProcessHead() {
  const std::size_t from = scanned_bytes_ < 3 ? 0 : scanned_bytes_ - 3;
  const std::size_t found = FindHeadEnd(std::string_view(inbox_).substr(from));
  const std::size_t end = found == std::string_view::npos ? found : from + found;
  scanned_bytes_ = inbox_.size();
  if (std::min(end, inbox_.size()) > limits::kHttpHeaderBytes) {
    close_after_ = true;
    return SendError(431, "bad_request", "the request's head is too long");
  }
  if (end == std::string_view::npos) return;
  const auto head = ParseHead(std::string_view(inbox_).substr(0, end));
  inbox_.erase(0, end);
  scanned_bytes_ = 0;
  if (!head) {
    close_after_ = true;
    return SendError(400, "bad_request", head.error().context);
  }
  auto judged = Judge(*head, door_.hosts);
  if (!judged) {
    const Refusal& refusal = judged.error();
    close_after_ = close_after_ || refusal.close;
    request_ = {};
    request_.head_only = head->method == "HEAD";
    request_.localhost = refusal.localhost;
    std::vector<std::pair<std::string, std::string>> fields;
    if (!refusal.allow.empty()) fields.emplace_back("Allow", refusal.allow);
    return SendError(refusal.status, refusal.code, refusal.message, std::move(fields));
  }
  request_ = std::move(*judged);
  if (!request_.keep_alive) close_after_ = true;
  if (request_.content_length == 0) return Handle({});
  Enter(Phase::kBody);
  Process();
}

void Connection::Handle(std::string body) {
  Enter(Phase::kAnswer);
  if (request_.api) return AskQuery(std::move(body));
  SendAsset();
}

void Connection::SendAsset() {
  const Asset* asset = FindAsset(request_.path);
  if (asset == nullptr) return SendError(404, "not_found", "there is no such page");
  const std::string etag = "\"" + std::string(asset->sha256_hex) + "\"";
  AnswerHead head;
  head.content_type = asset->content_type;
  head.cache_control = asset->immutable ? "public, max-age=31536000, immutable" : "no-cache";
  head.fields.emplace_back("ETag", etag);
  if (asset->attachment) {
    head.fields.emplace_back("Content-Disposition", "attachment; filename=\"" + std::string(asset->path.substr(1)) + "\"");
  }
  head.length = asset->bytes.size();
  const bool known = EtagMatches(request_.if_none_match, etag);
  if (known) head.status = 304;
  SendHead(std::move(head));
  if (!known && !request_.head_only) EnqueueStatic(asset->bytes);
  FinishAnswer();
}

void Connection::AskQuery(std::string body) {
  if (request_.sign_in) {
    const std::int64_t wait_seconds = door_.logins.Take(LoginKey(address_), door_.clock.BoottimeNs());
    if (wait_seconds > 0) {
      return SendError(429, "too_many", "too many attempts to sign in from this address",
                       {{"Retry-After", std::to_string(wait_seconds)}});
    }
  }
  channel::ApiRequest ask;
  ask.method = request_.method;
  ask.path = request_.path;
  ask.query = request_.query;
  ask.headers = request_.headers;
  ask.session_token = request_.session_token;
  ask.certificate_sha256 = identity_.certificate_sha256;
  ask.certificate_name = identity_.certificate_name;
  ask.peer = address_;
  ask.body = std::move(body);
  const auto id = door_.link.Open(std::move(ask), shared_from_this());
  if (id) {
    query_id_ = *id;
    return;
  }
  if (id.error().code == Code::kInvalid) return SendError(413, "bad_request", "the request is too large");
  SendError(503, "unavailable", id.error().context, {{"Retry-After", "1"}});
}

void Connection::OnResponse(const channel::ApiResponse& response) {
  if (closed_) return;
  head_ = HeadOf(response);
  tail_ = head_.content_type == "text/event-stream";
  download_ = head_.download;
  if (request_.head_only) {
    SendHead(std::move(head_));
    return FinishAnswer();
  }
  if (tail_) SendHead(std::move(head_));  // the first event may be a long time away
}

void Connection::OnBody(ByteView bytes, bool end) {
  if (closed_ || answer_queued_) return;
  if (!head_sent_) {
    if (end) head_.length = bytes.size();
    SendHead(std::move(head_));
    if (end) {
      Enqueue(std::string(AsText(bytes)));
      return FinishAnswer();
    }
  }
  if (!bytes.empty()) Enqueue(FormatChunk(bytes));
  if (tail_ && waiting_bytes_ > door_.bounds.tail_bytes) {
    // An unfinished chunked body is an error the browser sees; it comes back with Last-Event-ID and misses nothing.
    door_.notice("a live tail of " + address_ + " did not keep up: cut, to be resumed");
    return HardClose();
  }
  if (!end) return;
  Enqueue(std::string(kLastChunk));
  FinishAnswer();
}

void Connection::OnLost(std::string_view why) {
  if (closed_) return;
  query_id_ = 0;
  if (head_sent_) return HardClose();  // loudly: the body has no end
  SendError(503, "unavailable", why, {{"Retry-After", "1"}});
}

void Connection::SendError(int status, std::string_view code, std::string_view message,
                           std::vector<std::pair<std::string, std::string>> fields) {
  const std::string body = ErrorBody(code, message);
  AnswerHead head;
  head.status = status;
  head.content_type = "application/json";
  head.fields = std::move(fields);
  head.length = body.size();
  if (phase_ != Phase::kAnswer) Enter(Phase::kAnswer);
  SendHead(std::move(head));
  if (!request_.head_only) Enqueue(body);
  FinishAnswer();
}

void Connection::SendHead(AnswerHead head) {
  head_sent_ = true;
  head.close = close_after_;
  head.localhost = request_.localhost;
  Enqueue(FormatHead(head, door_.clock.WallNs()));
}

void Connection::Enqueue(std::string bytes) {
  if (bytes.empty() || closed_) return;
  waiting_bytes_ += bytes.size();
  door_.link.AddPending(bytes.size());
  if (out_.size() > 1 && out_.back().static_part.empty() && out_.back().owned.size() + bytes.size() <= kPieceBytes) {
    out_.back().owned += bytes;  // not the front one: a write may point into it
  } else {
    Piece piece;
    piece.owned = std::move(bytes);
    out_.push_back(std::move(piece));
  }
  WriteNext();
}

void Connection::EnqueueStatic(std::string_view bytes) {
  if (bytes.empty() || closed_) return;
  Piece piece;
  piece.static_part = bytes;
  out_.push_back(std::move(piece));
  WriteNext();
}

void Connection::WriteNext() {
  if (writing_ || closed_ || out_.empty()) return;
  writing_ = true;
  stall_.expires_after(std::chrono::milliseconds(door_.bounds.stall_ms));
  stall_.async_wait([weak = weak_from_this()](const error_code& error) {
    const auto self = weak.lock();
    if (error || !self || self->closed_ || !self->writing_) return;
    if (self->stall_.expiry() > std::chrono::steady_clock::now()) return;
    self->HardClose();
  });
  const std::string_view rest = out_.front().bytes().substr(front_sent_bytes_);
  stream_.async_write_some(asio::buffer(rest.data(), rest.size()),
                           [self = shared_from_this()](const error_code& error, std::size_t size) {
                             self->writing_ = false;
                             self->OnWrite(error, size);
                           });
}

void Connection::OnWrite(const error_code& error, std::size_t size_bytes) {
  if (closed_) return out_.clear();
  if (error) return HardClose();
  front_sent_bytes_ += size_bytes;
  if (!out_.front().owned.empty()) {
    waiting_bytes_ -= size_bytes;
    door_.link.RemovePending(size_bytes);
    taken_bytes_ += size_bytes;
  }
  if (download_ && query_id_ != 0 && (taken_bytes_ >= kTakenBytes || out_.size() == 1)) {
    door_.link.Taken(query_id_, std::exchange(taken_bytes_, 0));
  }
  if (front_sent_bytes_ == out_.front().bytes().size()) {
    out_.pop_front();
    front_sent_bytes_ = 0;
  }
  if (!out_.empty()) return WriteNext();
  stall_.cancel();
  if (answer_queued_) NextRequest();
}

void Connection::FinishAnswer() {
  answer_queued_ = true;
  if (out_.empty() && !writing_) NextRequest();
}

void Connection::NextRequest() {
  if (query_id_ != 0) door_.link.Release(std::exchange(query_id_, 0));
  head_sent_ = answer_queued_ = tail_ = download_ = false;
  taken_bytes_ = 0;
  request_ = {};
  head_ = {};
  if (close_after_) return BeginClose();
  Enter(Phase::kIdle);
  Process();
  Read();
}

// Says goodbye so that the answer arrives: close_notify, then the write side, then what the client still sends is read
// and dropped. Closing with unread bytes would make the kernel reset the connection and the client lose its answer.
void Connection::BeginClose() {
  Enter(Phase::kClosing);
  if (reading_) {
    error_code ignored;
    (void)stream_.lowest_layer().cancel(ignored);  // OnRead() goes on
    return;
  }
  Drain();
}

void Connection::Drain() {
  stream_.async_shutdown([self = shared_from_this()](const error_code&) {
    if (self->closed_) return;
    error_code ignored;
    (void)self->stream_.next_layer().shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
    const auto again = [](const std::shared_ptr<Connection>& connection, const auto& step) -> void {
      connection->stream_.next_layer().async_read_some(
          asio::buffer(connection->chunk_), [connection, step](const error_code& error, std::size_t size) {
            connection->drained_bytes_ += size;
            if (error || connection->closed_ || connection->drained_bytes_ > kDrainBytesMax) {
              return connection->HardClose();
            }
            step(connection, step);
          });
    };
    again(self, again);
  });
}

}  // namespace stele::web
