#include "appliance/evidence/verify.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "appliance/evidence/ustar.h"
#include "appliance/evidence/verify_state.h"

namespace stele::evidence {
namespace {

using nlohmann::json;

constexpr std::array<std::string_view, 22> kCheckNames = {
    "archive", "bundle",  "provisioning", "pin",     "endorsement", "attestation_key", "registers",
    "checkpoint", "witnesses", "quote",  "nonce",   "counter",     "index",           "boot",
    "receipt", "anchors", "pcr_log",      "boot_log", "records", "marks",       "proofs",          "expected_pcrs"};
constexpr std::array<std::string_view, 2> kLastCheckNames = {"since", "manifest"};
// What nobody can leave out: skipped for want of a dependency, the verdict cannot be good.
constexpr std::array<std::string_view, 15> kNeeded = {"archive", "bundle", "provisioning", "attestation_key", "registers",
                                                      "checkpoint", "quote", "counter", "index", "boot",
                                                      "receipt", "anchors", "pcr_log", "records", "manifest"};

}  // namespace

void CheckList::Pass(std::string_view name, std::string detail) {
  done_.emplace(name, Check{std::string(name), Outcome::kPassed, std::move(detail), {}, {}});
}

void CheckList::Fail(std::string_view name, std::string_view word, std::string detail, std::string place) {
  if (Failed(name)) return;
  done_.insert_or_assign(std::string(name),
                         Check{std::string(name), Outcome::kFailed, std::move(detail), std::string(word), std::move(place)});
}

void CheckList::Skip(std::string_view name, std::string why) {
  done_.emplace(name, Check{std::string(name), Outcome::kSkipped, std::move(why), {}, {}});
}

bool CheckList::Passed(std::string_view name) const {
  const auto at = done_.find(name);
  return at != done_.end() && at->second.outcome == Outcome::kPassed;
}

bool CheckList::Failed(std::string_view name) const {
  const auto at = done_.find(name);
  return at != done_.end() && at->second.outcome == Outcome::kFailed;
}

std::vector<Check> CheckList::InOrder() const {
  std::vector<Check> checks;
  const auto add = [this, &checks](std::string_view name) {
    const auto at = done_.find(name);
    checks.push_back(at != done_.end() ? at->second
                                       : Check{std::string(name), Outcome::kSkipped, "not reached", {}, {}});
  };
  for (const std::string_view name : kCheckNames) add(name);
  if (done_.find("epochs") != done_.end()) add("epochs");  // only of a log that has more than one
  for (const std::string_view name : kLastCheckNames) add(name);
  return checks;
}

class Verifier::Impl {
 public:
  explicit Impl(Policy policy)
      : policy_(std::move(policy)),
        state_(policy_),
        reader_([this](std::string_view name) { return Admit(name); },
                [this](std::string_view, Bytes content) { Take(std::move(content)); }) {}

  bool Feed(ByteView bytes) {
    if (const auto fed = reader_.Feed(bytes); !fed) FailArchive(fed.error().context);
    return !state_.checks.Failed("archive");
  }
  Report Finish();

 private:
  Result<std::uint64_t> Admit(std::string_view name);
  void Take(Bytes content);
  void Begin();  // everything before the records is here
  void CheckManifest(ByteView content);
  void FailArchive(std::string why) {
    state_.checks.Fail("archive", "DAMAGED", std::move(why), current_ ? std::string(kFolder) + NameOf(*current_) : "");
  }
  void Judge(Report& report) const;

  Policy policy_;
  VerifyState state_;
  UstarReader reader_;
  std::optional<Member> current_;
  std::optional<RecordsCheck> records_;
  json files_ = json::array();  // what the manifest must list
  std::size_t proofs_ = 0;
  bool manifest_seen_ = false;
};

Result<std::uint64_t> Verifier::Impl::Admit(std::string_view name) {
  if (name.starts_with('/') || name.find("..") != std::string_view::npos) {
    return Fail(Code::kInvalid, "archive: a member whose name leads elsewhere");
  }
  const auto member = name.starts_with(kFolder) ? ParseName(name.substr(kFolder.size())) : std::nullopt;
  if (!member) return Fail(Code::kInvalid, "archive: a member that has no place in a bundle");
  if (current_ && !ComesBefore(*current_, *member)) {
    return Fail(Code::kInvalid, "archive: a member twice, or not in its order: " + NameOf(*member));
  }
  // Once only, and everything that comes once, is in order by the same rule; what is missing shows in Begin().
  current_ = member;
  if (member->part == Part::kProof && ++proofs_ > kProofsMax) {
    return Fail(Code::kInvalid, "archive: too many proofs");
  }
  return BoundOf(member->part);
}

void Verifier::Impl::Begin() {
  if (records_) return;
  for (std::size_t i = 0; i < static_cast<std::size_t>(Part::kProof); ++i) {
    const auto part = static_cast<Part>(i);
    if (!state_.Has(part) && !IsOptional(part)) {
      state_.checks.Fail("archive", "DAMAGED", NameOf({part}) + " is missing", std::string(kFolder) + NameOf({part}));
    }
  }
  CheckIdentity(state_);
  CheckTpm(state_);
  records_.emplace(state_);
}

void Verifier::Impl::Take(Bytes content) {
  const Member member = *current_;
  if (member.part >= Part::kProof) Begin();
  if (member.part == Part::kManifest) {
    manifest_seen_ = true;
    return CheckManifest(content);
  }
  files_.push_back({{"name", NameOf(member)}, {"size", content.size()}, {"sha256", HexOf(Sha256Of(content))}});
  if (member.part < Part::kProof) {
    state_.members[static_cast<std::size_t>(member.part)] = std::move(content);
  } else if (member.part == Part::kProof) {
    records_->TakeProof(member.number, content);
  } else if (member.part <= Part::kEndTree) {
    records_->Take(member, std::move(content));
  } else {
    state_.facts.verify_page_sha256 = HexOf(Sha256Of(content));
  }
}

void Verifier::Impl::CheckManifest(ByteView content) {
  const json manifest = json::parse(AsText(content), nullptr, false);
  if (!manifest.is_object() || !manifest.contains("files") || !manifest["files"].is_array()) {
    return state_.checks.Fail("manifest", "DAMAGED", "not a manifest", "manifest.json");
  }
  const json& listed = manifest["files"];
  for (std::size_t i = 0; i < std::max(listed.size(), files_.size()); ++i) {
    if (i < listed.size() && i < files_.size() && listed[i] == files_[i]) continue;
    const std::string name = i < files_.size() ? files_[i]["name"].get<std::string>() : "manifest.json";
    return state_.checks.Fail("manifest", "DAMAGED", "a file is not the one the manifest lists", name);
  }
  state_.checks.Pass("manifest", std::to_string(files_.size()) + " files as listed");
}

void Verifier::Impl::Judge(Report& report) const {
  const Check* failed = nullptr;
  for (const Check& check : report.checks) {
    if (check.outcome != Outcome::kFailed) continue;
    // What cannot be told never stands before what is wrong.
    if (failed == nullptr || (failed->word == "CANNOT_TELL" && check.word != "CANNOT_TELL")) failed = &check;
  }
  if (failed != nullptr) {
    report.word = failed->word;
    report.place = failed->place;
    report.detail = failed->name + ": " + failed->detail;
    return;
  }
  for (const std::string_view name : kNeeded) {
    if (state_.checks.Passed(name)) continue;
    report.word = "CANNOT_TELL";
    report.detail = std::string(name) + " could not be checked";
    return;
  }
  const std::uint64_t tail = state_.facts.size - std::min(state_.facts.size, state_.facts.anchored_size);
  report.word = tail == 0 ? "OK" : "OK_UNANCHORED_TAIL";
  report.detail = std::to_string(state_.facts.records) + " entries proven";
  if (tail > 0) {
    report.detail += "; " + std::to_string(tail) + " entries of the log lie above its newest anchor: until the next one they " +
                     "survive a reboot on signatures alone";
  }
}

Report Verifier::Impl::Finish() {
  if (const auto ended = reader_.Finish(); !ended) FailArchive(ended.error().context);
  if (!state_.checks.Failed("archive")) {
    Begin();
    if (!manifest_seen_) FailArchive("manifest.json is missing");
  }
  if (!state_.checks.Failed("archive")) state_.checks.Pass("archive", "whole, and nothing else in it");
  if (records_) records_->Finish();
  CheckWitnesses(state_);
  CheckEpochs(state_);
  CheckSince(state_);

  Report report;
  report.checks = state_.checks.InOrder();
  if (!state_.checks.Passed("pin")) report.qualifiers.emplace_back("UNPINNED");
  if (state_.facts.software_tpm) report.qualifiers.emplace_back("SOFTWARE_TPM");
  if (state_.gap) report.qualifiers.emplace_back("GAP");
  if (state_.record) {
    for (std::string& earlier : anchor::EarlierVerdicts(*state_.record)) report.qualifiers.push_back(std::move(earlier));
  }
  report.unchecked = state_.unchecked;
  Judge(report);
  report.facts = std::move(state_.facts);
  return report;
}

Verifier::Verifier(Policy policy) : impl_(std::make_unique<Impl>(std::move(policy))) {}
Verifier::~Verifier() = default;
bool Verifier::Feed(ByteView bytes) { return impl_->Feed(bytes); }
Report Verifier::Finish() { return impl_->Finish(); }

Report VerifyBundle(ByteView archive, const Policy& policy) {
  Verifier verifier(policy);
  (void)verifier.Feed(archive);  // what is wrong is in the report
  return verifier.Finish();
}

}  // namespace stele::evidence
