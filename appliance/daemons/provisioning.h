// Provisioning of one directory's TPM and log identity: the stages of docs/operating.md in order, by itself with a key
// made here (the embedded default), or with an enroller elsewhere through files in a folder.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <set>
#include <string>

#include "appliance/anchor/enrolment.h"
#include "appliance/anchor/sealed_seed.h"
#include "appliance/daemons/config.h"
#include "appliance/daemons/home.h"
#include "appliance/daemons/tpm_source.h"

namespace stele::daemons {

using SayLine = std::function<void(const std::string& line)>;

struct ProvisionChoices {
  std::uint32_t pcr = tpm::kDefaultPcr;
  std::string origin;                 // empty: derived from the log id
  bool seal = true;                   // false: the seed is a file
  std::set<std::uint32_t> seal_pcrs;  // beside the anchor's own: as they are now
  bool lock_down = true;
  std::string ek_authorities_pem;   // empty: the chain is not verified
  std::filesystem::path escrow;     // by itself: where the authorisations go
  std::filesystem::path exchange;   // not empty: the enroller's files go through this folder
  std::string enroller_public_pem;  // with `exchange`: the pin
  std::filesystem::path key;        // by itself: the provisioning key's file; empty: keys/provisioning.pem, made where missing
  std::optional<anchor::EpochClaim> epoch;  // the log goes on with this TPM; absent: it begins
  bool start_over = false;          // removes what an interrupted attempt left in a TPM that is not locked down
};

// Everything that must be true of a fresh log, in the order that lets nothing be lost: the escrowed authorisations are
// on disk (or can be made again by the enroller) before the TPM takes them, the sealed seed before the record that pins
// it, the record last. `source` is connected to anew for each attempt. With choices.epoch the same for the next epoch of
// the log that is here: its record, signed by the key that signed genesis, is written; its entry is the next start's.
[[nodiscard]] Result<anchor::SignedRecord> ProvisionLog(const Home& home, TpmSource& source,
                                                        const ProvisionChoices& choices, const SayLine& say);

// A dry run: what the TPM is, what is in the way, what each stage would do. Changes nothing. kDenied: it would refuse.
[[nodiscard]] Result<void> DescribeProvisioning(const Home& home, TpmSource& source, const ProvisionChoices& choices,
                                                const SayLine& say);

// What `anchor.key` says, and what it leaves open: a sealed seed comes out once in a boot, which is every start of the embedded
// TPM, but not every start of `stele up` on a chip.
[[nodiscard]] bool SealedByDefault(const Config& config, bool embedded);

// The seed of an existing log, from its file or from the TPM.
[[nodiscard]] Result<anchor::Secret> LoadSeed(const Home& home, const anchor::ProvisioningRecord& record,
                                              const std::function<Result<UniqueFd>()>& connect);

// All certificates of a file, or of the files of a folder (PEM or DER), as one PEM. kInvalid: none.
[[nodiscard]] Result<std::string> ReadAuthorities(const std::filesystem::path& path);

// The names of the four files in an exchange folder.
inline constexpr const char* kRequestFile = "request.json";
inline constexpr const char* kChallengeFile = "challenge.json";
inline constexpr const char* kAnswerFile = "answer.json";
inline constexpr const char* kRecordFile = "record.json";
[[nodiscard]] std::string EncodeAuths(const tpm::HierarchyAuths& auths);
[[nodiscard]] Result<tpm::HierarchyAuths> DecodeAuths(std::string_view text);

}  // namespace stele::daemons
