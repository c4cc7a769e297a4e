#include "appliance/daemons/receive_link.h"

#include <fcntl.h>
#include <unistd.h>

#include <boost/asio/post.hpp>
#include <nlohmann/json.hpp>

#include "appliance/base/system.h"

namespace stele::receive {
namespace {

using channel::Type;
// What is in a listener's balance; loss entries and alarms are about others.
bool Counts(record::Kind kind) { return kind == record::Kind::kSyslog || kind == record::Kind::kJson; }

constexpr std::size_t kFlagsAt = 1;  // in a record header: kind:u8 flags:u16
constexpr std::size_t kLengthAt = channel::kRecordHeaderBytes - 4;

void SetFlag(std::byte* header, std::uint16_t flag) {
  StoreLittle(header + kFlagsAt, static_cast<std::uint16_t>(LoadLittle<std::uint16_t>(header + kFlagsAt) | flag));
}

}  // namespace

void Listener::LoseOf(Cause cause, std::uint32_t source, const record::Peer& peer, std::uint64_t count, std::int64_t now_ns) {
  account->Lose(cause, count, now_ns);
  auto at = losers.find({cause, source});
  if (at == losers.end()) {
    if (losers.size() >= limits::kLosersListed) return;
    at = losers.try_emplace({cause, source}, Loser{0, record::PeerAddressText(peer)}).first;
  }
  at->second.count += count;
}

void Listener::HandshakeFailed(const record::Peer& peer, const std::string& why, std::int64_t now_ns) {
  ++handshakes_failed;
  ++refused;
  handshake_failure = record::PeerText(peer) + ": " + why;
  handshake_failure_ns = now_ns;
}

std::size_t LedgerLink::SourceKeyHash::operator()(const SourceKey& key) const {
  return Checksum32(key.address) ^ (key.listener * 0x9e3779b9U) ^ std::hash<std::string>()(key.identity) ^
         (std::hash<std::string>()(key.target) * 3);
}

LedgerLink::LedgerLink(boost::asio::io_context& context, Clock& clock, Entropy& entropy)
    : context_(context), clock_(clock), entropy_(entropy), fd_wait_(context), receive_buffer_(limits::kChannelFrameBytes) {}

void LedgerLink::Connect(UniqueFd descriptor) {
  if (fd_.valid()) Disconnect("replaced");
  ++generation_;
  fd_ = std::move(descriptor);
  (void)channel::SetBlocking(fd_.get(), false);  // shows at the first use
  // The wait has its own duplicate, so that closing one never surprises the other. F_DUPFD_CLOEXEC: the sandbox refuses dup().
  boost::system::error_code error;
  fd_wait_.assign(::fcntl(fd_.get(), F_DUPFD_CLOEXEC, 0), error);
  if (error) {
    Disconnect("cannot be waited for: " + error.message());
    return;
  }
  (void)channel::SendHello(fd_.get(), {channel::Role::kReceive, static_cast<std::uint32_t>(limits::kChannelFrameBytes),
                                       limits::kChannelCredits});  // likewise
  (void)channel::Send(fd_.get(), Type::kSettle, channel::EncodeSettle({accounts_.loss_frame()}));  // likewise
  settled_ = false;
  declared_ = 0;
  MarkPossibleDuplicates();
  unsent_ = open_.size();
  for (OpenFrame& frame : open_) {
    frame.sent = 0;
    frame.leaves.clear();
  }
  WaitReadable();
  Pump();
}

// The ledger may have committed a frame and died before it could say so.
void LedgerLink::MarkPossibleDuplicates() {
  const std::size_t sent_count = open_.size() - unsent_;
  for (std::size_t i = 0; i < sent_count; ++i) {
    for (Bytes& body : open_[i].bodies) {
      if (open_[i].type == Type::kLargeRecord) {
        SetFlag(body.data() + channel::kRecordsHeaderBytes - 4, record::kFlagPossibleDuplicate);
        continue;
      }
      std::size_t at = channel::kRecordsHeaderBytes;
      while (at + channel::kRecordHeaderBytes <= body.size()) {
        SetFlag(body.data() + at, record::kFlagPossibleDuplicate);
        at += channel::kRecordHeaderBytes + LoadLittle<std::uint32_t>(body.data() + at + kLengthAt);
      }
    }
  }
}

void LedgerLink::Disconnect(std::string_view why) {
  if (!fd_.valid()) return;
  LogWarning("channel to the ledger: " + std::string(why));
  boost::system::error_code ignored;
  fd_wait_.close(ignored);
  fd_.reset();
  ++generation_;
  waiting_writable_ = false;
}

bool LedgerLink::Ready() const { return open_.size() < limits::kChannelCredits; }

void LedgerLink::WhenReady(std::function<void()> resume) { when_ready_.push_back(std::move(resume)); }

std::uint32_t LedgerLink::NewSource(std::size_t listener_index, const Listener& listener, std::string_view peer,
                                    std::string_view identity, std::string_view target) {
  (void)listener_index;
  nlohmann::json source = {{"zone", listener.zone}, {"listener", listener.name}, {"transport", listener.transport}, {"peer", peer}};
  source["identity"] = identity.empty() ? nlohmann::json("") : nlohmann::json::parse(identity, nullptr, false);
  if (!target.empty()) source["target"] = target;
  declarations_.push_back(source.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  return static_cast<std::uint32_t>(declarations_.size());
}

std::uint32_t LedgerLink::SourceOf(std::size_t listener_index, Listener& listener, const record::Peer& peer,
                                   std::string_view identity, bool& overflow, std::string_view target) {
  overflow = false;
  if (!gate_.Accepts(peer, identity)) return kRefusedSource;
  const bool plain = identity.empty() && target.empty();
  const ByteView address = ByteView(peer).first(std::tuple_size_v<decltype(SourceKey::address)>);
  if (plain && last_source_ != 0 && last_listener_ == listener_index && SameBytes(address, last_address_)) return last_source_;
  SourceKey key;
  key.listener = listener_index;
  std::copy_n(peer.begin(), key.address.size(), key.address.begin());
  key.identity = std::string(identity);
  key.target = std::string(target);
  if (const auto at = sources_.find(key); at != sources_.end()) {
    if (plain) {
      last_listener_ = listener_index;
      last_address_ = key.address;
      last_source_ = at->second;
    }
    return at->second;
  }
  if (listener.sources >= limits::kSourcesPerListener) {
    overflow = true;
    const auto [at, fresh] = overflow_sources_.try_emplace(listener_index, 0);
    if (fresh) at->second = NewSource(listener_index, listener, "overflow", "", "");
    return at->second;
  }
  ++listener.sources;
  const std::uint32_t number = NewSource(listener_index, listener, record::PeerAddressText(peer), identity, target);
  sources_.emplace(std::move(key), number);
  return number;
}

void LedgerLink::Refuse(Listener& listener, const record::Peer& peer, std::uint64_t count) {
  if (!listener.counts_its_batches) listener.account->taken += count;
  listener.Lose(Cause::kRefusedSource, count, clock_.WallNs());
  gate_.Refuse(listener.name, peer, count, clock_.WallNs());
}

void LedgerLink::StartFrame() {
  record::SaltKey key;
  entropy_.Fill(key);
  builder_.Reuse(std::exchange(spent_, {}));
  builder_.Start(accounts_.NextFrame(), key);
  builder_shares_.clear();
}

void LedgerLink::Share(std::vector<std::pair<Listener*, std::uint32_t>>& shares, Listener& listener, record::Kind kind) {
  if (!Counts(kind)) return;
  if (!listener.counts_its_batches) ++listener.account->taken;
  if (shares.empty() || shares.back().first != &listener) shares.emplace_back(&listener, 0);
  ++shares.back().second;
}

void LedgerLink::Add(Listener& listener, record::Kind kind, std::uint16_t flags, std::uint32_t source, std::int64_t wall_ns,
                     const record::Peer& peer, ByteView payload) {
  if (source == kRefusedSource) {
    if (Counts(kind)) Refuse(listener, peer, 1);
    return;
  }
  if (quotas_.limited() && !listener.counts_its_batches) quotas_.Charge(source, payload.size(), clock_.BoottimeNs());
  if (!channel::FrameBuilder::FitsAlone(payload.size())) {
    Flush();
    record::SaltKey key;
    entropy_.Fill(key);
    OpenFrame frame;
    frame.id = accounts_.NextFrame();
    frame.type = Type::kLargeRecord;
    frame.bodies = channel::CutLargeRecord(frame.id, key, 0, kind, flags, source, wall_ns, peer, payload);
    frame.count = 1;
    Share(frame.shares, listener, kind);
    Queue(std::move(frame));
    return;
  }
  if (builder_.count() == 0) StartFrame();
  if (!builder_.Add(kind, flags, source, wall_ns, peer, payload)) {
    Flush();
    StartFrame();
    STELE_CHECK(builder_.Add(kind, flags, source, wall_ns, peer, payload));
  }
  Share(builder_shares_, listener, kind);
}

void LedgerLink::FlushSoon() {
  if (flush_posted_ || builder_.count() == 0) return;
  flush_posted_ = true;
  boost::asio::post(context_, [this] {
    flush_posted_ = false;
    Flush();
  });
}

void LedgerLink::Flush() {
  if (builder_.count() == 0) return;
  OpenFrame frame;
  frame.id = builder_.frame_id();
  frame.count = builder_.count();
  frame.bodies.push_back(builder_.Finish(0));
  frame.shares = builder_shares_;
  Queue(std::move(frame));
}

std::size_t LedgerLink::AddWaited(Listener& listener, record::Kind kind, std::uint32_t source, std::int64_t wall_ns,
                                  const record::Peer& peer, const std::vector<WaitedRecord>& records, const Done& done,
                                  bool wants_leaves) {
  if (source == kRefusedSource) {
    Refuse(listener, peer, records.size());
    Outcome refused;
    refused.count = static_cast<std::uint32_t>(records.size());
    boost::asio::post(context_, [done, refused] { done(refused); });
    return 1;
  }
  Flush();
  const auto wants = static_cast<std::uint8_t>(channel::kWantsAck | (wants_leaves ? channel::kWantsLeaves : 0));
  listener.account->waited_taken += records.size();
  std::size_t frames = 0;
  std::size_t taken = 0;  // records in frames already queued
  const auto flush_waited = [&] {
    if (builder_.count() == 0) return;
    OpenFrame frame;
    frame.id = builder_.frame_id();
    frame.count = builder_.count();
    frame.first_record = taken;
    taken += frame.count;
    frame.bodies.push_back(builder_.Finish(wants));
    frame.shares.emplace_back(&listener, frame.count);
    frame.done = done;
    ++frames;
    Queue(std::move(frame));
  };
  for (const WaitedRecord& r : records) {
    if (quotas_.limited()) quotas_.Charge(source, r.payload.size(), clock_.BoottimeNs());
    if (!channel::FrameBuilder::FitsAlone(r.payload.size())) {
      flush_waited();
      record::SaltKey key;
      entropy_.Fill(key);
      OpenFrame frame;
      frame.id = accounts_.NextFrame();
      frame.type = Type::kLargeRecord;
      frame.bodies = channel::CutLargeRecord(frame.id, key, wants, kind, r.flags, source, wall_ns, peer, r.payload);
      frame.count = 1;
      frame.first_record = taken++;
      frame.shares.emplace_back(&listener, 1);
      frame.done = done;
      ++frames;
      Queue(std::move(frame));
      continue;
    }
    if (builder_.count() == 0) StartFrame();
    if (!builder_.Add(kind, r.flags, source, wall_ns, peer, r.payload)) {
      flush_waited();
      StartFrame();
      STELE_CHECK(builder_.Add(kind, r.flags, source, wall_ns, peer, r.payload));
    }
  }
  flush_waited();
  return frames;
}

void LedgerLink::AddLosses(const std::vector<LossEntry>& entries, const Done& done) {
  Flush();
  StartFrame();
  for (const LossEntry& entry : entries) {
    STELE_CHECK(builder_.Add(record::Kind::kLoss, 0, entry.source, clock_.WallNs(), record::Peer{}, AsBytes(entry.payload)));
  }
  OpenFrame frame;
  frame.id = builder_.frame_id();
  frame.count = builder_.count();
  frame.bodies.push_back(builder_.Finish(channel::kWantsAck));
  frame.done = done;
  accounts_.BeginLossFrame(frame.id);
  Queue(std::move(frame));
}

void LedgerLink::Queue(OpenFrame frame) {
  open_.push_back(std::move(frame));
  ++unsent_;
  Pump();
}

// Sends what it can, once the ledger has said what became of the channels before: declarations first, then frames in order, never more open on the channel than there is credit.
void LedgerLink::Pump() {
  if (!fd_.valid() || waiting_writable_ || !settled_) return;
  const auto send = [&](Type type, ByteView body) {
    const auto sent = channel::Send(fd_.get(), type, body);
    if (sent) return true;
    if (sent.error().code == Code::kUnavailable) {
      WaitWritable();
    } else {
      Disconnect(Describe(sent.error()));
    }
    return false;
  };
  for (; declared_ < declarations_.size(); ++declared_) {
    const channel::DeclareSource source{static_cast<std::uint32_t>(declared_ + 1), declarations_[declared_]};
    if (!send(Type::kDeclareSource, channel::EncodeDeclareSource(source))) return;
  }
  while (unsent_ > 0) {
    const std::size_t index = open_.size() - unsent_;
    if (index >= limits::kChannelCredits) return;
    OpenFrame& frame = open_[index];
    for (; frame.sent < frame.bodies.size(); ++frame.sent) {
      if (!send(frame.type, frame.bodies[frame.sent])) return;
    }
    --unsent_;
  }
}

void LedgerLink::WaitWritable() {
  waiting_writable_ = true;
  fd_wait_.async_wait(boost::asio::posix::descriptor_base::wait_write,
                      [this, generation = generation_](const boost::system::error_code& error) {
                        if (error || generation != generation_) return;
                        waiting_writable_ = false;
                        Pump();
                      });
}

void LedgerLink::WaitReadable() {
  fd_wait_.async_wait(boost::asio::posix::descriptor_base::wait_read,
                      [this, generation = generation_](const boost::system::error_code& error) {
                        if (error || generation != generation_) return;
                        HandleReadable();
                        if (generation == generation_) WaitReadable();
                      });
}

void LedgerLink::HandleReadable() {
  while (fd_.valid()) {
    const auto frame = channel::ReceiveInto(fd_.get(), receive_buffer_, false);
    if (!frame) {
      if (frame.error().code != Code::kUnavailable) {
        Disconnect(frame.error().code == Code::kNotFound ? "the ledger closed it" : Describe(frame.error()));
      }
      break;
    }
    if (frame->type == Type::kCommitted) {
      const auto committed = channel::DecodeCommitted(frame->body);
      if (committed) Finish(committed->frame_id, {true, committed->first_sequence, committed->count, 0, {}});
    } else if (frame->type == Type::kReceipt) {
      if (auto receipt = channel::DecodeReceipt(frame->body)) TakeReceipt(std::move(*receipt));
    } else if (frame->type == Type::kCheckpointNote) {
      if (auto note = channel::DecodeCheckpointNote(frame->body)) newest_note_ = std::move(*note);
    } else if (frame->type == Type::kRefused) {
      const auto refused = channel::DecodeRefused(frame->body);
      if (refused) Finish(refused->frame_id, {});
    } else if (frame->type == Type::kSettled) {
      HandleSettled(frame->body);
    }
  }
  Pump();
  Resume();
}

void LedgerLink::HandleSettled(ByteView body) {
  const auto answer = channel::DecodeSettled(body);
  if (!answer) {
    Disconnect(Describe(answer.error()));
    return;
  }
  accounts_.Settle(answer->epoch, answer->loss_frame_committed, answer->committed, clock_.WallNs());
  settled_ = true;
}

// Those who waited longest first; who takes the last credit leaves the others at the front, so that nobody starves.
void LedgerLink::Resume() {
  for (std::size_t left = when_ready_.size(); left > 0 && Ready(); --left) {
    const std::function<void()> resume = std::move(when_ready_.front());
    when_ready_.pop_front();
    resume();
  }
}

void LedgerLink::TakeReceipt(channel::Receipt receipt) {
  for (OpenFrame& frame : open_) {
    if (frame.id != receipt.frame_id) continue;
    if (frame.leaves.size() == receipt.first) {
      frame.leaves.insert(frame.leaves.end(), receipt.leaves.begin(), receipt.leaves.end());
    }
    return;
  }
}

void LedgerLink::Finish(std::uint64_t frame_id, Outcome outcome) {
  for (auto at = open_.begin(); at != open_.end(); ++at) {
    if (at->id != frame_id) continue;
    OpenFrame frame = std::move(*at);
    open_.erase(at);
    for (const auto& [listener, count] : frame.shares) {
      if (frame.done) {
        if (outcome.committed) listener->account->waited_stored += count;
      } else if (outcome.committed) {
        listener->account->stored += count;
      } else {
        listener->Lose(Cause::kStoreFull, count, clock_.WallNs());
      }
    }
    if (frame.done) {
      outcome.count = frame.count;
      outcome.first_record = frame.first_record;
      outcome.leaves = std::move(frame.leaves);
      frame.done(outcome);
    }
    spent_ = std::move(frame.bodies.front());
    return;
  }
}

void LedgerLink::SendCounters(const std::string& json_text) {
  if (!fd_.valid() || waiting_writable_) return;
  (void)channel::Send(fd_.get(), Type::kCounters, AsBytes(json_text));  // a full channel: the next second's say more
}

}  // namespace stele::receive
