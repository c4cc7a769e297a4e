#include "appliance/daemons/receive_relp.h"

#include "appliance/daemons/receive_peer.h"
#include "appliance/ingest/relp.h"
#include "appliance/ingest/tls.h"

namespace stele::receive {
namespace {

using ingest::RelpEvent;

class RelpSession final : public StreamSession {
 public:
  RelpSession(LedgerLink& link, Listener& listener, ResentMemory& resent, StreamPeer& peer, RelpRefusal refusal,
              const ingest::RelpServer::Options& options, SignedSyslog* signed_syslog)
      : link_(link),
        listener_(listener),
        peer_(peer),
        refusal_(refusal),
        server_(options),
        flags_(listener, peer, signed_syslog),
        resent_(resent,
                resent.SourceOf(listener.name, peer.peer, peer.identity == nullptr ? "" : peer.identity->ToJson())) {}

  void Take(ByteView bytes, std::int64_t now_ns) override {
    server_.Feed(bytes);
    TakeEvents(now_ns);
    SendAnswers();
  }
  void End(ingest::EndReason reason, std::int64_t now_ns) override {
    server_.End(reason);
    TakeEvents(now_ns);
    resent_.Broke();
    server_.Close();  // the answers that are still to come may find a reader
    SendAnswers();
  }
  [[nodiscard]] bool inside_message() const override { return server_.inside_frame(); }
  [[nodiscard]] bool heard() const override { return server_.frames_count() != 0; }
  [[nodiscard]] bool closing() const override { return server_.closing(); }

  // A frame of messages was committed or refused, perhaps out of order.
  void Judge(std::uint64_t first, const LedgerLink::Outcome& outcome) {
    if (outcome.committed) {
      server_.Committed(first + outcome.first_record, outcome.count);
    } else if (refusal_ == RelpRefusal::kClose) {
      server_.Abandoned(first + outcome.first_record);
    } else {
      server_.Refused(first + outcome.first_record, outcome.count, "not stored");
    }
    SendAnswers();
  }

 private:
  void TakeEvents(std::int64_t now_ns) {
    RelpEvent event;
    while (server_.Next(event)) {
      switch (event.kind) {
        case RelpEvent::Kind::kMessage:
          TakeMessage(event, now_ns);
          break;
        case RelpEvent::Kind::kBroken:
          ++listener_.refused;
          Submit(now_ns);
          TakeUnanswered(event, now_ns);
          break;
        case RelpEvent::Kind::kOpenRefused:
        case RelpEvent::Kind::kUnknown:
          ++listener_.refused;
          break;
        case RelpEvent::Kind::kClosed:
          resent_.Forget();
          break;
        case RelpEvent::Kind::kOpened:
          break;
      }
    }
    Submit(now_ns);
  }

  void TakeMessage(const RelpEvent& event, std::int64_t now_ns) {
    if (!event.answerable) {
      Submit(now_ns);
      return TakeUnanswered(event, now_ns);
    }
    if (event.truncated || event.number != first_ + records_.size())
      Submit(now_ns);  // a frame's records are neighbours
    if (records_.empty()) first_ = event.number;
    std::uint16_t flags = flags_.Of(event.payload, now_ns);
    if (resent_.Seen(event.payload, server_.unanswered())) flags |= record::kFlagPossibleDuplicate;
    if (event.truncated) flags |= record::kFlagTruncated;
    flags |= flags_.OfSignature(event.payload, flags);
    records_.push_back({flags, event.payload});
    ++listener_.received;
    if (!event.truncated) return;
    Submit(now_ns);
    TakeOversize(event, now_ns);
  }

  // Half a message, a hint, what follows a broken frame: kept, but nobody is told.
  void TakeUnanswered(const RelpEvent& event, std::int64_t now_ns) {
    std::uint16_t flags = event.framing_error ? flags_.OfPeer() : flags_.Of(event.payload, now_ns);
    if (event.incomplete) flags |= record::kFlagIncomplete;
    if (event.framing_error) flags |= record::kFlagFramingError;
    if (event.truncated) flags |= record::kFlagTruncated;
    flags |= flags_.OfSignature(event.payload, flags);
    ++listener_.received;
    link_.Add(listener_, record::Kind::kSyslog, flags, peer_.source, now_ns, peer_.peer, event.payload);
    if (event.truncated) TakeOversize(event, now_ns);
  }

  void TakeOversize(const RelpEvent& event, std::int64_t now_ns) {
    ++listener_.received;
    link_.Add(listener_, record::Kind::kLoss, 0, peer_.source, now_ns, peer_.peer,
              AsBytes(OversizeEntry(listener_, event.full_length, {event.whole_salt, event.whole_hash}, now_ns)));
  }

  void Submit(std::int64_t now_ns) {
    if (records_.empty()) return;
    (void)link_.AddWaited(listener_, record::Kind::kSyslog, peer_.source, now_ns, peer_.peer, records_,
                          [directory = peer_.directory, id = peer_.id, first = first_,
                           listener = &listener_](const LedgerLink::Outcome& outcome) {
                            if (!outcome.committed) listener->refused += outcome.count;
                            auto* session = static_cast<RelpSession*>(directory->Find(id));
                            if (session != nullptr) session->Judge(first, outcome);
                          });
    records_.clear();
  }

  void SendAnswers() {
    if (server_.answers().empty()) return;
    peer_.Send(server_.answers());
    server_.ClearAnswers();
  }

  LedgerLink& link_;
  Listener& listener_;
  StreamPeer& peer_;
  RelpRefusal refusal_;
  ingest::RelpServer server_;
  PeerFlags flags_;
  ResentMemory::Session resent_;
  std::uint64_t first_ = 0;                        // number of the first of records_
  std::vector<LedgerLink::WaitedRecord> records_;  // of this call, its buffer kept
};

}  // namespace

StreamFactory RelpFactory(LedgerLink& link, Entropy& entropy, StreamBudget& budget, ResentMemory& resent,
                          Listener& listener, RelpOptions options) {
  return [&link, &entropy, &budget, &resent, &listener, options](StreamPeer& peer) -> std::unique_ptr<StreamSession> {
    ingest::RelpServer::Options server;
    server.message_bytes_max = options.message_bytes_max;
    server.held = &budget.held;
    entropy.Fill(server.salt_key);
    return std::make_unique<RelpSession>(link, listener, resent, peer, options.refusal, server, options.signed_syslog);
  };
}

}  // namespace stele::receive
