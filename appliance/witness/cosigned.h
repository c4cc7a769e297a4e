// The cosignatures of one log, kept beside it: for each witness of the policy the newest checkpoint it cosigned, and
// the newest checkpoint that has a quorum, all as signed notes. Files: README.md. Nothing in them is secret, and
// nothing in them is believed: every line is verified again when it is read. Thread safety: none. Two processes may
// write (stele-courier, `stele witness import`): each file is replaced whole, only by a larger checkpoint.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "appliance/ledger/witness_policy.h"

namespace stele::witness {

inline constexpr const char* kCosignedFile = "cosigned.note";

class Cosigned {
 public:
  // The directory must exist. Files that do not hold what they should are left alone and named in problems().
  Cosigned(std::filesystem::path dir, ledger::WitnessPolicy policy, ledger::VerifyKey log);

  struct Head {
    ledger::Checkpoint checkpoint;
    std::uint64_t time_s = 0;  // of the cosignature; of cosigned.note: the oldest of those that count
  };
  // What this witness cosigned last, read anew. Nothing: never.
  [[nodiscard]] std::optional<Head> Of(std::size_t witness);
  [[nodiscard]] std::optional<Head> WithQuorum();

  // Takes the lines of a note that are by witnesses of the policy, and keeps them. Returns the indices of these
  // witnesses. kDenied: not signed by the log, or a line of a known witness does not verify: nothing is kept. kIo: not
  // durable.
  [[nodiscard]] Result<std::vector<std::size_t>> Keep(std::string_view cosigned_note);

  [[nodiscard]] const std::filesystem::path& dir() const { return dir_; }
  [[nodiscard]] const ledger::WitnessPolicy& policy() const { return policy_; }
  [[nodiscard]] const ledger::VerifyKey& log() const { return log_; }

 private:
  [[nodiscard]] std::filesystem::path FileOf(std::size_t witness) const;
  [[nodiscard]] std::optional<ledger::Note> Load(const std::filesystem::path& path) const;
  [[nodiscard]] Result<void> KeepQuorum(const ledger::Note& base, const ledger::Checkpoint& checkpoint);

  std::filesystem::path dir_;
  ledger::WitnessPolicy policy_;
  ledger::VerifyKey log_;
};

// The policy of a log: its own key must be among the logs the policy names, if it names any.
[[nodiscard]] Result<ledger::WitnessPolicy> ParsePolicyFor(std::string_view text, const ledger::VerifyKey& log);

}  // namespace stele::witness
