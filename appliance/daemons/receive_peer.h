// Small shared pieces of the receivers: a socket address as the record's peer, and the entry that follows what was too long.
#pragma once

#include <netinet/in.h>

#include <string>

#include "appliance/daemons/receive_stream.h"
#include "appliance/record/entry.h"

namespace stele::receive {

// IPv4 as ::ffff:a.b.c.d; another family gives all zeros.
[[nodiscard]] record::Peer PeerOf(const sockaddr_in6& address);

class SignedSyslog;

// What follows for a syslog message from its peer alone, and from the peer's certificate and the host the message claims.
// Senders mostly claim one host: its verdict is kept.
class PeerFlags {
 public:
  PeerFlags(const Listener& listener, const StreamPeer& peer, SignedSyslog* signed_syslog)
      : listener_(listener), peer_(peer), signed_syslog_(signed_syslog) {}
  [[nodiscard]] std::uint16_t OfPeer() const { return peer_.overflow ? record::kFlagOverflowSource : std::uint16_t{0}; }
  [[nodiscard]] std::uint16_t Of(ByteView message, std::int64_t now_ns);
  // What its signature says, for a message that is being stored with `flags` (receive_signed.h); once for each message.
  [[nodiscard]] std::uint16_t OfSignature(ByteView message, std::uint16_t flags);

 private:
  const Listener& listener_;
  const StreamPeer& peer_;
  SignedSyslog* signed_syslog_;  // null: no keys are registered
  std::string last_host_;
  bool last_host_named_ = false;
};

// Payload of the `loss` entry beside a truncated record: its full length and a salted hash of the whole. The salt is public
// here because the hash is for whoever holds the original; it hides nothing that the record does not show.
struct WholeHash {
  record::Salt salt{};
  Hash hash{};
};
[[nodiscard]] WholeHash WholeHashOf(ByteView whole);
[[nodiscard]] std::string OversizeEntry(const Listener& listener, std::uint64_t full_length, const WholeHash& whole,
                                        std::int64_t now_ns);

}  // namespace stele::receive
