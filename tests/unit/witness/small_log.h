// A log of a few leaves that signs its checkpoints and proves itself; Fork() makes another history of the same log.
#pragma once

#include <filesystem>
#include <string>

#include "appliance/ledger/add_checkpoint.h"
#include "appliance/ledger/merkle.h"

namespace stele::witness {

class SmallLog final : public ledger::NodeSource {
 public:
  explicit SmallLog(std::string origin, std::size_t leaves = 300, char history = 'a');

  [[nodiscard]] ledger::VerifyKey key() const { return key_.verify_key(); }
  Result<Hash> Node(unsigned level, std::uint64_t index) override;
  [[nodiscard]] ledger::Checkpoint At(std::uint64_t size);
  [[nodiscard]] std::string NoteAt(std::uint64_t size);
  [[nodiscard]] std::string Request(std::uint64_t old_size, std::uint64_t size);

 private:
  ledger::SigningKey key_;
  std::vector<Hash> leaves_;
};

// A directory of a test's own, removed with it.
class TemporaryDir {
 public:
  TemporaryDir();
  ~TemporaryDir();
  TemporaryDir(const TemporaryDir&) = delete;
  TemporaryDir& operator=(const TemporaryDir&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// A witness's directory that knows these logs; returns its vkey.
std::string MakeWitnessOf(const std::filesystem::path& dir, const std::string& name,
                          const std::vector<ledger::VerifyKey>& logs);

}  // namespace stele::witness
