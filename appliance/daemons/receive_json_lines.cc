#include "appliance/daemons/receive_json_lines.h"

#include <deque>

#include "appliance/daemons/receive_peer.h"
#include "appliance/ingest/jws.h"
#include "appliance/ingest/json_lines.h"
#include "appliance/ingest/ndjson.h"
#include "appliance/ingest/senders.h"

namespace stele::receive {
namespace {

using ingest::FramedMessage;

// What the sessions of one listener share.
struct Shared {
  Shared(LedgerLink& shared_link, Listener& shared_listener, const JsonLinesOptions& options)
      : link(shared_link),
        listener(shared_listener),
        listener_index(options.listener_index),
        trust(options.trust),
        alarms(options.alarms) {}
  [[nodiscard]] bool open() const { return trust->tokens.empty() && trust->senders.empty(); }
  LedgerLink& link;
  Listener& listener;
  std::size_t listener_index;
  std::shared_ptr<const JsonTrust> trust;
  SignatureAlarms* alarms;
  ingest::JsonChecker checker;
};

class JsonLinesSession final : public StreamSession {
 public:
  JsonLinesSession(std::shared_ptr<Shared> shared, StreamPeer& peer, const ingest::StreamFramer::Options& options)
      : shared_(std::move(shared)),
        peer_(peer),
        framer_(options),
        trusted_(shared_->open() || peer.identity != nullptr) {}

  void Take(ByteView bytes, std::int64_t now_ns) override {
    framer_.Feed(bytes);
    TakeLines(bytes, now_ns);
  }
  void End(ingest::EndReason reason, std::int64_t now_ns) override {
    framer_.End(reason);
    TakeLines({}, now_ns);
  }
  [[nodiscard]] bool inside_message() const override { return framer_.inside_message(); }
  [[nodiscard]] bool heard() const override { return framer_.messages_count() != 0; }
  [[nodiscard]] bool closing() const override { return refused_ || (framer_.closed() && lines_answered_ == lines_); }

  // A frame of events was committed or refused, perhaps out of order.
  void Answer(std::uint64_t first_line, const LedgerLink::Outcome& outcome) {
    answers_.emplace(first_line, outcome);
    SendAnswers();
  }

 private:
  void TakeLines(ByteView read, std::int64_t now_ns) {
    records_.clear();
    losses_.clear();
    FramedMessage message;
    while (framer_.Next(message)) {
      if (refused_) continue;  // its bytes are nobody's
      TakeLine(message, read, now_ns);
    }
    if (!records_.empty()) Submit(now_ns);
    for (const std::string& loss : losses_) {
      ++shared_->listener.received;
      shared_->link.Add(shared_->listener, record::Kind::kLoss, 0, peer_.source, now_ns, peer_.peer, AsBytes(loss));
    }
  }

  void TakeLine(const FramedMessage& message, ByteView read, std::int64_t now_ns) {
    if (!message.truncated && ingest::EventOfLine(message.bytes).empty()) return;  // blank
    if (!logged_in_ && TakeLogin(message)) return;
    std::uint16_t flags = peer_.overflow ? record::kFlagOverflowSource : std::uint16_t{0};
    if (message.incomplete) flags |= record::kFlagIncomplete;
    if (message.framing_error) flags |= record::kFlagFramingError;
    if (message.truncated) {
      flags |= record::kFlagTruncated;
      losses_.push_back(
          OversizeEntry(shared_->listener, message.full_length, {message.whole_salt, message.whole_hash}, now_ns));
    }
    ++lines_;
    if (message.framing_error || message.truncated || !shared_->checker.IsJson(message.bytes)) {
      flags |= record::kFlagUnparsed;
      unparsed_.push_back(lines_);
    }
    if (!message.framing_error && !message.truncated) flags |= JudgeSignature(message.bytes, now_ns);
    ++shared_->listener.received;
    records_.push_back({flags, Kept(message.bytes, read)});
  }

  std::uint16_t JudgeSignature(ByteView event, std::int64_t now_ns) {
    const std::uint16_t flags = ingest::SignatureFlags(event, *shared_->trust->keys);
    if ((flags & record::kFlagSignatureInvalid) != 0 && shared_->alarms != nullptr) {
      shared_->alarms->Note({peer_.source, shared_->listener.name, record::PeerAddressText(peer_.peer), ""}, event,
                            *shared_->trust->keys, 1, now_ns);
    }
    return flags;
  }

  // The first line: a login is none of the events. True when the line has been dealt with.
  bool TakeLogin(const FramedMessage& message) {
    logged_in_ = true;
    const auto token = message.truncated || message.framing_error ? std::nullopt : ingest::ParseLogin(message.bytes);
    const auto sender = token ? shared_->trust->sender_set().NameOfToken(*token) : std::nullopt;
    if (token && !shared_->open() && !sender) return Refuse("the token is not known");  // even beside a certificate
    if (!token && !trusted_) return Refuse("the first line must be {\"auth\":\"token\"}");
    if (sender && !sender->empty() && peer_.identity == nullptr) {  // a certificate says more
      peer_.source = shared_->link.SourceOf(shared_->listener_index, shared_->listener, peer_.peer, SenderIdentity(*sender), peer_.overflow);
    }
    if (token) peer_.Send(AsBytes(ingest::LoginText()));
    return token.has_value();
  }

  bool Refuse(std::string_view why) {
    refused_ = true;
    ++shared_->listener.refused;
    peer_.Send(AsBytes(ingest::LineErrorText("unauthorized", why)));
    return true;
  }

  // A line that several reads brought lies in the framer only until the next one is cut; the others stay where they
  // were read.
  ByteView Kept(ByteView line, ByteView read) {
    if (line.data() >= read.data() && line.data() < read.data() + read.size()) return line;
    pieced_.assign(line.begin(), line.end());  // at most one a call: the first, or the last when the stream ends
    return pieced_;
  }

  void Submit(std::int64_t now_ns) {
    const std::uint64_t first_line = lines_ - records_.size() + 1;
    (void)shared_->link.AddWaited(
        shared_->listener, record::Kind::kJson, peer_.source, now_ns, peer_.peer, records_,
        [directory = peer_.directory, id = peer_.id, first_line, shared = shared_](const LedgerLink::Outcome& outcome) {
          if (!outcome.committed) shared->listener.refused += outcome.count;
          auto* session = static_cast<JsonLinesSession*>(directory->Find(id));
          if (session != nullptr) session->Answer(first_line + outcome.first_record, outcome);
        });
    if (pieced_.capacity() > ingest::kHeldBytesFree) Bytes().swap(pieced_);
  }

  // Everything that can be said in order: frames of one verdict in one line.
  void SendAnswers() {
    while (!answers_.empty() && answers_.begin()->first == lines_answered_ + 1) {
      const bool committed = answers_.begin()->second.committed;
      const std::uint64_t first_line = lines_answered_ + 1;
      ingest::LinesStored stored;
      for (auto at = answers_.begin();
           at != answers_.end() && at->first == lines_answered_ + 1 && at->second.committed == committed;
           at = answers_.erase(at)) {
        if (committed) stored.AddRange(at->second.first_sequence, at->second.count);
        lines_answered_ += at->second.count;
      }
      for (; !unparsed_.empty() && unparsed_.front() <= lines_answered_; unparsed_.pop_front())
        stored.AddUnparsed(unparsed_.front());
      stored.last_line = lines_answered_;
      peer_.Send(AsBytes(committed ? ingest::AckText(stored) : ingest::NackText(first_line, lines_answered_)));
    }
  }

  std::shared_ptr<Shared> shared_;  // of the factory and its sessions; acknowledgements may come after both
  StreamPeer& peer_;
  ingest::StreamFramer framer_;
  bool trusted_ = false;
  bool logged_in_ = false;  // the first line has been seen
  bool refused_ = false;
  std::uint64_t lines_ = 0;  // events so far
  std::uint64_t lines_answered_ = 0;
  std::deque<std::uint64_t> unparsed_;                    // lines not yet answered
  std::map<std::uint64_t, LedgerLink::Outcome> answers_;  // by first line; not yet sent, at most one per open frame
  std::vector<LedgerLink::WaitedRecord> records_;         // of this call, its buffer kept
  std::vector<std::string> losses_;
  Bytes pieced_;
};

}  // namespace

StreamFactory JsonLinesFactory(LedgerLink& link, Entropy& entropy, StreamBudget& budget, Listener& listener,
                               JsonLinesOptions options) {
  auto shared = std::make_shared<Shared>(link, listener, options);
  return [shared, &entropy, &budget,
          message_bytes_max = options.message_bytes_max](StreamPeer& peer) -> std::unique_ptr<StreamSession> {
    ingest::StreamFramer::Options framer;
    framer.framing = ingest::Framing::kLines;
    framer.message_bytes_max = message_bytes_max;
    framer.held = &budget.held;
    entropy.Fill(framer.salt_key);
    return std::make_unique<JsonLinesSession>(shared, peer, framer);
  };
}

}  // namespace stele::receive
