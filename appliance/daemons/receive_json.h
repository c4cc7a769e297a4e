// JSON batches of the HTTPS doors on their way to the ledger: every event is a record somebody waits for. And the
// alarms about signed events whose signature does not hold. Thread safety: the io_context's one thread.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "appliance/daemons/receive_link.h"
#include "appliance/ingest/http_json.h"

namespace stele::receive {

// One alarm per source at once, and then at most one a minute with the count of that minute.
class SignatureAlarms {
 public:
  SignatureAlarms(LedgerLink& link, Listener& account) : link_(link), account_(account) {}
  struct From {
    std::uint32_t source = 0;
    std::string listener, peer, sender;
  };
  // `count` events, `event` the first of them; of the first since the last alarm kid and reason are shown.
  void Note(const From& from, ByteView event, const ingest::SourceKeys& keys, std::uint64_t count, std::int64_t now_ns);
  void Note(const From& from, const std::string& kid, const std::string& reason, std::uint64_t count, std::int64_t now_ns);
  void Tick(std::int64_t now_ns);  // once a second

 private:
  struct Pending {
    From from;
    std::string kid, reason;
    std::uint64_t count = 0;
    std::int64_t from_ns = 0;
    std::int64_t to_ns = 0;
    std::int64_t alarmed_ns = 0;  // 0: never
  };
  LedgerLink& link_;
  Listener& account_;
  std::map<std::uint32_t, Pending> by_source_;  // at most one per source, and those are bounded
};

class JsonSink final : public ingest::EventSink {
 public:
  JsonSink(LedgerLink& link, Listener& listener, std::size_t index, SignatureAlarms& alarms,
           std::shared_ptr<const ingest::SourceKeys> keys)
      : link_(link), listener_(listener), index_(index), alarms_(alarms), keys_(std::move(keys)) {}

  void Submit(ingest::JsonBatch batch, std::function<void(ingest::JsonOutcome)> done) override;
  void UseKeys(std::shared_ptr<const ingest::SourceKeys> keys) { keys_ = std::move(keys); }
  [[nodiscard]] bool Ready() const override { return link_.connected() && link_.Ready(); }

 private:
  struct Progress;
  void NoteSignatures(const ingest::JsonBatch& batch, std::uint32_t source);

  LedgerLink& link_;
  Listener& listener_;
  std::size_t index_;
  SignatureAlarms& alarms_;
  std::shared_ptr<const ingest::SourceKeys> keys_;  // shared with the server's parsers
};

// The identity of a source known by its sender's name: {"sender":name} as text; empty for no name.
[[nodiscard]] std::string SenderIdentity(std::string_view name);

// Whom the JSON doors of a receiver trust. A reload replaces what is in it, for requests and logins from then on.
struct JsonTrust {
  std::vector<std::string> tokens;  // neither tokens nor senders: none is asked for
  std::vector<ingest::Sender> senders;
  std::shared_ptr<const ingest::SourceKeys> keys = std::make_shared<ingest::SourceKeys>();  // of signed events
  [[nodiscard]] ingest::SenderSet sender_set() const { return {tokens, senders}; }
};
// The members `tokens`, `senders` and `keys` of the configuration (docs/processes.md). kInvalid names the one that is
// wrong.
[[nodiscard]] Result<JsonTrust> JsonTrustOf(const nlohmann::json& configuration);

}  // namespace stele::receive
