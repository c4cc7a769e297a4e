#include "tests/unit/witness/small_log.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include "appliance/base/system.h"
#include "appliance/witness/witness.h"

namespace stele::witness {
namespace {

ledger::SigningKey KeyOf(std::string origin) {
  auto key = ledger::SigningKey::FromSeed(std::move(origin), Bytes(ledger::kKeyBytes, std::byte{3}));
  EXPECT_TRUE(key.has_value());
  return std::move(*key);
}

}  // namespace

SmallLog::SmallLog(std::string origin, std::size_t leaves, char history) : key_(KeyOf(std::move(origin))) {
  for (std::size_t i = 0; i < leaves; ++i) leaves_.push_back(LeafHash(AsBytes(history + std::to_string(i))));
}

Result<Hash> SmallLog::Node(unsigned level, std::uint64_t index) {
  ledger::CompactRange range;
  for (std::uint64_t i = index << level; i < (index + 1) << level; ++i) range.Push(leaves_.at(i));
  return range.Root();
}

ledger::Checkpoint SmallLog::At(std::uint64_t size) { return {key().name, size, *ledger::RootOf(*this, size)}; }
std::string SmallLog::NoteAt(std::uint64_t size) { return key_.Sign(ledger::FormatCheckpoint(At(size))); }

std::string SmallLog::Request(std::uint64_t old_size, std::uint64_t size) {
  return ledger::FormatAddCheckpoint({old_size, *ledger::ConsistencyProof(*this, old_size, size), NoteAt(size)});
}

TemporaryDir::TemporaryDir() {
  std::string pattern = (std::filesystem::temp_directory_path() / "stele-witness.XXXXXX").string();
  EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
  path_ = pattern;
}

TemporaryDir::~TemporaryDir() {
  std::error_code ignored;  // a leftover in the temporary directory
  std::filesystem::remove_all(path_, ignored);
}

std::string MakeWitnessOf(const std::filesystem::path& dir, const std::string& name,
                          const std::vector<ledger::VerifyKey>& logs) {
  SystemEntropy entropy;
  const auto vkey = MakeWitness(dir, name, entropy);
  EXPECT_TRUE(vkey.has_value()) << Describe(vkey.error());
  std::string text = "# logs\n";
  for (const ledger::VerifyKey& log : logs) text += log.Vkey() + "\n";
  EXPECT_TRUE(WriteFileDurably(dir / "logs", AsBytes(text), 0644).has_value());
  return vkey.value_or("");
}

}  // namespace stele::witness
