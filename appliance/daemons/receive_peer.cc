#include "appliance/daemons/receive_peer.h"

#include <nlohmann/json.hpp>

#include "appliance/base/system.h"
#include "appliance/daemons/receive_signed.h"
#include "appliance/ingest/message.h"
#include "appliance/ingest/tls.h"

namespace stele::receive {

record::Peer PeerOf(const sockaddr_in6& address) {
  record::Peer peer{};
  in_port_t port = 0;
  if (address.sin6_family == AF_INET6) {
    std::memcpy(peer.data(), &address.sin6_addr, 16);
    port = address.sin6_port;
  } else if (address.sin6_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &address, sizeof v4);
    peer[10] = std::byte{0xff};
    peer[11] = std::byte{0xff};
    std::memcpy(peer.data() + 12, &v4.sin_addr, 4);
    port = v4.sin_port;
  }
  std::memcpy(peer.data() + 16, &port, sizeof port);  // already big-endian
  return peer;
}

std::uint16_t PeerFlags::Of(ByteView message, std::int64_t now_ns) {
  std::uint16_t flags = OfPeer();
  if (peer_.identity == nullptr) return flags;
  const std::string_view host = ingest::PeekHost(message, now_ns);
  if (host.empty()) return flags;  // claims nothing
  if (host != last_host_) {
    last_host_ = host;
    last_host_named_ = peer_.identity->NamesHost(host);
  }
  if (!last_host_named_) flags |= record::kFlagIdentityMismatch;
  return flags;
}

std::uint16_t PeerFlags::OfSignature(ByteView message, std::uint16_t flags) {
  if (signed_syslog_ == nullptr) return 0;
  return signed_syslog_->Take(listener_, peer_.source, peer_.peer, message, flags);
}

WholeHash WholeHashOf(ByteView whole) {
  WholeHash out;
  SystemEntropy().Fill(out.salt);
  out.hash = Sha256Of({AsBytes("stele/whole/v1"), out.salt, whole});
  return out;
}

std::string OversizeEntry(const Listener& listener, std::uint64_t full_length, const WholeHash& whole,
                          std::int64_t now_ns) {
  return nlohmann::json{{"zone", listener.zone},
                        {"listener", listener.name},
                        {"cause", "oversize"},
                        {"count", 0},  // the record itself is kept, cut
                        {"full_length", full_length},
                        {"whole_salt", HexOf(whole.salt)},
                        {"whole_sha256", HexOf(whole.hash)},
                        {"from_ns", now_ns},
                        {"to_ns", now_ns}}
      .dump();
}

}  // namespace stele::receive
