// A small log with a TPM of its own, made in memory with real keys, so that a test can have the honest evidence, and every
// dishonest one that somebody with the box, or even with its attestation key, could make.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "appliance/evidence/bundle_writer.h"
#include "appliance/evidence/verify.h"
#include "tpm/attest.h"

namespace stele::evidence {

// An archive taken apart, to be changed and put together again.
struct TakenApart {
  std::vector<std::pair<std::string, Bytes>> files;  // names without kFolder
  [[nodiscard]] Bytes& Of(std::string_view name);    // must be there
  void Remove(std::string_view name);
  // With a manifest that fits: what an attacker would do.
  [[nodiscard]] Bytes Together() const;
};
[[nodiscard]] TakenApart TakeApart(ByteView archive);

// What a TPM would hold and do.
struct MadeTpm {
  std::string ak_private_pem;
  std::string ak_public_pem;
  Bytes ak_public;       // TPM2B_PUBLIC
  Bytes ek_certificate;  // DER, RSA 2048
  TpmIdentity identity;
  std::map<std::uint32_t, Hash> pcrs;  // of the quoted registers
  std::uint64_t counter = 0;
  Hash index{};
  TpmClock clock{5'000, 3, 1, true};

  [[nodiscard]] TpmAttestation Sign(const tpm::Attested& attested, const std::string& key_pem) const;
  [[nodiscard]] tpm::Attested Quoted(const Hash& qualifying) const;
  [[nodiscard]] tpm::Attested CertifiedCounter(const Hash& qualifying) const;
  [[nodiscard]] tpm::Attested CertifiedIndex(const Hash& qualifying) const;
  [[nodiscard]] std::vector<Hash> Values() const;
  [[nodiscard]] TpmAttestation Quote(const Hash& qualifying) const;
};

struct MadeRecord {
  record::EntryBytes entry{};
  record::Salt salt{};
  record::Peer peer{};
  Bytes payload;
  Hash leaf{};
};

struct BundleWish {
  Hash nonce{};
  std::vector<std::uint64_t> records;  // ascending, without 0
  bool payloads = true;
  std::vector<std::uint64_t> since;
  bool from_baseline = true;
  std::string kind = "records";
};

class MadeLog {
 public:
  explicit MadeLog(std::uint64_t seed = 1);

  void Append(int count);
  // Signs, extends the PCR, and where wished X and C; makes the receipt.
  void Checkpoint(bool anchor);
  void Reboot();
  void Clear() { tpm.clock.reset_count = 0; }
  // The log goes on with another TPM and another checkpoint key; its next entry is the epoch's. Anchors count anew.
  void BeginEpoch(const std::string& word);

  [[nodiscard]] anchor::AuditEntry Attest(const Hash& nonce) const;
  [[nodiscard]] BundleHead Head(const BundleWish& wish) const;
  [[nodiscard]] Bytes Assemble(const BundleHead& head, const BundleWish& wish) const;
  [[nodiscard]] Bytes Bundle(const BundleWish& wish) const { return Assemble(Head(wish), wish); }
  // Every record of [1, size of the newest checkpoint).
  [[nodiscard]] BundleWish All(const Hash& nonce) const;

  [[nodiscard]] std::uint64_t checkpoint_size() const { return checkpoints.back().size; }
  [[nodiscard]] std::vector<Hash> RangeHashes(std::uint64_t begin, std::uint64_t end) const;
  [[nodiscard]] Hash RootAt(std::uint64_t size) const;
  [[nodiscard]] std::string Note(std::uint64_t size) const { return key->Sign(NoteText(size)); }
  [[nodiscard]] std::string NoteText(std::uint64_t size) const;
  // After a change of `record`: signed anew by `provisioning_key_pem`.
  void SignRecord();

  struct Signed {
    std::string note;
    Hash digest{};
    std::uint64_t size = 0;
    std::uint64_t anchor = 0;
    bool this_boot = true;
  };
  std::string provisioning_key_pem;
  std::string provisioning_public_pem;
  MadeTpm tpm;
  anchor::ProvisioningRecord record;   // of the newest epoch
  anchor::SignedRecord signed_record;  // of genesis
  std::vector<anchor::SignedRecord> epochs;
  Hash log_id{};
  std::string origin;
  std::unique_ptr<ledger::SigningKey> key;
  std::vector<MadeRecord> log;
  std::vector<Signed> checkpoints;
  std::vector<std::string> receipts;
  std::uint64_t seed = 1;
};

[[nodiscard]] Hash NonceOf(std::string_view text);
[[nodiscard]] std::string EkRootPem();  // of the certificates that MadeLog's TPMs carry

}  // namespace stele::evidence
