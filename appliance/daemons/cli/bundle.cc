// stele bundle: evidence for an auditor, from a running Stele into one file.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

#include "appliance/base/system.h"
#include "appliance/base/text.h"
#include "appliance/daemons/cli/audit.h"
#include "appliance/daemons/cli/client.h"
#include "appliance/daemons/cli/commands.h"
#include "appliance/daemons/cli/output.h"
#include "appliance/evidence/verify.h"
#include "appliance/ledger/note.h"

namespace stele::daemons::cli {
namespace {

constexpr std::size_t kReceiptBytesMax = std::size_t{1} << 20U;

// A size as it stands, or the size of the checkpoint in a receipt.
Result<std::string> SizeOfReceipt(const std::string& given) {
  if (!given.empty() && given.find_first_not_of("0123456789") == std::string::npos) return given;
  STELE_TRY(const Bytes bytes, ReadFile(given, kReceiptBytesMax));
  STELE_TRY(const std::string note, NoteOfReceipt(std::string(AsText(bytes))));
  STELE_TRY(const auto parsed, ledger::ParseNote(note));
  STELE_TRY(const auto checkpoint, ledger::ParseCheckpoint(parsed.text));
  return std::to_string(checkpoint.size);
}

Result<Query> QueryOf(const BundleOptions& options) {
  Query query{{"nonce", options.nonce}, {"payloads", options.no_payloads ? "0" : "1"}};
  if (!options.range.empty()) query["range"] = options.range;
  if (options.query) query["q"] = *options.query;
  if (!options.from.empty()) query["from"] = options.from;
  if (!options.to.empty()) query["to"] = options.to;
  if (options.no_anchor) query["anchor"] = "0";
  if (options.full_log) query["full_log"] = "1";
  std::string records;
  for (const std::uint64_t record : options.records) records += (records.empty() ? "" : ",") + std::to_string(record);
  if (!records.empty()) query["record"] = records;
  std::string since;
  for (const std::string& receipt : options.since) {
    STELE_TRY(const std::string size, SizeOfReceipt(receipt));
    since += (since.empty() ? "" : ",") + size;
  }
  if (!since.empty()) query["since"] = since;
  return query;
}

// The archive as it comes: to a file beside its place, and through the verifier, so that what is handed over is whole.
class Output {
 public:
  static Result<std::unique_ptr<Output>> Open(const std::string& path, const evidence::Policy& policy) {
    auto output = std::make_unique<Output>(path, policy);
    if (!output->file_.valid()) return FailErrno("create " + output->part_);
    return output;
  }
  Output(const std::string& path, const evidence::Policy& policy)
      : path_(path), part_(path + ".part"), file_(::open(part_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)), verifier_(policy) {}
  ~Output() {
    if (!kept_) (void)::unlink(part_.c_str());  // nothing half is left behind
  }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  bool Take(ByteView bytes) {
    size_bytes_ += bytes.size();
    while (!bytes.empty()) {
      const ssize_t written = ::write(file_.get(), bytes.data(), bytes.size());
      if (written < 0) {
        failed_ = FailErrno("write " + part_).value();
        return false;
      }
      const ByteView part = bytes.first(static_cast<std::size_t>(written));
      (void)verifier_.Feed(part);  // told by Finish()
      bytes = bytes.subspan(part.size());
    }
    return true;
  }
  Result<evidence::Report> Keep() {
    if (failed_) return tl::unexpected(*failed_);
    evidence::Report report = verifier_.Finish();
    if (report.Find("archive")->outcome != evidence::Outcome::kPassed) return Fail(Code::kUnavailable, "the bundle was cut short");
    if (::fsync(file_.get()) != 0 || ::rename(part_.c_str(), path_.c_str()) != 0) return FailErrno("keep " + path_);
    kept_ = true;
    return report;
  }
  [[nodiscard]] std::uint64_t size_bytes() const { return size_bytes_; }

 private:
  std::string path_;
  std::string part_;
  UniqueFd file_;
  evidence::Verifier verifier_;
  std::uint64_t size_bytes_ = 0;
  std::optional<Error> failed_;
  bool kept_ = false;
};

Result<int> Fetch(const Home& home, const BundleOptions& options) {
  evidence::Policy policy;
  policy.nonce = ParseHash(options.nonce);
  if (!policy.nonce) return Fail(Code::kInvalid, "--nonce is 64 hexadecimal digits that the auditor chose");
  STELE_TRY(const Query query, QueryOf(options));
  STELE_TRY(Client client, Client::Connect(home));
  STELE_TRY(const auto output, Output::Open(options.output, policy));
  STELE_TRY(const Answer answer, client.Stream("/api/v1/bundle", query, [&output](ByteView part) { return output->Take(part); }));
  if (!answer.ok()) return Complain(answer);
  STELE_TRY(const evidence::Report report, output->Keep());
  Print(options.output + ": " + std::to_string(report.facts.records) + " entries, " + SizeText(output->size_bytes()) + ", checkpoint of " +
        std::to_string(report.facts.size) + " entries, anchor " + std::to_string(report.facts.anchor) + " over " +
        std::to_string(report.facts.anchored_size) + "\n");
  if (report.facts.demand == "refused") Print("no new anchor: " + Safe(report.facts.demand_text) + "\n");
  if (report.good()) return static_cast<int>(kExitYes);
  std::fprintf(stderr, "stele: as it stands an audit says %s: %s\n", report.word.c_str(), Safe(report.detail).c_str());
  return static_cast<int>(kExitNo);
}

}  // namespace

int RunAttest(const Home& home, const std::string& nonce, bool no_anchor) {
  auto client = Client::Connect(home);
  if (!client) return Complain(client.error());
  const auto answer = client->Get("/api/v1/attest", {{"nonce", nonce}, {"anchor", no_anchor ? "0" : "1"}});
  if (!answer) return Complain(answer.error());
  if (!answer->ok()) return Complain(*answer);
  const auto body = answer->Json();
  if (!body) return Complain(body.error());
  PrintJson(*body);
  return kExitYes;
}

int RunBundle(const Home& home, const BundleOptions& options) {
  const bool selects = !options.range.empty() || options.query || !options.records.empty();
  if (!selects) return RunAttest(home, options.nonce, options.no_anchor);
  if (options.output.empty()) {
    std::fprintf(stderr, "stele: -o FILE is needed\n");
    return kExitUsage;
  }
  const auto status = Fetch(home, options);
  return status ? *status : Complain(status.error());
}

}  // namespace stele::daemons::cli
