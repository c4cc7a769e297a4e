// Small shared pieces of the receivers: a socket address as the record's peer, and the entry that follows what was too long.
#pragma once

#include <netinet/in.h>

#include <string>

#include "appliance/record/entry.h"

namespace stele::receive {

// IPv4 as ::ffff:a.b.c.d; another family gives all zeros.
[[nodiscard]] record::Peer PeerOf(const sockaddr_in6& address);

// Payload of the `loss` entry beside a truncated record: its full length and a salted hash of the whole. The salt is public
// here because the hash is for whoever holds the original; it hides nothing that the record does not show.
struct WholeHash {
  record::Salt salt{};
  Hash hash{};
};
[[nodiscard]] WholeHash WholeHashOf(ByteView whole);
[[nodiscard]] std::string OversizeEntry(const std::string& listener, std::uint64_t full_length, const WholeHash& whole,
                                        std::int64_t now_ns);

}  // namespace stele::receive
