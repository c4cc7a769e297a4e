#include "appliance/evidence/report.h"

#include <algorithm>

#include "appliance/base/text.h"

namespace stele::evidence {
namespace {

using nlohmann::json;

const char* OutcomeName(Outcome outcome) {
  switch (outcome) {
    case Outcome::kPassed: return "passed";
    case Outcome::kFailed: return "failed";
    case Outcome::kSkipped: return "skipped";
  }
  return "skipped";
}

std::string Safe(std::string_view text) { return EscapeForTerminal(AsBytes(text)); }

json PcrsJson(const Facts& facts) {
  json pcrs = json::object();
  for (const auto& [number, value] : facts.pcrs) pcrs[std::to_string(number)] = HexOf(value);
  return pcrs;
}

json BootJson(const Facts& facts) {
  json registers = json::array();
  for (const BootRegister& one : facts.boot_registers) {
    registers.push_back({{"pcr", one.pcr}, {"events", one.events}, {"value", HexOf(one.value)}, {"quoted", one.quoted}});
  }
  return registers;
}

json WitnessesJson(const Witnessed& witnessed) {
  json seen = json::array();
  for (const Witnessed::Seen& one : witnessed.witnesses) {
    json row = {{"name", one.name}, {"fresh", one.fresh}};
    row["time_s"] = one.time_s ? json(*one.time_s) : json();
    seen.push_back(std::move(row));
  }
  return {{"size", witnessed.size}, {"judged", witnessed.judged}, {"quorum", witnessed.quorum}, {"witnesses", std::move(seen)}};
}

}  // namespace

std::string SeenText(const Witnessed::Seen& seen) {
  if (!seen.time_s) return seen.name + ": did not cosign it";
  return seen.name + ": " + TimeOfCosignature(*seen.time_s) + (seen.fresh ? "" : ", which does not count: too old or in the future");
}

std::string TimeOfCosignature(std::uint64_t time_s) {
  constexpr std::int64_t kNsPerSecond = 1'000'000'000;
  constexpr std::uint64_t kLast = 9'000'000'000;  // what nanoseconds in 64 bits reach
  return time_s > kLast ? std::to_string(time_s) + " s" : FormatTime(static_cast<std::int64_t>(time_s) * kNsPerSecond);
}

std::string Report::WordWithQualifiers() const {
  std::string text = word;
  for (std::size_t i = 0; i < qualifiers.size(); ++i) text += (i == 0 ? " (" : ", ") + qualifiers[i];
  return qualifiers.empty() ? text : text + ")";
}

const Check* Report::Find(std::string_view name) const {
  const auto at = std::find_if(checks.begin(), checks.end(), [name](const Check& check) { return check.name == name; });
  return at == checks.end() ? nullptr : &*at;
}

std::string StatementOf(const Report& report) {
  if (!report.good()) return "This bundle does not prove what it holds.";
  const Facts& facts = report.facts;
  std::string text = "Every entry in this bundle is authentic: it was in the log, at its place, when the TPM signed.";
  if (facts.selection_kind == "range" && facts.contiguous && !facts.scope_limited) {
    text += " Its entries follow one another without a gap: none of the range is missing.";
  } else {
    text += " That the selection found every entry it should have found, a bundle does not prove.";
  }
  if (!facts.payloads) text += " Payloads are not in it: entries prove time, length and place only.";
  text += " What happened before an entry reached the log, and what lies above the checkpoint, it does not show.";
  return text;
}

json ReportJson(const Report& report) {
  const Facts& facts = report.facts;
  json checks = json::array();
  for (const Check& check : report.checks) {
    json one = {{"name", check.name}, {"result", OutcomeName(check.outcome)}, {"detail", check.detail}};
    if (check.outcome == Outcome::kFailed) {
      one["word"] = check.word;
      one["place"] = check.place;
    }
    checks.push_back(std::move(one));
  }
  return {{"word", report.word},
          {"qualifiers", report.qualifiers},
          {"exit_status", report.exit_status()},
          {"place", report.place},
          {"detail", report.detail},
          {"statement", StatementOf(report)},
          {"checks", std::move(checks)},
          {"unchecked", report.unchecked},
          {"log", {{"log_id", facts.log_id}, {"origin", facts.origin}, {"vkey", facts.vkey}}},
          {"selection",
           {{"kind", facts.selection_kind},
            {"text", facts.selection_text},
            {"scope", facts.scope_limited ? "limited" : "all"},
            {"records", facts.records},
            {"disclosed", facts.disclosed},
            {"first", facts.first_sequence},
            {"last", facts.last_sequence},
            {"contiguous", facts.contiguous},
            {"first_ns", std::to_string(facts.first_wall_ns)},
            {"last_ns", std::to_string(facts.last_wall_ns)},
            {"kinds", facts.kinds}}},
          {"checkpoint", {{"size", facts.size}, {"root", HexOf(facts.root)}, {"log_size", facts.log_size}}},
          {"anchor",
           {{"number", facts.anchor},
            {"size", facts.anchored_size},
            {"counter", facts.counter},
            {"index", HexOf(facts.index)},
            {"demand", facts.demand},
            {"demand_text", facts.demand_text}}},
          {"tpm",
           {{"reset_count", facts.reset_count},
            {"restart_count", facts.restart_count},
            {"clock_ms", facts.clock_ms},
            {"software", facts.software_tpm},
            {"pcrs", PcrsJson(facts)},
            {"boot_log", BootJson(facts)}}},
          {"witnesses", WitnessesJson(facts.witnessed)},
          {"verify_page_sha256", facts.verify_page_sha256},
          {"nonce", facts.nonce},
          {"created_ns", std::to_string(facts.created_ns)}};
}

std::string ReportText(const Report& report) {
  const Facts& facts = report.facts;
  std::string text = report.WordWithQualifiers() + "\n";
  if (!report.place.empty()) text += "  first wrong place: " + Safe(report.place) + "\n";
  text += "  " + Safe(report.detail) + "\n\n";
  for (const Check& check : report.checks) {
    const char* mark = check.outcome == Outcome::kPassed ? "ok  " : check.outcome == Outcome::kFailed ? "NO  " : "-   ";
    text += "  " + std::string(mark) + check.name + std::string(17 - std::min<std::size_t>(16, check.name.size()), ' ') +
            Safe(check.detail) + "\n";
  }
  text += "\n";
  if (!facts.log_id.empty()) {
    text += "  log id      " + facts.log_id + "\n";
    text += "  selection   " + Safe(facts.selection_kind) + " " + Safe(facts.selection_text) + ": " + std::to_string(facts.records) +
            " entries, " + std::to_string(facts.disclosed) + " with payload\n";
    text += "  checkpoint  " + std::to_string(facts.size) + " entries; newest anchor " + std::to_string(facts.anchor) + " over " +
            std::to_string(facts.anchored_size) + "\n";
    if (facts.demand == "refused") text += "  anchor on demand refused: " + Safe(facts.demand_text) + "\n";
  }
  for (const Witnessed::Seen& seen : facts.witnessed.witnesses) text += "  witness     " + Safe(SeenText(seen)) + "\n";
  for (const BootRegister& one : facts.boot_registers) {
    text += "  boot log    PCR " + std::to_string(one.pcr) + ": " + std::to_string(one.events) + " events" +
            (one.quoted ? ", as quoted\n" : ", NOT as quoted\n");
  }
  if (!facts.verify_page_sha256.empty()) {
    text += "  verify.html sha256 " + facts.verify_page_sha256 + ": came with the evidence; compare with a release's before you open it\n";
  }
  for (const std::string& one : report.unchecked) text += "  not checked: " + Safe(one) + "\n";
  return text + "\n" + StatementOf(report) + "\n";
}

}  // namespace stele::evidence
