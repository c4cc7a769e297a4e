#include "netfilter/guard/service.h"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "appliance/base/system.h"
#include "appliance/base/text.h"
#include "appliance/channel/control.h"
#include "netfilter/compile.h"
#include "netfilter/matrix.h"
#include "netfilter/policy_text.h"

namespace stele::guard {
namespace {

using nlohmann::json;
using record::Kind;
using Care = LogLink::Care;

constexpr std::int64_t kNsPerMs = 1'000'000;
constexpr std::int64_t kNsPerSecond = 1'000'000'000;
constexpr std::int64_t kEntryNs = 5 * kNsPerSecond;    // until the log must have answered
constexpr std::int64_t kClientNs = 30 * kNsPerSecond;  // until a client must have asked
constexpr std::int64_t kLookMinNs = 200 * kNsPerMs;    // between two looks at the rules
constexpr std::int64_t kLookMaxNs = 1 * kNsPerSecond;  // a drift is found within two seconds
constexpr std::int64_t kLookCostFactor = 5;  // of what a look took: a fifth of a processor, more beyond 200 ms
constexpr std::int64_t kFailedRestoreNs = 2 * kNsPerSecond;
constexpr std::int64_t kCountNs = 5 * kNsPerSecond;
constexpr std::int64_t kCountCostFactor = 100;
constexpr std::int64_t kStatusNs = 500 * kNsPerMs;
constexpr std::size_t kSuspectsMax = 64;
constexpr std::size_t kDropsTold = 256;
constexpr std::size_t kPasswdBytesMax = 1 * limits::kMiB;
constexpr std::size_t kUnappliedClauses = 16;

std::string Dump(const json& object) { return object.dump(-1, ' ', false, json::error_handler_t::replace); }

std::string TextIn(const json& object, const char* name) {
  const auto at = object.find(name);
  return at != object.end() && at->is_string() ? at->get<std::string>() : std::string();
}

std::vector<std::string> TextsIn(const json& object, const char* name) {
  std::vector<std::string> out;
  const auto list = object.find(name);
  if (list == object.end() || !list->is_array()) return out;
  for (const json& one : *list) {
    if (one.is_string()) out.push_back(one.get<std::string>());
  }
  return out;
}

// "alice (uid 1000)"; a number that /etc/passwd does not know stands alone.
std::string UserText(uid_t uid) {
  const std::string number = std::to_string(uid);
  const auto passwd = ReadFile("/etc/passwd", kPasswdBytesMax);
  std::string_view rest = passwd ? AsText(*passwd) : std::string_view();
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    const std::size_t name = line.find(':');
    const std::size_t id = name == std::string_view::npos ? name : line.find(':', name + 1);
    if (id == std::string_view::npos) continue;
    if (line.substr(id + 1).starts_with(number + ":"))
      return std::string(line.substr(0, name)) + " (uid " + number + ")";
  }
  return "uid " + number;
}

Result<std::string> RulesetOf(const std::string& policy_text) {
  STELE_TRY(const netfilter::Policy policy, netfilter::ParsePolicyText(policy_text));
  return netfilter::CompilePolicy(policy);
}

std::string OwnName() {
  std::array<char, 17> name{};
  (void)::prctl(PR_GET_NAME, name.data(), 0, 0, 0);  // cannot fail
  return name.data();
}

}  // namespace

Result<Settings> ParseSettings(const std::string& configuration_json) {
  const json object = json::parse(configuration_json, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return Fail(Code::kInvalid, "the configuration is not a JSON object");
  Settings settings;
  settings.dir = TextIn(object, "dir");
  settings.rules.log_id = TextIn(object, "log_id");
  settings.rules.restore = object.value("restore", json(false)) == json(true);
  settings.configured = TextIn(object, "policy");
  settings.applies_at_start = TextIn(object, "at_start") == "apply";
  if (const auto number = object.find("approvals"); number != object.end() && number->is_number_unsigned())
    settings.rules.approvals = number->get<std::size_t>();
  for (const json& one : object.value("approvers", json::array())) {
    netfilter::Approver approver{one.is_object() ? TextIn(one, "name") : std::string(), {}};
    const auto key = one.is_object() ? ParseHash(TextIn(one, "public_key")) : std::nullopt;
    if (!key || !netfilter::IsApproverName(approver.name)) return Fail(Code::kInvalid, "an approver is none");
    approver.public_key = *key;
    settings.rules.approvers.push_back(std::move(approver));
  }
  if (settings.dir.empty()) return Fail(Code::kInvalid, "the configuration needs dir");
  if (settings.rules.approvals > settings.rules.approvers.size())
    return Fail(Code::kInvalid, "more approvals are wanted than there are approvers");
  return settings;
}

Result<void> ApplyKept(const Settings& settings, Places& places) {
  const KeptPolicy kept(settings.dir);
  STELE_TRY(const auto policy, kept.Load());
  if (!policy) return {};
  STELE_TRY(const std::string ruleset, RulesetOf(policy->text));
  STELE_TRY(const auto changes, places.ChangesFrom(ruleset));
  if (!changes.empty()) STELE_TRY_VOID(kept.StoreFound(changes));
  return places.Apply(ruleset, ruleset);
}

Service::Service(Settings settings, Places places, UniqueFd control, std::string report_json, Clock& clock,
                 Entropy& entropy)
    : settings_(std::move(settings)),
      places_(std::move(places)),
      control_(std::move(control)),
      report_json_(std::move(report_json)),
      clock_(clock),
      entropy_(entropy),
      kept_(settings_.dir),
      log_(clock_, entropy_),
      own_name_(OwnName()),
      tracker_(settings_.rules.restore) {}

Result<void> Service::Run() {
  STELE_TRY_VOID(Begin());
  while (!stopping_) {
    STELE_TRY_VOID(Tick());
    STELE_TRY_VOID(Poll());
  }
  return {};
}

Result<void> Service::Begin() {
  STELE_TRY(auto kept, kept_.Load());
  return kept ? BeginWithKept(std::move(*kept)) : BeginFirst();
}

Result<void> Service::BeginWithKept(InForce kept) {
  STELE_TRY(ruleset_, RulesetOf(kept.text));
  in_force_ = std::move(kept);
  STELE_TRY(const auto unfinished, kept_.LoadPending());
  if (unfinished) {
    STELE_TRY_VOID(places_.Apply(ruleset_, ruleset_));
    STELE_TRY_VOID(kept_.DropPending());
    (void)log_.Append(Kind::kPolicy, FailedPayload(unfinished->digest, "the guard ended before it was in place"),
                      Care::kUntilWritten);
  }
  STELE_TRY_VOID(ReadChanges(/*own=*/true));
  if (const auto found = kept_.LoadFound(); !found.empty()) {  // put right before anything listened
    const std::string text = "while the appliance was stopped the rules were changed: " + found.front();
    found_entry_ = log_.Append(Kind::kAlarm,
                               Dump({{"alarm", "policy_drift"},
                                     {"text", text},
                                     {"differences", BoundedClauses(found)},
                                     {"program", ""},
                                     {"process", 0},
                                     {"count", 1}}),
                               Care::kUntilWritten);
    Alarm(Dump({{"alarm", "policy_restored"},
                {"text", "the rules of the policy in force are back"},
                {"program", ""},
                {"process", 0}}));
  }
  (void)log_.Append(Kind::kPolicy, AppliedPayload(in_force_.digest, /*at_start=*/true), Care::kUntilWritten);
  next_look_ns_ = 0;
  look_due_ = true;  // also what happened while nobody watched
  return SayReady();
}

Result<void> Service::BeginFirst() {
  first_again_ns_ = clock_.BoottimeNs() + kNsPerSecond;
  Wish wish;
  wish.policy = settings_.configured;
  wish.who = "stele up";
  wish.why = "the first policy of this log, from stele.toml";
  Verdict verdict = Judge(wish, in_force_, settings_.rules, clock_.WallNs(), /*approvals_needed=*/false);
  if (!verdict.change) return Fail(Code::kDenied, "the policy of stele.toml is refused: " + verdict.reasons.front());
  StartChange(0, std::move(verdict));
  return {};
}

Result<void> Service::SayReady() {
  ready_ = true;
  STELE_TRY_VOID(channel::SendReady(control_.get(), report_json_));
  if (!ApplyConfigured()) CompareConfigured();
  return {};
}

// Where nobody can say `stele policy apply`, a start says it. False: nothing is under way.
bool Service::ApplyConfigured() {
  if (start_is_done_) return false;
  start_is_done_ = !settings_.applies_at_start || settings_.configured.empty() ||
                   netfilter::PolicyDigest(settings_.configured) == in_force_.digest;
  if (start_is_done_) return false;
  first_again_ns_ = clock_.BoottimeNs() + kNsPerSecond;
  Wish wish;
  wish.policy = settings_.configured;
  wish.who = "stele up";
  wish.why = "stele.toml is another at this start";
  Verdict verdict = Judge(wish, in_force_, settings_.rules, clock_.WallNs());
  if (!verdict.change) {
    LogWarning("the policy of stele.toml is not applied: " + verdict.reasons.front());
    start_is_done_ = true;
    return false;
  }
  StartChange(0, std::move(verdict));
  return true;
}

int Service::WaitMs() const {
  const std::int64_t now = clock_.BoottimeNs();
  std::int64_t until = now + kNsPerSecond;
  if (look_due_) until = std::min(until, next_look_ns_);
  if (pending_) until = std::min(until, pending_->deadline_ns);
  until = std::min(until, std::max(next_status_ns_, now + kStatusNs));
  return static_cast<int>(std::max<std::int64_t>(0, until - now) / kNsPerMs + 1);
}

Result<void> Service::Tick() {
  STELE_TRY_VOID(HandleOutcomes());
  const std::int64_t now = clock_.BoottimeNs();
  if (pending_ && now >= pending_->deadline_ns) GiveUp("the log did not take the entry in time", /*unknown=*/true);
  if (!ready_ && !pending_ && now >= first_again_ns_) STELE_TRY_VOID(BeginFirst());
  if (ready_ && !pending_ && !start_is_done_ && now >= first_again_ns_ && !ApplyConfigured()) CompareConfigured();
  // While a start applies stele.toml its rules may be there already, loaded before any address: that is no drift.
  const bool start_applies = pending_ && !start_is_done_;
  if (look_due_ && now >= next_look_ns_ && !start_applies) Look();
  Alarm(tracker_.Tick(now));
  for (auto at = clients_.begin(); at != clients_.end();) {
    const bool idle = !at->second.asked && now - at->second.since_ns > kClientNs;
    at = idle ? clients_.erase(at) : std::next(at);
  }
  if (now >= next_status_ns_) TellStatus();
  return {};
}

Result<void> Service::Poll() {
  std::vector<pollfd> fds{{control_.get(), POLLIN, 0}, {listener_.get(), POLLIN, 0}};
  fds.push_back({log_.fd(), static_cast<short>(POLLIN | (log_.wants_to_send() ? POLLOUT : 0)), 0});
  const std::size_t first_watch = fds.size();
  for (const int fd : places_.watched()) fds.push_back({fd, POLLIN, 0});
  const std::size_t first_client = fds.size();
  std::vector<std::uint64_t> ids;
  for (const auto& [id, client] : clients_) {
    ids.push_back(id);
    fds.push_back({client.fd.get(), POLLIN, 0});
  }
  if (::poll(fds.data(), fds.size(), WaitMs()) < 0 && errno != EINTR) return FailErrno("poll");
  if (fds[0].revents != 0 && !ReadControl()) stopping_ = true;
  if (fds[1].revents != 0) Accept();
  const bool changed = std::any_of(fds.begin() + static_cast<std::ptrdiff_t>(first_watch),
                                   fds.begin() + static_cast<std::ptrdiff_t>(first_client),
                                   [](const pollfd& one) { return one.revents != 0; });
  if (changed) STELE_TRY_VOID(ReadChanges(/*own=*/false));
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (fds[first_client + i].revents != 0) ReadClient(ids[i]);
  }
  return {};
}

// False: finish.
bool Service::ReadControl() {
  for (;;) {
    auto frame = channel::Receive(control_.get(), /*wait=*/false, /*with_descriptors=*/true);
    if (!frame) return frame.error().code == Code::kUnavailable;
    if (frame->type == channel::Type::kStop) return false;
    if (frame->type == channel::Type::kConfigurePart) coming_configuration_ += AsText(frame->body);
    if (frame->type == channel::Type::kConfigure) {
      const auto fresh = ParseSettings(std::exchange(coming_configuration_, {}) + std::string(AsText(frame->body)));
      if (!fresh) {
        LogWarning("a configuration was not understood: " + Describe(fresh.error()));
        continue;
      }
      settings_.configured = fresh->configured;  // the rest takes effect at the next start
      CompareConfigured();
    }
    if (frame->type != channel::Type::kTakeChannel || frame->descriptors.size() != 1) continue;
    const auto what = channel::DecodeTakeChannel(frame->body);
    if (what && what->role == "ledger") UseLedger(std::move(frame->descriptors.front()));
  }
}

Result<void> Service::HandleOutcomes() {
  for (const LogLink::Outcome& outcome : log_.Pump()) {
    if (outcome.id == found_entry_ && outcome.written) kept_.DropFound();
    if (!pending_ || outcome.id != pending_->entry_id) continue;
    if (outcome.written) {
      STELE_TRY_VOID(Carry(outcome.sequence));
    } else {
      GiveUp("the entry could not be written into the log: " + outcome.reason, outcome.unknown);
    }
  }
  return {};
}

void Service::Alarm(const std::string& payload) {
  if (!payload.empty()) (void)log_.Append(Kind::kAlarm, payload, Care::kUntilWritten);
}

// A stele.toml that was changed by hand: said, not applied.
void Service::CompareConfigured() {
  if (!ready_ || settings_.configured.empty()) return;
  const std::string digest = netfilter::PolicyDigest(settings_.configured);
  if (digest == in_force_.digest) unapplied_told_.clear();
  if (digest == in_force_.digest || digest == unapplied_told_) return;
  unapplied_told_ = digest;
  const auto older = netfilter::ParsePolicyText(in_force_.text);
  const auto newer = netfilter::ParsePolicyText(settings_.configured);
  if (!older || !newer) return;
  std::vector<std::string> diff = BoundedClauses(netfilter::DiffTexts(netfilter::DiffOf(*older, *newer)));
  if (diff.size() > kUnappliedClauses) diff.resize(kUnappliedClauses);
  Alarm(Dump({{"alarm", "policy_unapplied"},
              {"text", "the zones of stele.toml are not those of the policy in force, which stays: stele policy apply"},
              {"digest", digest},
              {"diff", diff}}));
}

void Service::TellStatus() {
  const std::int64_t now = clock_.BoottimeNs();
  next_status_ns_ = now + kStatusNs;
  if (ready_ && now >= next_count_ns_) {
    if (const auto counts = places_.CountDrops()) {
      drops_ = json::array();
      for (const auto& [what, packets] : *counts) {
        if (packets == 0 || drops_.size() == kDropsTold) continue;
        drops_.push_back({{"zone", what.first}, {"reason", what.second}, {"packets", packets}});
      }
    }
    const std::int64_t cost = clock_.BoottimeNs() - now;
    next_count_ns_ = now + std::max(kCountNs, kCountCostFactor * cost);
  }
  json approvers = json::array();
  for (const netfilter::Approver& one : settings_.rules.approvers) approvers.push_back(one.name);
  json detail = {{"state", ready_ ? "in_force" : "none"},
                 {"digest", in_force_.digest},
                 {"entry", in_force_.entry},
                 {"since", in_force_.since_ns == 0 ? "" : FormatTime(in_force_.since_ns)},
                 {"since_s", in_force_.since_ns / kNsPerSecond},
                 {"who", in_force_.who},
                 {"restore", settings_.rules.restore},
                 {"approvals", settings_.rules.approvals},
                 {"approvers", std::move(approvers)},
                 {"drift", tracker_.Status()},
                 {"configured", unapplied_told_.empty() ? "in_force" : "differs"},
                 {"namespaces", places_.names().size()},
                 {"drops", drops_}};
  if (!last_change_.is_null()) detail["last_change"] = last_change_;
  const std::string text = Dump({{"event", "policy"}, {"detail", std::move(detail)}});
  if (text == status_told_) return;
  if (channel::Send(control_.get(), channel::Type::kNotice, AsBytes(text))) status_told_ = text;
}

void Service::Accept() {
  UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!fd.valid()) return;
  ucred peer{};
  socklen_t size = sizeof peer;
  const timeval limit{2, 0};  // a client that does not take its answer
  const bool good = ::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
                    ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) == 0;
  if (!good || clients_.size() >= limits::kPolicyClients || (peer.uid != 0 && peer.uid != ::geteuid())) return;
  Client client;
  client.fd = std::move(fd);
  client.who = UserText(peer.uid);
  client.since_ns = clock_.BoottimeNs();
  clients_.emplace(next_client_++, std::move(client));
}

void Service::ReadClient(std::uint64_t id) {
  Client& client = clients_.at(id);
  for (;;) {
    const auto frame = channel::Receive(client.fd.get(), /*wait=*/false);
    if (!frame && frame.error().code == Code::kUnavailable) return;
    const auto whole =
        frame && !client.asked ? client.message.Take(*frame) : Result<bool>(Fail(Code::kInvalid, "more"));
    if (!whole) {  // left, or talks nonsense; a change that it asked for goes on
      clients_.erase(id);
      return;
    }
    if (!*whole) continue;
    client.asked = true;
    const json request = json::parse(client.message.text(), nullptr, /*allow_exceptions=*/false);
    const std::string op = request.is_object() ? TextIn(request, "op") : "";
    if (op == "show") return Show(id);
    if (op == "apply") return Apply(id, request);
    return Answer(id, {{"result", "refused"}, {"reasons", {"a request that is none"}}});
  }
}

void Service::Answer(std::uint64_t id, const json& answer) {
  const auto at = clients_.find(id);
  if (at == clients_.end()) return;
  const auto sent =
      channel::SendLong(at->second.fd.get(), channel::kPolicyAnswerPart, channel::kPolicyAnswer, Dump(answer));
  if (!sent) LogWarning("a client did not take its answer: " + Describe(sent.error()));
  clients_.erase(at);
}

void Service::Show(std::uint64_t id) {
  Answer(id, {{"result", in_force_.text.empty() ? "none" : "in_force"},
              {"log", settings_.rules.log_id},
              {"digest", in_force_.digest},
              {"entry", in_force_.entry},
              {"since_ns", in_force_.since_ns},
              {"who", in_force_.who},
              {"approvals", settings_.rules.approvals},
              {"policy", in_force_.text}});
}

void Service::Apply(std::uint64_t id, const json& request) {
  const auto cannot = [&](const char* why) { Answer(id, {{"result", "cannot"}, {"reasons", {why}}}); };
  if (!ready_) return cannot("the first policy is not in force yet");
  if (pending_) return cannot("another change is under way");
  Wish wish;
  wish.policy = TextIn(request, "policy");
  wish.why = ToUtf8(AsBytes(TextIn(request, "why")));
  wish.who = clients_.at(id).who;
  wish.force = request.value("force", json(false)) == json(true);
  wish.approvals = TextsIn(request, "approvals");
  wish.interfaces = places_.Interfaces();
  for (const std::string& text : TextsIn(request, "from")) {
    const auto address = ParseIpPrefix(text);
    if (address && address->bits == 128) wish.from.push_back(address->address);
  }
  Verdict verdict = Judge(wish, in_force_, settings_.rules, clock_.WallNs());
  if (!verdict.change) {
    return Answer(id, {{"result", verdict.wrong ? "wrong" : "refused"},
                       {"reasons", verdict.reasons},
                       {"warnings", verdict.warnings}});
  }
  if (verdict.change->after.digest == in_force_.digest) {
    const auto differences = places_.DifferencesFrom(ruleset_);
    if (differences && differences->empty())
      return Answer(id, {{"result", "unchanged"}, {"digest", in_force_.digest}, {"entry", in_force_.entry}});
  }
  StartChange(id, std::move(verdict));
}

void Service::StartChange(std::uint64_t client, Verdict verdict) {
  Pending pending;
  pending.change = std::move(*verdict.change);
  pending.warnings = std::move(verdict.warnings);
  pending.client = client;
  pending.deadline_ns = clock_.BoottimeNs() + kEntryNs;
  pending.entry_id = log_.Append(Kind::kPolicy, pending.change.payload, Care::kOnce);
  pending_ = std::move(pending);
}

// The entry is durable: now the kernel.
Result<void> Service::Carry(std::uint64_t sequence) {
  InForce after = pending_->change.after;
  after.entry = sequence;
  after.since_ns = clock_.WallNs();
  auto done = kept_.StorePending(after);
  if (done) done = places_.Apply(pending_->change.ruleset, ruleset_);
  if (done) {
    done = kept_.TakePending();
    if (!done) {  // it would not survive a restart
      const auto back = ruleset_.empty() ? Result<void>() : places_.Apply(ruleset_, ruleset_);
      if (!back) LogError("the old rules could not be put back: " + Describe(back.error()));
    }
  }
  STELE_TRY_VOID(ReadChanges(/*own=*/true));
  if (done) return Carried(after);
  const Pending failed = std::move(*pending_);
  pending_.reset();
  (void)kept_.DropPending();  // found at the next start otherwise, and dropped then
  const std::string why = done.error().context;
  LogError("a policy was not applied: " + why);
  (void)log_.Append(Kind::kPolicy, FailedPayload(after.digest, why), Care::kUntilWritten);
  last_change_ = {{"result", "failed"},
                  {"digest", after.digest},
                  {"entry", sequence},
                  {"text", why},
                  {"time", FormatTime(after.since_ns)}};
  Answer(failed.client, {{"result", "failed"},
                         {"digest", after.digest},
                         {"entry", sequence},
                         {"reasons", {why}},
                         {"warnings", failed.warnings}});
  start_is_done_ = true;
  if (!ready_) return Fail(Code::kUnavailable, "the first policy cannot be applied: " + why);
  return {};
}

Result<void> Service::Carried(const InForce& after) {
  const Pending carried = std::move(*pending_);
  pending_.reset();
  in_force_ = after;
  ruleset_ = carried.change.ruleset;
  tracker_.Forget();
  (void)log_.Append(Kind::kPolicy, AppliedPayload(after.digest, /*at_start=*/false), Care::kUntilWritten);
  last_change_ = {{"result", "applied"},
                  {"digest", after.digest},
                  {"entry", after.entry},
                  {"text", ""},
                  {"time", FormatTime(after.since_ns)}};
  next_count_ns_ = 0;
  Answer(carried.client, {{"result", "applied"},
                          {"digest", after.digest},
                          {"entry", after.entry},
                          {"diff", carried.change.diff},
                          {"warnings", carried.warnings}});
  if (!ready_) return SayReady();
  CompareConfigured();
  return {};
}

// Nothing was applied. Where the entry may be in the log all the same, another one says so.
void Service::GiveUp(const std::string& reason, bool unknown) {
  const Pending given_up = std::move(*pending_);
  pending_.reset();
  const std::string& digest = given_up.change.after.digest;
  if (unknown)
    (void)log_.Append(Kind::kPolicy, FailedPayload(digest, reason + "; nothing was applied"), Care::kUntilWritten);
  LogWarning("a change of the policy was given up: " + reason);
  last_change_ = {{"result", "cannot"}, {"digest", digest}, {"text", reason}, {"time", FormatTime(clock_.WallNs())}};
  Answer(given_up.client, {{"result", "cannot"}, {"digest", digest}, {"reasons", {reason + "; nothing was applied"}}});
}

// `own`: we have just changed rules ourselves, and looked at them since; what others did meanwhile is looked at again.
Result<void> Service::ReadChanges(bool own) {
  STELE_TRY(const auto changes, places_.ReadChanges());
  for (const netfilter::RulesChange& change : changes) {
    if (own && change.program == own_name_) continue;
    look_due_ = true;
    if (suspects_.size() == kSuspectsMax) suspects_.erase(suspects_.begin());
    suspects_.push_back(change);
  }
  return {};
}

void Service::Look() {
  if (ruleset_.empty()) {
    look_due_ = false;
    return;
  }
  const std::int64_t now = clock_.BoottimeNs();
  const auto differences = places_.DifferencesFrom(ruleset_);
  const auto foreign = places_.ForeignTables();
  const std::int64_t cost = clock_.BoottimeNs() - now;
  next_look_ns_ = now + std::clamp(kLookCostFactor * cost, kLookMinNs, kLookMaxNs);
  if (!differences || !foreign) {
    LogWarning("the rules cannot be read: " + Describe(differences ? foreign.error() : differences.error()));
    next_look_ns_ = now + kLookMaxNs;
    return;
  }
  look_due_ = false;
  Observe({*differences, *foreign, std::exchange(suspects_, {})});
}

void Service::Observe(const guard::Look& look) {
  const std::int64_t now = clock_.BoottimeNs();
  const DriftTracker::Outcome outcome = tracker_.Observe(look, now);
  for (const std::string& alarm : outcome.alarms) Alarm(alarm);
  if (!outcome.restore) return;
  const auto restored = places_.Apply(ruleset_, ruleset_);
  if (const auto read = ReadChanges(/*own=*/true); !read) LogWarning(Describe(read.error()));
  failed_restores_ = restored ? 0 : failed_restores_ + 1;
  if (failed_restores_ != 1) Alarm(tracker_.Restored(restored ? "" : restored.error().context, now));
  if (restored) return;
  look_due_ = true;  // the first time it may be that somebody was quicker
  if (failed_restores_ > 1) next_look_ns_ = now + kFailedRestoreNs;
}

}  // namespace stele::guard
