#include "appliance/daemons/cli/audit.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "appliance/base/fd.h"
#include "appliance/base/system.h"
#include "appliance/base/text.h"
#include "appliance/evidence/compare.h"
#include "appliance/evidence/verify.h"
#include "firmware/measure/expected_pcrs.h"
#include "tpm/signing.h"

namespace stele::daemons::cli {
namespace {

using nlohmann::json;

constexpr std::size_t kReadBytes = std::size_t{1} << 20U;
constexpr std::size_t kSmallFileBytesMax = std::size_t{1} << 20U;
constexpr int kUsage = 2;
constexpr int kCannotTell = 3;

int Complain(const std::string& text, int status) {
  std::fprintf(stderr, "stele: %s\n", EscapeForTerminal(AsBytes(text)).c_str());
  return status;
}

Result<std::string> SmallFile(const std::string& path) {
  STELE_TRY(const Bytes bytes, ReadFile(path, kSmallFileBytesMax));
  return std::string(AsText(bytes));
}

// An image's expected-pcrs.json; or lines "7 HEX", or as tpm2_pcrread prints them: "  7 : 0xHEX". Other lines (a bank's
// heading, a comment) are passed over.
Result<std::map<std::uint32_t, Hash>> ParseExpectedPcrs(std::string_view text) {
  if (text.starts_with('{')) return measure::ParseExpectedPcrs(text);
  std::map<std::uint32_t, Hash> values;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string line(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    std::replace(line.begin(), line.end(), ':', ' ');
    unsigned number = 0;
    char digest[67] = {};
    if (std::sscanf(line.c_str(), " %2u %66s", &number, digest) != 2) continue;
    const std::string_view hex(digest);
    const auto hash = ParseHash(hex.starts_with("0x") ? hex.substr(2) : hex);
    if (!hash || number > 23) return Fail(Code::kInvalid, "expected PCRs: \"" + line + "\" is not a number and a sha256 value");
    values[number] = *hash;
  }
  if (values.empty()) return Fail(Code::kInvalid, "expected PCRs: the file holds none");
  return values;
}

Result<evidence::Policy> PolicyOf(const AuditOptions& options) {
  evidence::Policy policy;
  if (!options.nonce.empty()) {
    const auto nonce = ParseHash(options.nonce);
    if (!nonce) return Fail(Code::kInvalid, "--nonce is 64 hexadecimal digits");
    policy.nonce = *nonce;
  }
  if (!options.pin.empty()) {
    STELE_TRY(policy.pin_pem, SmallFile(options.pin));
    STELE_TRY(const auto point, tpm::PointOf(policy.pin_pem));
    (void)point;  // only the question whether it is such a key
  }
  for (const std::string& path : options.ek_roots) {
    STELE_TRY(const std::string pem, SmallFile(path));
    policy.ek_roots_pem += pem + "\n";
  }
  if (!options.expected_pcrs.empty()) {
    STELE_TRY(const std::string text, SmallFile(options.expected_pcrs));
    STELE_TRY(policy.expected_pcrs, ParseExpectedPcrs(text));
  }
  if (!options.since.empty()) {
    STELE_TRY(const std::string text, SmallFile(options.since));
    STELE_TRY(policy.since_note, NoteOfReceipt(text));
  }
  if (!options.witness_policy.empty()) {
    STELE_TRY(const std::string text, SmallFile(options.witness_policy));
    STELE_TRY(policy.witnesses, ledger::ParseWitnessPolicy(text));
  }
  policy.witness_max_age_s = options.witness_max_age_s;
  return policy;
}

Result<evidence::Report> AuditFile(const std::string& path, const evidence::Policy& policy) {
  const UniqueFd file(path == "-" ? ::dup(STDIN_FILENO) : ::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return FailErrno("open " + path);
  evidence::Verifier verifier(policy);
  Bytes buffer(kReadBytes);
  for (;;) {
    const ssize_t count = ::read(file.get(), buffer.data(), buffer.size());
    if (count < 0) return FailErrno("read " + path);
    if (count == 0 || !verifier.Feed(ByteView(buffer).first(static_cast<std::size_t>(count)))) return verifier.Finish();
  }
}

Result<void> WriteWhole(const std::string& path, std::string_view text) {
  return WriteFileDurably(path, AsBytes(text), 0644);
}

json ComparisonJson(const evidence::Comparison& comparison) {
  json checks = json::array();
  for (const evidence::Check& check : comparison.checks) {
    const char* result = check.outcome == evidence::Outcome::kPassed ? "passed" : check.outcome == evidence::Outcome::kFailed ? "failed" : "skipped";
    checks.push_back({{"name", check.name}, {"result", result}, {"detail", check.detail}});
  }
  return {{"word", comparison.word}, {"detail", comparison.detail}, {"checks", std::move(checks)}};
}

Result<int> Audit(const AuditOptions& options) {
  STELE_TRY(const evidence::Policy policy, PolicyOf(options));
  STELE_TRY(const evidence::Report report, AuditFile(options.file, policy));
  int status = report.exit_status();
  json out = evidence::ReportJson(report);
  std::string text = evidence::ReportText(report);
  if (!options.compare.empty()) {
    evidence::Policy same = policy;
    same.nonce.reset();  // the other bundle answered another one
    same.since_note.reset();
    STELE_TRY(const evidence::Report other, AuditFile(options.compare, same));
    const evidence::Comparison comparison = evidence::Compare(other.facts, report.facts);
    out["other"] = evidence::ReportJson(other);
    out["comparison"] = ComparisonJson(comparison);
    text += "\n" + options.compare + ": " + other.WordWithQualifiers() + "\nboth: " + comparison.word + ": " + comparison.detail + "\n";
    for (const int more : {other.exit_status(), comparison.exit_status()}) {
      if (status == 0 || (status == kCannotTell && more == 1)) status = more;
    }
  }
  if (!options.html.empty()) STELE_TRY_VOID(WriteWhole(options.html, evidence::ReportHtml(report, options.file)));
  const std::string shown = options.json ? out.dump(2, ' ', /*ensure_ascii=*/true, json::error_handler_t::replace) + "\n" : text;
  (void)!std::fwrite(shown.data(), 1, shown.size(), stdout);
  return status;
}

}  // namespace

Result<std::string> NoteOfReceipt(const std::string& text) {
  const json receipt = json::parse(text, nullptr, false);
  if (!receipt.is_object()) return text;
  for (const char* name : {"checkpoint", "note"}) {
    const auto member = receipt.find(name);
    if (member == receipt.end()) continue;
    if (member->is_string()) return member->get<std::string>();
    if (member->is_object() && member->contains("note") && (*member)["note"].is_string()) return (*member)["note"].get<std::string>();
  }
  return Fail(Code::kInvalid, "the receipt carries no checkpoint");
}

void AddAuditOptions(CLI::App& app, AuditOptions& options) {
  app.add_option("FILE", options.file, "the bundle; - is standard input")->required();
  app.add_option("--nonce", options.nonce, "the nonce you asked with: without it the quote may be old");
  app.add_option("--pin", options.pin, "the provisioning public key (PEM), from outside the box");
  app.add_option("--ek-root", options.ek_roots, "certificates of the TPM's maker (PEM), roots and intermediates");
  app.add_option("--expected-pcrs", options.expected_pcrs,
                 "an image's expected-pcrs.json, or lines of register and sha256 value");
  app.add_option("--compare", options.compare, "another bundle of the same log: does the later one continue the earlier?");
  app.add_option("--since", options.since, "an earlier receipt: a JSON acknowledgement or a checkpoint");
  app.add_option("--witness-policy", options.witness_policy, "whose cosignatures count, and how many (c2sp.org/tlog-policy)");
  app.add_option("--witness-max-age", options.witness_max_age_s,
                 "seconds between a cosignature and the quote, beyond which it does not count; 0: any")
      ->capture_default_str();
  app.add_option("--html", options.html, "write the report as one page");
  app.add_flag("--json", options.json, "the report as one object");
}

int RunAudit(const AuditOptions& options) {
  const auto status = Audit(options);
  if (status) return *status;
  return Complain(Describe(status.error()), status.error().code == Code::kInvalid ? kUsage : kCannotTell);
}

}  // namespace stele::daemons::cli
