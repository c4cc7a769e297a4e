// The report as one page: no script, no network, nothing loaded. All text from the bundle is escaped.
#include <algorithm>

#include "appliance/base/text.h"
#include "appliance/evidence/report.h"

namespace stele::evidence {
namespace {

constexpr std::string_view kStyle =
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}"
    "h1{font-size:1.5rem;margin:0 0 .25rem}h2{font-size:1.05rem;margin:2rem 0 .5rem}"
    ".word{padding:1rem 1.25rem;border-left:.4rem solid;margin:1rem 0}.good{border-color:#1a7f37;background:#eaf6ec}"
    ".bad{border-color:#b42318;background:#fdecea}.unknown{border-color:#9a6700;background:#fff6e0}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.3rem .75rem .3rem 0;"
    "border-bottom:1px solid #e3e6ea}code{font:13px ui-monospace,monospace;overflow-wrap:anywhere}"
    ".passed{color:#1a7f37}.failed{color:#b42318;font-weight:600}.skipped{color:#6b7280}"
    "@media (prefers-color-scheme:dark){body{color:#e6e8eb;background:#14171a}.good{background:#10281a}.bad{background:#33140f}"
    ".unknown{background:#2b2208}td,th{border-color:#2b3036}.passed{color:#4ac26b}.failed{color:#ff7b6e}}"
    "@media print{body{margin:0;max-width:none}}";

std::string Escaped(std::string_view hostile) {
  std::string out;
  for (const char c : EscapeForTerminal(AsBytes(hostile))) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      default: out += c;
    }
  }
  return out;
}

class Table {
 public:
  explicit Table(std::string& out) : out_(out) { out_ += "<table>\n"; }
  ~Table() { out_ += "</table>\n"; }
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;
  void Row(std::string_view name, std::string_view value) {
    out_ += "<tr><th scope=\"row\">" + Escaped(name) + "</th><td><code>" + Escaped(value) + "</code></td></tr>\n";
  }

 private:
  std::string& out_;
};

void AddChecks(const Report& report, std::string& out) {
  out += "<h2>Checks</h2>\n<table><tr><th>Check</th><th>Result</th><th></th></tr>\n";
  for (const Check& check : report.checks) {
    const char* word = check.outcome == Outcome::kPassed ? "passed" : check.outcome == Outcome::kFailed ? "failed" : "skipped";
    out += "<tr><td>" + Escaped(check.name) + "</td><td class=\"" + word + "\">" + word + "</td><td>" + Escaped(check.detail);
    if (!check.place.empty()) out += " <code>" + Escaped(check.place) + "</code>";
    out += "</td></tr>\n";
  }
  out += "</table>\n";
}

void AddFacts(const Report& report, std::string& out) {
  const Facts& facts = report.facts;
  out += "<h2>What it holds</h2>\n";
  Table table(out);
  table.Row("Log id", facts.log_id);
  table.Row("Origin", facts.origin);
  table.Row("Selection", facts.selection_kind + " " + facts.selection_text);
  table.Row("Scope", facts.scope_limited ? "limited: entries outside the requester's scope are left out" : "all");
  table.Row("Entries", std::to_string(facts.records) + ", " + std::to_string(facts.disclosed) + " with payload");
  if (facts.last_sequence != 0) {
    table.Row("Numbers", std::to_string(facts.first_sequence) + " to " + std::to_string(facts.last_sequence) +
                             (facts.contiguous ? ", without a gap" : ", with gaps"));
    table.Row("Received", FormatTime(facts.first_wall_ns) + " to " + FormatTime(facts.last_wall_ns) + " (the box's clock)");
  }
  table.Row("Checkpoint", std::to_string(facts.size) + " entries, root " + HexOf(facts.root));
  table.Row("Newest anchor", std::to_string(facts.anchor) + " over " + std::to_string(facts.anchored_size) + " entries");
  if (!facts.demand_text.empty()) table.Row("Anchor on demand", facts.demand + ": " + facts.demand_text);
  table.Row("Counter C", std::to_string(facts.counter));
  table.Row("Index X", HexOf(facts.index));
  table.Row("Boot", "resetCount " + std::to_string(facts.reset_count) + ", restartCount " + std::to_string(facts.restart_count) +
                        ", TPM clock " + std::to_string(facts.clock_ms) + " ms");
  table.Row("Nonce", facts.nonce);
  table.Row("Made", FormatTime(facts.created_ns) + " (the box's clock)");
  if (facts.witnessed.size != 0) table.Row("Cosigned checkpoint", std::to_string(facts.witnessed.size) + " entries");
  for (const Witnessed::Seen& seen : facts.witnessed.witnesses) table.Row("Witness", SeenText(seen));
  if (!facts.verify_page_sha256.empty()) {
    table.Row("verify.html", "sha256 " + facts.verify_page_sha256 + " (came with the evidence: compare with a release's before you open it)");
  }
  for (const BootRegister& one : facts.boot_registers) {
    table.Row("Boot log, PCR " + std::to_string(one.pcr),
              std::to_string(one.events) + " events give " + HexOf(one.value) + (one.quoted ? ", as quoted" : ", NOT as quoted"));
  }
  for (const auto& [number, value] : facts.pcrs) table.Row("PCR " + std::to_string(number), HexOf(value));
}

}  // namespace

std::string ReportHtml(const Report& report, std::string_view file) {
  const char* mood = report.good() ? "good" : report.word == "CANNOT_TELL" ? "unknown" : "bad";
  std::string out = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
                    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
                    "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>Audit: " +
                    Escaped(report.word) + "</title>\n<style>" + std::string(kStyle) + "</style></head>\n<body>\n";
  out += "<h1>Audit of a Stele log</h1>\n<p><code>" + Escaped(file) + "</code></p>\n";
  out += "<div class=\"word " + std::string(mood) + "\"><strong>" + Escaped(report.WordWithQualifiers()) + "</strong><br>" +
         Escaped(report.detail);
  if (!report.place.empty()) out += "<br>First wrong place: <code>" + Escaped(report.place) + "</code>";
  out += "</div>\n<p>" + Escaped(StatementOf(report)) + "</p>\n";
  if (!report.unchecked.empty()) {
    out += "<h2>Not checked</h2>\n<ul>\n";
    for (const std::string& one : report.unchecked) out += "<li>" + Escaped(one) + "</li>\n";
    out += "</ul>\n";
  }
  AddChecks(report, out);
  AddFacts(report, out);
  return out + "</body></html>\n";
}

}  // namespace stele::evidence
