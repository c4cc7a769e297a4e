// The policy in force, as it survives a restart: files of the guard's own, written whole or not at all.
//
//   in_force.json   {"version":1,"policy":TEXT,"digest","entry":N,"since_ns":N,"who"}
//   pending.json    the same, while the kernel is being told: what is there at a start was never finished
//   found.json      what differed when the appliance was started: a list of clauses, until it is in the log
#pragma once

#include <filesystem>
#include <optional>

#include "netfilter/guard/change.h"

namespace stele::guard {

class KeptPolicy {
 public:
  explicit KeptPolicy(std::filesystem::path dir) : dir_(std::move(dir)) {}

  // None: no policy was ever in force. kCorrupt: the file is not what was written.
  [[nodiscard]] Result<std::optional<InForce>> Load() const;
  [[nodiscard]] Result<std::optional<InForce>> LoadPending() const;
  [[nodiscard]] Result<void> StorePending(const InForce& policy) const;
  [[nodiscard]] Result<void> TakePending() const;  // it is in force now
  [[nodiscard]] Result<void> DropPending() const;

  [[nodiscard]] std::vector<std::string> LoadFound() const;
  [[nodiscard]] Result<void> StoreFound(const std::vector<std::string>& differences) const;
  void DropFound() const;

 private:
  [[nodiscard]] Result<std::optional<InForce>> Read(const char* name) const;
  std::filesystem::path dir_;
};

}  // namespace stele::guard
