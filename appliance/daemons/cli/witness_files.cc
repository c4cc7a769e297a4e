// stele witness request and import: the log's side of witnessing where only files travel.
#include <sys/stat.h>

#include <fmt/format.h>
#include <cerrno>

#include "appliance/base/system.h"
#include "appliance/daemons/cli/client.h"
#include "appliance/daemons/cli/commands.h"
#include "appliance/daemons/cli/output.h"
#include "appliance/daemons/cli/tree_reads.h"
#include "appliance/daemons/courier_member.h"
#include "appliance/witness/answer_file.h"
#include "appliance/witness/cosigned.h"
#include "appliance/witness/refusal_file.h"

namespace stele::daemons::cli {
namespace {

Result<witness::Cosigned> OpenCosigned(const Home& home, const WitnessOptions& options, const ledger::VerifyKey& log) {
  const bool named = !options.config.empty();
  STELE_TRY(const Config config, LoadConfig(named ? std::filesystem::path(options.config) : home.Config(), named));
  if (config.witness_policy.empty()) return Fail(Code::kInvalid, "no witness.policy is configured");
  STELE_TRY(const std::string text, ReadWitnessPolicy(home, config));
  STELE_TRY(ledger::WitnessPolicy policy, witness::ParsePolicyFor(text, log));
  if (::mkdir(home.Courier().c_str(), 0700) != 0 && errno != EEXIST)
    return FailErrno("make " + home.Courier().string());
  return witness::Cosigned(home.Courier(), std::move(policy), log);
}

// What this witness has, as far as we know.
Result<std::uint64_t> OldSizeOf(const Home& home, const WitnessOptions& options, const ledger::VerifyKey& log) {
  if (options.old_size) return *options.old_size;
  if (options.name.empty()) return std::uint64_t{0};
  STELE_TRY(auto cosigned, OpenCosigned(home, options, log));
  for (std::size_t i = 0; i < cosigned.policy().witnesses.size(); ++i) {
    if (cosigned.policy().witnesses[i].name != options.name) continue;
    const auto head = cosigned.Of(i);
    return head ? head->checkpoint.size : 0;
  }
  return Fail(Code::kInvalid, "the policy has no witness " + options.name);
}

Result<std::uint64_t> NewestSize(const Home& home) {
  STELE_TRY(TreeReads reads, TreeReads::Open(home));
  STELE_TRY(const std::string note, reads.Checkpoint(/*newest=*/true));
  STELE_TRY(const auto opened, ledger::OpenCheckpoint(note, reads.log()));
  return opened.checkpoint.size;
}

// A witness that saw another history is an alarm in the log, whichever way its answer came: stele-courier writes it.
tl::unexpected<Error> Alarmed(const Home& home, const std::string& what) {
  const auto left = witness::LeaveRefusal(home.Courier(), what);
  return Fail(Code::kDenied, what + ": it was rolled back or forked" +
                                 (left ? "; the alarm is on its way" : "; no alarm could be left: " + Describe(left.error())));
}

}  // namespace

int RunWitnessRequest(const Home& home, const WitnessOptions& options) {
  const auto written = [&]() -> Result<std::string> {
    STELE_TRY(TreeReads reads, TreeReads::Open(home));
    ledger::AddCheckpoint request;
    STELE_TRY(request.old_size, OldSizeOf(home, options, reads.log()));
    STELE_TRY(request.note, reads.Checkpoint(/*newest=*/true));
    STELE_TRY(const auto opened, ledger::OpenCheckpoint(request.note, reads.log()));
    const std::uint64_t size = opened.checkpoint.size;
    if (request.old_size > size)
      return Alarmed(home, fmt::format("the witness has cosigned {} records of this log, which has {}",
                                       request.old_size, size));
    STELE_TRY(request.proof, reads.Consistency(request.old_size, size));
    STELE_TRY_VOID(WriteFileDurably(options.output, AsBytes(ledger::FormatAddCheckpoint(request)), 0644));
    return fmt::format("a request for {} records, from {} on\n", size, request.old_size);
  }();
  if (!written) return Complain(written.error());
  Print(*written);
  return kExitYes;
}

int RunWitnessImport(const Home& home, const WitnessOptions& options) {
  const auto imported = [&]() -> Result<std::string> {
    STELE_TRY(const Bytes text, ReadFile(options.input, 1 << 20));
    STELE_TRY(const witness::AnswerFile answer, witness::ParseAnswerFile(AsText(text)));
    if (answer.status == 409) {
      STELE_TRY(const std::uint64_t size, NewestSize(home));
      if (answer.latest_size > size)
        return Alarmed(home, fmt::format("the witness has cosigned {} records of this log, which has {}",
                                         answer.latest_size, size));
      return Fail(Code::kDenied,
                  fmt::format("the witness has cosigned {} records: make the request with --old {}. If the request "
                              "said so, it was rolled back or forked",
                              answer.latest_size, answer.latest_size));
    }
    if (answer.status == 422) return Alarmed(home, "the witness has cosigned another history of this log");
    if (answer.status != 200)
      return Fail(Code::kDenied, fmt::format("refused with {}: {}", answer.status, answer.reason));
    STELE_TRY(TreeReads reads, TreeReads::Open(home));
    STELE_TRY(auto cosigned, OpenCosigned(home, options, reads.log()));
    STELE_TRY(const auto kept, cosigned.Keep(answer.cosigned_note));
    if (kept.empty()) return Fail(Code::kDenied, "no witness of the policy has signed this");
    std::string said;
    for (const std::size_t i : kept) said += fmt::format("cosigned by {}\n", Safe(cosigned.policy().witnesses[i].name));
    const auto quorum = cosigned.WithQuorum();
    return said + (quorum ? fmt::format("the newest checkpoint with a quorum has {} records\n", quorum->checkpoint.size)
                          : std::string("no checkpoint has a quorum yet\n"));
  }();
  if (!imported) return Complain(imported.error());
  Print(*imported);
  return kExitYes;
}

}  // namespace stele::daemons::cli
