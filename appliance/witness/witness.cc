#include "appliance/witness/witness.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <system_error>

#include "appliance/base/system.h"

namespace stele::witness {
namespace {

constexpr std::size_t kLogsBytesMax = 1 << 20;
constexpr std::int64_t kNsPerSecond = 1'000'000'000;
constexpr const char* kText = "text/plain; charset=utf-8";

Result<UniqueFd> LockDirectory(const std::filesystem::path& dir) {
  UniqueFd lock(::open((dir / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock.valid()) return FailErrno("open " + (dir / "lock").string());
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0)
    return Fail(Code::kDenied, "another witness serves from " + dir.string());
  return lock;
}

Result<ledger::Cosigner> ReadKey(const std::filesystem::path& dir) {
  STELE_TRY(const Bytes vkey_text, ReadFile(dir / "witness.vkey", ledger::kNoteBytesMax));
  std::string_view vkey = AsText(vkey_text);
  while (!vkey.empty() && vkey.back() == '\n') vkey.remove_suffix(1);
  STELE_TRY(const ledger::CosignerKey expected, ledger::ParseCosignerVkey(vkey));
  STELE_TRY(Bytes seed, ReadFile(dir / "witness.key", ledger::kKeyBytes));
  auto cosigner = ledger::Cosigner::FromSeed(expected.name, seed);
  ::OPENSSL_cleanse(seed.data(), seed.size());
  if (cosigner && cosigner->key().public_key != expected.public_key)
    return Fail(Code::kInvalid, "witness.key and witness.vkey do not belong together");
  return cosigner;
}

}  // namespace

Result<std::string> MakeWitness(const std::filesystem::path& dir, const std::string& name, Entropy& entropy) {
  if (!ledger::IsKeyName(name)) return Fail(Code::kInvalid, "not a key name: no spaces, no plus sign");
  std::error_code failed;
  std::filesystem::create_directories(dir / "heads", failed);
  if (failed) return Fail(Code::kIo, "make " + (dir / "heads").string() + ": " + failed.message());
  if (::chmod(dir.c_str(), 0700) != 0) return FailErrno("protect " + dir.string());
  if (std::filesystem::exists(dir / "witness.key")) return Fail(Code::kDenied, dir.string() + " has a witness already");
  Bytes seed(ledger::kKeyBytes);
  entropy.Fill(seed);
  const auto cosigner = ledger::Cosigner::FromSeed(name, seed);
  const auto written = cosigner ? WriteFileDurably(dir / "witness.key", seed, 0600) : Result<void>();
  ::OPENSSL_cleanse(seed.data(), seed.size());
  if (!cosigner) return tl::unexpected(cosigner.error());
  STELE_TRY_VOID(written);
  const std::string vkey = cosigner->key().Vkey();
  STELE_TRY_VOID(WriteFileDurably(dir / "witness.vkey", AsBytes(vkey + "\n"), 0644));
  if (!std::filesystem::exists(dir / "logs")) {
    STELE_TRY_VOID(
        WriteFileDurably(dir / "logs", AsBytes("# The verification key of each log to witness, one a line.\n"), 0644));
  }
  return vkey;
}

Result<std::vector<ledger::VerifyKey>> ParseLogs(std::string_view text) {
  std::vector<ledger::VerifyKey> logs;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    while (!line.empty() && (line.front() == ' ' || line.front() == '\t')) line.remove_prefix(1);
    while (!line.empty() && (line.back() == ' ' || line.back() == '\t')) line.remove_suffix(1);
    if (line.empty() || line.front() == '#') continue;
    auto key = ledger::ParseVkey(line);
    if (!key) return Fail(Code::kInvalid, "logs:" + std::to_string(number) + ": " + key.error().context);
    logs.push_back(std::move(*key));
  }
  return logs;
}

Result<std::unique_ptr<Witness>> Witness::Open(const std::filesystem::path& dir, Clock& clock) {
  STELE_TRY(ledger::Cosigner cosigner, ReadKey(dir));
  STELE_TRY(UniqueFd lock, LockDirectory(dir));
  STELE_TRY(const Bytes logs_text, ReadFile(dir / "logs", kLogsBytesMax));
  STELE_TRY(auto logs, ParseLogs(AsText(logs_text)));
  STELE_TRY(Heads heads, Heads::Open(dir / "heads", cosigner.key()));
  return std::unique_ptr<Witness>(  // NOLINT  // private constructor
      new Witness(std::move(cosigner), std::move(logs), std::move(heads), dir / "heads", std::move(lock), clock));
}

Witness::Decided Witness::AddCheckpoint(std::string_view body) {
  const std::scoped_lock lock(mutex_);
  Decided decided;
  decided.decision =
      ledger::DecideAddCheckpoint(body, logs_, [this](const std::string& origin) { return heads_.HeadOf(origin); });
  if (decided.decision.verdict != ledger::WitnessVerdict::kCosign) return decided;
  const std::int64_t now_s = clock_.WallNs() / kNsPerSecond;
  if (now_s <= 0) {
    decided.problem = "the clock of the witness is not set";
    return decided;
  }
  std::string line = cosigner_.Cosign(decided.decision.text, static_cast<std::uint64_t>(now_s));
  const ledger::WitnessedHead head = heads_.HeadOf(decided.decision.checkpoint.origin);
  const bool fresh = head.size != decided.decision.checkpoint.size || head.size == 0;
  if (fresh) {
    //= c2sp.org/tlog-witness, "add-checkpoint"
    //# The witness MUST persist the new checkpoint before responding.
    if (const auto stored = heads_.Store(decided.decision.checkpoint, decided.decision.text + "\n" + line); !stored) {
      decided.problem = Describe(stored.error());
      return decided;
    }
  }
  decided.lines = std::move(line);
  return decided;
}

HttpAnswer HttpAnswerOf(const Witness::Decided& decided) {
  if (!decided.problem.empty()) return {500, kText, "the checkpoint could not be recorded\n"};
  const int status = static_cast<int>(decided.decision.verdict);
  if (decided.decision.verdict == ledger::WitnessVerdict::kCosign) return {status, kText, decided.lines};
  if (decided.decision.verdict == ledger::WitnessVerdict::kConflict)
    return {status, "text/x.tlog.size", std::to_string(decided.decision.latest_size) + "\n"};
  return {status, kText, decided.decision.reason + "\n"};
}

}  // namespace stele::witness
