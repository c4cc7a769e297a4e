// The channel to stele-query: requests go out, parts of answers come back to whoever asked.
//
// Memory is bounded: what waits for slow clients is counted, and above limits::kWebPendingBytes the channel is not read
// until it falls to half. Standing still longer than kWebPauseMs costs the client with the most waiting its connection.
// A replacement channel may come at any time: open requests are lost (their clients are told), new ones use it.
// Thread safety: everything on the thread of the io_context.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string_view>

#include "appliance/base/fd.h"
#include "appliance/base/limits.h"
#include "appliance/channel/api_messages.h"
#include "appliance/channel/channel.h"

namespace stele::web {

// One open request's client.
class AnswerSink {
 public:
  virtual ~AnswerSink() = default;
  virtual void OnResponse(const channel::ApiResponse& response) = 0;
  virtual void OnBody(ByteView bytes, bool end) = 0;
  virtual void OnLost(std::string_view why) = 0;  // there will be no more
  [[nodiscard]] virtual std::size_t waiting_bytes() const = 0;
};

class QueryLink {
 public:
  struct Bounds {
    std::size_t pending_bytes = limits::kWebPendingBytes;
    std::int64_t pause_ms = limits::kWebPauseMs;
  };
  // `notice` gets one line for the log about each thing an operator should know.
  QueryLink(boost::asio::io_context& context, const Bounds& bounds, std::function<void(std::string_view)> notice);
  ~QueryLink();

  void SetChannel(UniqueFd channel);  // SOCK_SEQPACKET, connected
  void Close();
  [[nodiscard]] bool connected() const { return channel_ != nullptr; }

  // The request's id is chosen here. kUnavailable: no channel, or it is full. kInvalid: too large for one frame.
  [[nodiscard]] Result<std::uint64_t> Open(channel::ApiRequest request, const std::shared_ptr<AnswerSink>& sink);
  // The client has everything, or is gone: then stele-query is told to stop. Every id that Open() gave comes here once.
  void Release(std::uint64_t id);
  // Of a download: its client has taken so much, stele-query may send more.
  void Taken(std::uint64_t id, std::uint64_t bytes);

  // Bytes that wait for a client: added when queued, taken off when sent or dropped.
  void AddPending(std::size_t bytes);
  void RemovePending(std::size_t bytes);
  [[nodiscard]] std::size_t pending_bytes() const { return pending_bytes_; }

 private:
  struct OpenRequest {
    std::weak_ptr<AnswerSink> sink;
    bool answered = false;  // its ApiResponse has come
    bool ended = false;     // its last part has come; bytes may still wait for the client
  };

  void WaitToRead();
  void ReadFrames();
  [[nodiscard]] Result<void> HandleFrame(const channel::FrameView& frame);
  [[nodiscard]] Result<void> HandleResponse(ByteView body);
  [[nodiscard]] Result<void> HandleBody(ByteView body);
  void Drop(std::string_view why);
  void Pause();
  void Resume();
  void FlushWords();

  boost::asio::io_context& context_;
  Bounds bounds_;
  std::function<void(std::string_view)> notice_;
  std::unique_ptr<boost::asio::posix::stream_descriptor> channel_;
  boost::asio::steady_timer pause_timer_;
  Bytes buffer_;
  std::map<std::uint64_t, OpenRequest> open_;
  std::deque<std::pair<channel::Type, Bytes>> words_;  // cancelled, taken; not sent yet: the channel was full
  std::uint64_t next_id_ = 1;          // never used twice, on any channel
  std::uint64_t generation_ = 0;       // of the channel; late handlers of an older one do nothing
  std::size_t pending_bytes_ = 0;
  bool greeted_ = false;  // the peer's hello has come
  bool reading_ = false;
  bool paused_ = false;
  bool flushing_ = false;
};

}  // namespace stele::web
