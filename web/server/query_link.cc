#include "web/server/query_link.h"

#include <boost/asio/post.hpp>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace stele::web {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr int kFramesPerTurn = 32;         // then the clients get their turn
constexpr std::size_t kBodyRoomBytes = 2;  // the frame's type

}  // namespace

QueryLink::QueryLink(asio::io_context& context, const Bounds& bounds, std::function<void(std::string_view)> notice)
    : context_(context), bounds_(bounds), notice_(std::move(notice)), pause_timer_(context) {
  buffer_.resize(limits::kChannelFrameBytes);
}

QueryLink::~QueryLink() { ++generation_; }

void QueryLink::SetChannel(UniqueFd channel) {
  Drop("the channel was replaced");
  channel::Hello hello;
  hello.role = channel::Role::kWeb;
  hello.frame_bytes_max = static_cast<std::uint32_t>(limits::kChannelFrameBytes);
  hello.credits = limits::kChannelCredits;
  auto ready = channel::SetBlocking(channel.get(), false);
  if (ready) ready = channel::SendHello(channel.get(), hello);
  if (!ready) return notice_("channel to stele-query: " + Describe(ready.error()));
  error_code error;
  auto descriptor = std::make_unique<asio::posix::stream_descriptor>(context_);
  (void)descriptor->assign(channel.get(), error);
  if (error) return notice_("channel to stele-query: " + error.message());
  (void)channel.release();  // the descriptor owns it now
  channel_ = std::move(descriptor);
  WaitToRead();
}

void QueryLink::Close() { Drop("the server is stopping"); }

void QueryLink::Drop(std::string_view why) {
  ++generation_;
  channel_.reset();
  greeted_ = reading_ = paused_ = flushing_ = false;
  pause_timer_.cancel();
  words_.clear();
  const auto lost = std::exchange(open_, {});
  for (const auto& entry : lost) {
    if (const auto sink = entry.second.sink.lock()) sink->OnLost(why);
  }
}

Result<std::uint64_t> QueryLink::Open(channel::ApiRequest request, const std::shared_ptr<AnswerSink>& sink) {
  if (!channel_) return Fail(Code::kUnavailable, "stele-query is not there");
  if (!words_.empty()) return Fail(Code::kUnavailable, "stele-query is busy");
  request.id = next_id_++;
  const Bytes body = channel::EncodeApiRequest(request);
  if (body.size() + kBodyRoomBytes > limits::kChannelFrameBytes)
    return Fail(Code::kInvalid, "the request is too large");
  STELE_TRY_VOID(channel::Send(channel_->native_handle(), channel::Type::kApiRequest, body));
  OpenRequest open;
  open.sink = sink;
  open_.emplace(request.id, std::move(open));
  return request.id;
}

void QueryLink::Release(std::uint64_t id) {
  const auto found = open_.find(id);
  if (found == open_.end()) return;
  const bool ended = found->second.ended;
  open_.erase(found);
  if (ended || !channel_) return;
  // Bounded: no request is opened while one waits, and what is taken was sent before.
  words_.emplace_back(channel::Type::kApiCancel, channel::EncodeApiCancel(id));
  FlushWords();
}

void QueryLink::Taken(std::uint64_t id, std::uint64_t bytes) {
  if (!open_.contains(id) || !channel_) return;
  words_.emplace_back(channel::Type::kApiTaken, channel::EncodeApiTaken({id, bytes}));
  FlushWords();
}

void QueryLink::FlushWords() {
  if (flushing_) return;
  while (channel_ && !words_.empty()) {
    const auto sent = channel::Send(channel_->native_handle(), words_.front().first, words_.front().second);
    if (!sent && sent.error().code == Code::kUnavailable) {
      flushing_ = true;
      channel_->async_wait(asio::posix::stream_descriptor::wait_write,
                           [this, generation = generation_](const error_code& error) {
                             if (error || generation != generation_) return;
                             flushing_ = false;
                             FlushWords();
                           });
      return;
    }
    words_.pop_front();  // sent, or the peer is gone, which the reader will see
  }
}

void QueryLink::WaitToRead() {
  if (!channel_ || reading_ || paused_) return;
  reading_ = true;
  channel_->async_wait(asio::posix::stream_descriptor::wait_read,
                       [this, generation = generation_](const error_code& error) {
                         if (error || generation != generation_) return;
                         reading_ = false;
                         ReadFrames();
                       });
}

void QueryLink::ReadFrames() {
  const std::uint64_t generation = generation_;
  for (int i = 0; i < kFramesPerTurn && channel_ && !paused_; ++i) {
    const auto frame = channel::ReceiveInto(channel_->native_handle(), buffer_, false);
    if (!frame && frame.error().code == Code::kUnavailable) break;
    const Result<void> handled = frame ? HandleFrame(*frame) : tl::unexpected(frame.error());
    if (generation != generation_) return;  // a sink's reaction replaced or closed the channel
    if (!handled) {
      const bool closed = handled.error().code == Code::kNotFound;
      notice_(closed ? "stele-query closed its channel"
                     : "channel to stele-query closed: " + Describe(handled.error()));
      return Drop("stele-query is gone");
    }
  }
  WaitToRead();
}

Result<void> QueryLink::HandleFrame(const channel::FrameView& frame) {
  if (!greeted_) {
    if (frame.type != channel::Type::kHello) return Fail(Code::kInvalid, "the first frame is not a hello");
    STELE_TRY(const channel::Hello hello, channel::DecodeHello(frame.body));
    if (hello.role != channel::Role::kQuery) return Fail(Code::kInvalid, "the peer is not stele-query");
    greeted_ = true;
    return {};
  }
  switch (frame.type) {
    case channel::Type::kApiResponse:
      return HandleResponse(frame.body);
    case channel::Type::kApiBody:
      return HandleBody(frame.body);
    default:
      return Fail(Code::kInvalid, "a frame that has no place on this channel");
  }
}

Result<void> QueryLink::HandleResponse(ByteView body) {
  STELE_TRY(const channel::ApiResponse response, channel::DecodeApiResponse(body));
  const auto found = open_.find(response.id);
  if (found == open_.end()) {
    if (response.id >= next_id_) return Fail(Code::kInvalid, "an answer to a request that was never sent");
    return {};  // its cancel is on the way
  }
  if (std::exchange(found->second.answered, true)) return Fail(Code::kInvalid, "a second answer to one request");
  if (const auto sink = found->second.sink.lock()) sink->OnResponse(response);
  return {};
}

Result<void> QueryLink::HandleBody(ByteView body) {
  STELE_TRY(const channel::ApiBody part, channel::DecodeApiBody(body));
  const auto found = open_.find(part.id);
  if (found == open_.end()) {
    if (part.id >= next_id_) return Fail(Code::kInvalid, "a part of an answer that was never asked for");
    return {};
  }
  if (!found->second.answered) return Fail(Code::kInvalid, "a part before its answer's head");
  if (found->second.ended) return Fail(Code::kInvalid, "a part after the last one");
  found->second.ended = part.end;
  if (const auto sink = found->second.sink.lock()) sink->OnBody(part.bytes, part.end);
  return {};
}

void QueryLink::AddPending(std::size_t bytes) {
  pending_bytes_ += bytes;
  if (pending_bytes_ > bounds_.pending_bytes) Pause();
}

void QueryLink::RemovePending(std::size_t bytes) {
  pending_bytes_ -= bytes;
  if (paused_ && pending_bytes_ <= bounds_.pending_bytes / 2) Resume();
}

void QueryLink::Pause() {
  if (paused_ || !channel_) return;
  paused_ = true;
  pause_timer_.expires_after(std::chrono::milliseconds(bounds_.pause_ms));
  pause_timer_.async_wait([this, generation = generation_](const error_code& error) {
    if (error || generation != generation_ || !paused_) return;
    std::uint64_t slowest = 0;
    std::size_t most_bytes = 0;
    std::shared_ptr<AnswerSink> victim;
    for (const auto& entry : open_) {
      auto sink = entry.second.sink.lock();
      if (!sink || sink->waiting_bytes() <= most_bytes) continue;
      most_bytes = sink->waiting_bytes();
      slowest = entry.first;
      victim = std::move(sink);
    }
    paused_ = false;  // Pause() again if that was not enough
    if (victim) {
      notice_("a client that takes too little held up the others: closed");
      Release(slowest);
      victim->OnLost("too slow");
    }
    if (pending_bytes_ > bounds_.pending_bytes / 2) {
      Pause();
    } else {
      WaitToRead();
    }
  });
}

void QueryLink::Resume() {
  paused_ = false;
  pause_timer_.cancel();
  WaitToRead();
}

}  // namespace stele::web
