// Whether a block of signed syslog (RFC 5848) is right: the keys that one source's Certificate Blocks have brought, and
// the verdict on each block.
//
// A Signature Block does not name its key. It is tried with the key its reboot session has announced, if that is
// registered, and with the registered keys that are known beforehand and may sign for its HOSTNAME.
//
// Thread safety: one thread.
#pragma once

#include <string>
#include <vector>

#include "appliance/base/limits.h"
#include "appliance/ingest/signed_block.h"
#include "appliance/ingest/syslog_keys.h"

namespace stele::ingest {

struct BlockVerdict {
  enum class Word : std::uint8_t {
    kValid,      // `registered` signed exactly this message
    kInvalid,    // a registered key is known for this signer and did not sign this
    kUnknown,    // no registered key is known for it
    kUnchecked,  // there is no more time for it this second
  };
  Word word = Word::kUnknown;
  const SyslogKeys::Registered* registered = nullptr;
  const char* reason = "";  // why it is invalid
};

class SignedSessions {
 public:
  // `payload_bytes`: what all sources hold in unfinished Payload Blocks, shared; outlives this.
  explicit SignedSessions(std::size_t& payload_bytes) : payload_bytes_(payload_bytes) {}
  ~SignedSessions();
  SignedSessions(const SignedSessions&) = delete;
  SignedSessions& operator=(const SignedSessions&) = delete;

  // `checks_left` is reduced by each verification made.
  [[nodiscard]] BlockVerdict Judge(const SignedBlock& block, const SyslogKeys& keys, std::int64_t wall_ns,
                                   unsigned& checks_left);

 private:
  struct SessionKey {
    std::string id;
    SyslogKeys::Claim claim;
  };
  struct Payload {  // being put together
    std::string id;
    std::string text;
    std::vector<bool> have;
    std::size_t have_count = 0;
    std::vector<SignatureProof> proofs;  // of the fragments
  };
  // The proofs of all fragments, and `text`, once the last has come; nullptr before.
  [[nodiscard]] Payload* Collect(const SignedBlock& block, std::string id);
  void Forget(std::size_t index);
  [[nodiscard]] BlockVerdict JudgePayload(const Payload& payload, const SignedBlock& block, const SyslogKeys& keys,
                                          std::int64_t wall_ns, unsigned& checks_left, bool& settled);
  void Learn(const SignedBlock& block, const SyslogKeys::Claim& claim);
  [[nodiscard]] const SyslogKeys::Claim* KeyOf(const SignedBlock& block) const;

  std::size_t& payload_bytes_;
  std::vector<SessionKey> keys_;  // newest last
  std::vector<Payload> payloads_;
};

}  // namespace stele::ingest
