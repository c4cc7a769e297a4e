// A witness: cosigns a checkpoint only if it continues the last one it cosigned of that log, and has made that durable
// before the answer leaves. What its directory holds: README.md.
// Thread safety: AddCheckpoint() may be called from any thread; decision, write and memory are one step under one lock.
#pragma once

#include <mutex>

#include "appliance/base/seams.h"
#include "appliance/witness/heads.h"
#include "appliance/witness/http.h"

namespace stele::witness {

// Makes the directory with a fresh key. kDenied: there is one already. Returns the vkey.
[[nodiscard]] Result<std::string> MakeWitness(const std::filesystem::path& dir, const std::string& name,
                                              Entropy& entropy);

// The vkeys of the file `logs`: one a line, "#" for comments. kInvalid with the line.
[[nodiscard]] Result<std::vector<ledger::VerifyKey>> ParseLogs(std::string_view text);

class Witness {
 public:
  // Reads key, logs and heads below `dir`, and takes its lock: kDenied while another process serves from it.
  [[nodiscard]] static Result<std::unique_ptr<Witness>> Open(const std::filesystem::path& dir, Clock& clock);

  struct Decided {
    ledger::WitnessDecision decision;
    std::string lines;    // with kCosign: the cosignature
    std::string problem;  // it should have been kCosign, but could not be made durable: nothing was signed
  };
  [[nodiscard]] Decided AddCheckpoint(std::string_view body);

  [[nodiscard]] const ledger::CosignerKey& key() const { return cosigner_.key(); }
  [[nodiscard]] const std::vector<ledger::VerifyKey>& logs() const { return logs_; }
  [[nodiscard]] std::filesystem::path HeadsDir() const { return heads_dir_; }

 private:
  Witness(ledger::Cosigner cosigner, std::vector<ledger::VerifyKey> logs, Heads heads, std::filesystem::path heads_dir,
          UniqueFd lock, Clock& clock)
      : cosigner_(std::move(cosigner)),
        logs_(std::move(logs)),
        heads_(std::move(heads)),
        heads_dir_(std::move(heads_dir)),
        lock_(std::move(lock)),
        clock_(clock) {}

  std::mutex mutex_;
  ledger::Cosigner cosigner_;
  std::vector<ledger::VerifyKey> logs_;
  Heads heads_;
  std::filesystem::path heads_dir_;
  UniqueFd lock_;
  Clock& clock_;
};

// The HTTP answer to a decision, as tlog-witness asks for it.
[[nodiscard]] HttpAnswer HttpAnswerOf(const Witness::Decided& decided);

}  // namespace stele::witness
