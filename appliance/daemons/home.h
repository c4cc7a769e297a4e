// The directory of one Stele: who owns it, where its things lie. 0700; one `stele up` at a time (flock on <dir>/lock).
//
//   stele.toml   configuration (optional)         keys/    TLS, client certificates, seed, provisioning key, first password
//   store/       segments: the log                tpm/     the embedded software TPM, with its own CA
//   state/       provisioning records, certificates above the EK's, anchor slots, users; courier/: cosignatures
//   run/         query.sock, ready.json           only while running
#pragma once

#include <cstdint>
#include <filesystem>

#include "appliance/base/fd.h"
#include "appliance/base/result.h"

namespace stele::daemons {

struct Home {
  std::filesystem::path dir;

  [[nodiscard]] std::filesystem::path Config() const { return dir / "stele.toml"; }
  [[nodiscard]] std::filesystem::path Store() const { return dir / "store"; }
  [[nodiscard]] std::filesystem::path State() const { return dir / "state"; }
  [[nodiscard]] std::filesystem::path Courier() const { return State() / "courier"; }
  [[nodiscard]] std::filesystem::path Keys() const { return dir / "keys"; }
  [[nodiscard]] std::filesystem::path Tpm() const { return dir / "tpm"; }
  [[nodiscard]] std::filesystem::path Run() const { return dir / "run"; }
  [[nodiscard]] std::filesystem::path ReadyFile() const { return Run() / "ready.json"; }
  [[nodiscard]] std::filesystem::path QuerySocket() const { return Run() / "query.sock"; }
  // What belongs to one TPM state, from the second epoch on with its number: nothing of an earlier one is overwritten.
  [[nodiscard]] std::filesystem::path SeedFile(std::uint64_t epoch) const;        // key: file
  [[nodiscard]] std::filesystem::path SealedSeedFile(std::uint64_t epoch) const;  // key: tpm-sealed
  [[nodiscard]] std::filesystem::path HierarchyAuths(std::uint64_t epoch) const;
  [[nodiscard]] std::filesystem::path RetiredTpm(std::uint64_t epoch) const;  // the embedded TPM of a closed epoch
  [[nodiscard]] std::filesystem::path ProvisioningKey() const { return Keys() / "provisioning.pem"; }
  [[nodiscard]] std::filesystem::path EkChain() const { return State() / "ek-chain.pem"; }  // optional
  [[nodiscard]] std::filesystem::path ProvisioningRecord() const { return State() / "provisioning.json"; }
};

// $XDG_DATA_HOME/stele, else ~/.local/share/stele. kInvalid when there is no home directory to put it in.
[[nodiscard]] Result<std::filesystem::path> DefaultDir();

// Makes the folders that are missing. kDenied when the directory belongs to somebody else or others may enter it.
[[nodiscard]] Result<void> MakeHome(const Home& home);

// Held as long as the descriptor lives. kDenied when another `stele up` has it.
[[nodiscard]] Result<UniqueFd> LockHome(const Home& home);
// Whether somebody holds it: a Stele is running there.
[[nodiscard]] bool IsRunning(const Home& home);

}  // namespace stele::daemons
