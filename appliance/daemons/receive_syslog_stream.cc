#include "appliance/daemons/receive_peer.h"
#include "appliance/daemons/receive_syslog.h"

namespace stele::receive {
namespace {

// RFC 6587 (plain TCP) or RFC 5425 (TLS) on one connection.
class SyslogSession final : public StreamSession {
 public:
  SyslogSession(LedgerLink& link, Listener& listener, const StreamPeer& peer,
                const ingest::StreamFramer::Options& options, SignedSyslog* signed_syslog)
      : link_(link), listener_(listener), peer_(peer), framer_(options), flags_(listener, peer, signed_syslog) {}

  void Take(ByteView bytes, std::int64_t now_ns) override {
    framer_.Feed(bytes);
    TakeMessages(now_ns);
    if (framer_.closed()) ++listener_.refused;
  }
  void End(ingest::EndReason reason, std::int64_t now_ns) override {
    framer_.End(reason);
    TakeMessages(now_ns);
  }
  [[nodiscard]] bool inside_message() const override { return framer_.inside_message(); }
  [[nodiscard]] bool heard() const override { return framer_.messages_count() != 0; }
  [[nodiscard]] bool closing() const override { return framer_.closed(); }

 private:
  void TakeMessages(std::int64_t now_ns) {
    ingest::FramedMessage message;
    while (framer_.Next(message)) {
      ++listener_.received;
      if (message.truncated) {
        TakeTruncated(message, now_ns);
        continue;
      }
      std::uint16_t flags = FlagsOf(message, now_ns);
      if (message.incomplete) flags |= record::kFlagIncomplete;
      if (message.framing_error) flags |= record::kFlagFramingError;
      flags |= flags_.OfSignature(message.bytes, flags);
      link_.Add(listener_, record::Kind::kSyslog, flags, peer_.source, now_ns, peer_.peer, message.bytes);
    }
  }

  void TakeTruncated(const ingest::FramedMessage& message, std::int64_t now_ns) {
    auto flags = static_cast<std::uint16_t>(record::kFlagTruncated | FlagsOf(message, now_ns));
    if (message.incomplete) flags |= record::kFlagIncomplete;
    flags |= flags_.OfSignature(message.bytes, flags);
    link_.Add(listener_, record::Kind::kSyslog, flags, peer_.source, now_ns, peer_.peer, message.bytes);
    link_.Add(listener_, record::Kind::kLoss, 0, peer_.source, now_ns, peer_.peer,
              AsBytes(OversizeEntry(listener_, message.full_length, {message.whole_salt, message.whole_hash}, now_ns)));
    ++listener_.received;
  }

  [[nodiscard]] std::uint16_t FlagsOf(const ingest::FramedMessage& message, std::int64_t now_ns) {
    return message.framing_error ? flags_.OfPeer() : flags_.Of(message.bytes, now_ns);
  }

  LedgerLink& link_;
  Listener& listener_;
  const StreamPeer& peer_;
  ingest::StreamFramer framer_;
  PeerFlags flags_;
};

}  // namespace

StreamFactory SyslogFactory(LedgerLink& link, Entropy& entropy, StreamBudget& budget, Listener& listener,
                            SyslogOptions options, ingest::Framing framing) {
  return [&link, &entropy, &budget, &listener, options, framing](StreamPeer& peer) -> std::unique_ptr<StreamSession> {
    ingest::StreamFramer::Options framer;
    framer.framing = framing;
    framer.message_bytes_max = options.message_bytes_max;
    framer.held = &budget.held;
    entropy.Fill(framer.salt_key);
    return std::make_unique<SyslogSession>(link, listener, peer, framer, options.signed_syslog);
  };
}

}  // namespace stele::receive
