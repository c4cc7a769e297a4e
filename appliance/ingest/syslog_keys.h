// The keys that sign syslog (RFC 5848): registered by the operator, because a key that a sender announces by itself
// proves nothing. All are DSA: RFC 5848 knows no other scheme.
//
//   public_key   PEM, or base64 of a key blob of type K (p, q, g, y as OpenPGP integers) or of a SubjectPublicKeyInfo
//   certificate  PEM: its key, and the Payload Block that carries it (type C)
//   fingerprint  "sha256:hex" of a certificate that a Payload Block brings
//   authority    PEM: whoever it vouches for, within the certificate's dates, under a HOSTNAME the certificate names
//   host         the one HOSTNAME this entry may sign for; without it any (with an authority: those of the certificate)
//   unlisted     "host" (default), "all" or "ignore": which messages without a signature are an alarm
//   (signed_coverage.h)
//
// Thread safety: const functions may be called from any thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "appliance/base/bytes.h"
#include "appliance/ingest/signed_block.h"

struct evp_pkey_st;
struct x509_st;
struct x509_store_st;

namespace stele::ingest {

// One entry as the operator writes it; empty: not given.
struct SyslogKeyText {
  std::string name, host, public_key, certificate, fingerprint, authority, unlisted;
};

enum class Unlisted : std::uint8_t { kHost, kAll, kIgnore };

class SyslogKeys {
 public:
  struct Registered {
    std::string name;
    std::string host;  // lower case; empty: any
    Unlisted unlisted = Unlisted::kHost;
    std::shared_ptr<evp_pkey_st> key;  // null: known only from a Payload Block
    std::optional<Hash> fingerprint;   // SHA-256 of the certificate as DER
    std::shared_ptr<x509_store_st> authority;
    [[nodiscard]] bool MaySignFor(std::string_view hostname) const;
  };

  // kInvalid says why, also for more keys of one host than are ever tried.
  [[nodiscard]] Result<void> Add(const SyslogKeyText& text);
  [[nodiscard]] bool empty() const { return registered_.empty(); }

  // Whether an entry is for this very HOSTNAME.
  [[nodiscard]] bool Expects(std::string_view hostname) const;
  // The entries whose key is known beforehand and may sign for this HOSTNAME: at most limits::kSignedKeysPerHost of the
  // host itself and as many of any host.
  [[nodiscard]] std::vector<const Registered*> KnownFor(std::string_view hostname) const;

  // The registered entry that a Payload Block's key belongs to. Both null: it is not registered.
  struct Claim {
    const Registered* registered = nullptr;
    std::shared_ptr<evp_pkey_st> key;
  };
  [[nodiscard]] Claim Resolve(const PayloadBlock& payload, std::string_view hostname, std::int64_t wall_ns) const;

 private:
  [[nodiscard]] Claim ResolveCertificate(ByteView der, std::string_view hostname, std::int64_t wall_ns) const;
  std::vector<Registered> registered_;
};

// DSA verification: the expensive part, about 0.1 ms for 1,024 bits and 0.3 ms for 2,048.
[[nodiscard]] bool Holds(const SignatureProof& proof, evp_pkey_st* key);

[[nodiscard]] bool SameHost(std::string_view a, std::string_view b);  // case does not matter

}  // namespace stele::ingest
