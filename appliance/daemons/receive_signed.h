// Signed syslog (RFC 5848) in the receiver: each block gets its verdict, the messages of sources that sign are compared
// with what their blocks list, and what does not fit is an alarm in the log (docs/protocols.md).
//
// Costs nothing without registered keys. With them: one short look at every message; hashing only for the messages of
// sources that have sent a valid block, or that name a host with a registered key. Bounds: base/limits.h.
// Thread safety: everything on the io_context's one thread.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>

#include "appliance/daemons/receive_json.h"
#include "appliance/daemons/receive_link.h"
#include "appliance/ingest/signed_coverage.h"
#include "appliance/ingest/signed_sessions.h"

namespace stele::receive {

class SignedSyslog {
 public:
  SignedSyslog(LedgerLink& link, Clock& clock, Listener& account, SignatureAlarms& alarms,
               std::shared_ptr<const ingest::SyslogKeys> keys)
      : link_(link), clock_(clock), account_(account), alarms_(alarms), keys_(std::move(keys)) {}

  // The flags that follow for a message that is being stored with `flags`: record::kFlagSignature*, or none.
  [[nodiscard]] std::uint16_t Take(const Listener& listener, std::uint32_t source, const record::Peer& peer,
                                   ByteView message, std::uint16_t flags);
  void Tick();  // once a second

 private:
  struct Source {
    explicit Source(SignedSyslog& all) : sessions(all.payload_bytes_), coverage(all.budget_) {}
    ingest::SignedSessions sessions;
    ingest::SignedCoverage coverage;
    std::string listener, peer;
    std::int64_t heard_ns = 0;
    unsigned checks = 0;          // in this second
    std::uint64_t unchecked = 0;  // blocks, since the last alarm
    std::int64_t alarmed_ns = 0;  // 0: never
  };
  using Sources = std::unordered_map<std::uint32_t, std::unique_ptr<Source>>;

  [[nodiscard]] std::uint16_t TakeBlock(const Listener& listener, std::uint32_t source, const record::Peer& peer,
                                        ByteView message, bool overflow);
  [[nodiscard]] ingest::BlockVerdict Judge(Source& source, const ingest::SignedBlockReading& reading);
  [[nodiscard]] Source* Find(std::uint32_t source);
  [[nodiscard]] Source* FindOrMake(const Listener& listener, std::uint32_t source, const record::Peer& peer);
  [[nodiscard]] std::unique_ptr<Source> Make(const Listener& listener, const record::Peer& peer);
  [[nodiscard]] bool Promote(std::uint32_t source, std::unique_ptr<Source> passing);
  void Alarm(std::uint32_t number, Source& source, std::int64_t now_ns);

  LedgerLink& link_;
  Clock& clock_;
  Listener& account_;
  SignatureAlarms& alarms_;
  std::shared_ptr<const ingest::SyslogKeys> keys_;
  std::size_t payload_bytes_ = 0;
  ingest::CoverageBudget budget_;
  unsigned checks_ = 0;  // in this second
  Sources active_;       // have sent a valid block
  Sources candidates_;   // may yet
};

// {"name","host","public_key","certificate","fingerprint","authority","unlisted"} each. kInvalid names the key.
[[nodiscard]] Result<std::shared_ptr<const ingest::SyslogKeys>> SyslogKeysOf(const nlohmann::json& list);

}  // namespace stele::receive
