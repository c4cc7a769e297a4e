#include "appliance/query/service.h"

#include <algorithm>
#include <array>
#include <limits>

#include "appliance/base/limits.h"
#include "appliance/channel/attest_messages.h"
#include "appliance/query/metrics.h"
#include "appliance/query/parameters.h"

namespace stele::query {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kPrefix = "/api/v1/";
constexpr std::string_view kTreePrefix = "/log/";
constexpr std::string_view kMetricsPath = "/metrics";
constexpr std::string_view kFeedPrefix = "/api/v1/feed/";  // stele-courier's alone
constexpr std::size_t kBodyPartBytes = 60 * limits::kKiB;
constexpr std::size_t kObjectBytesMax = 512;
constexpr std::uint64_t kSequenceMax = (std::uint64_t{1} << 53U) - 1;
static_assert(kBodyPartBytes + 64 <= limits::kChannelFrameBytes);

struct Plain {
  std::string_view name;
  Call call;
  bool heavy;
};
constexpr std::array<Plain, 10> kPlainCalls = {{{"status", Call::kStatus, false},
                                               {"search", Call::kSearch, true},
                                               {"histogram", Call::kHistogram, true},
                                               {"tail", Call::kTail, false},
                                               {"integrity", Call::kIntegrity, false},
                                               {"consistency", Call::kConsistency, false},
                                               {"sources", Call::kSources, true},
                                               {"network", Call::kNetwork, true},
                                               {"attest", Call::kAttest, false},
                                               {"bundle", Call::kBundle, true}}};

Json NumberOrNull(const std::string& text) {
  const Json number = text.empty() ? Json(nullptr) : Json::parse(text, nullptr, /*allow_exceptions=*/false);
  return number.is_discarded() ? Json(nullptr) : number;
}

}  // namespace

Service::Service(ServiceConfig config, Clock& clock, Entropy& entropy, Workers& workers, Outlet& outlet, UserBook users,
                 std::string unknown_user_hash)
    : config_(std::move(config)),
      clock_(clock),
      entropy_(entropy),
      workers_(workers),
      outlet_(outlet),
      users_(std::move(users)),
      unknown_user_hash_(std::move(unknown_user_hash)),
      sessions_(entropy) {}

std::string Service::TakeNotice() { return std::exchange(notice_, {}); }

std::optional<Service::Caller> Service::Authenticate(const Front& front, const channel::ApiRequest& request) {
  Caller caller;
  if (front.local_uid) {
    if (*front.local_uid != config_.owner_uid) return std::nullopt;
    caller.peer = "uid:" + std::to_string(*front.local_uid);
    caller.identity = Identity{"local-operator", Role::kLocalOperator, "socket", {}};
    return caller;
  }
  caller.peer = request.peer.substr(0, 64);
  if (caller.peer.starts_with("uid:")) caller.peer = "-";  // only the kernel's word makes a local caller
  if (const auto read = users_.Refresh(); !read) notice_ = Describe(read.error());
  if (!request.certificate_sha256.empty()) {
    if (auto identity = users_.FindCertificate(request.certificate_sha256)) {
      caller.identity = std::move(*identity);
      caller.certificate_sha256 = request.certificate_sha256;
      return caller;
    }
  }
  auto identity = sessions_.Find(request.session_token, clock_.BoottimeNs());
  if (!identity) return std::nullopt;
  const User* user = users_.FindUser(identity->user);
  if (user == nullptr || user->role != identity->role || user->sources != identity->sources) {
    sessions_.CloseUser(identity->user);  // removed or changed since: sign in again
    return std::nullopt;
  }
  caller.identity = std::move(*identity);
  caller.session = Sha256Of(AsBytes(request.session_token));
  return caller;
}

// Fills what the path says; an answer when there is no such call.
std::optional<Answer> Service::Route(const channel::ApiRequest& request, Request& out) const {
  out.object = request.path.substr(0, kObjectBytesMax);
  out.head = request.method == "HEAD";
  out.read.parameters = request.query;
  std::string_view path = request.path;
  if (path.starts_with(kTreePrefix) && (request.method == "GET" || out.head)) return RouteTree(path.substr(kTreePrefix.size()), out);
  if (path == kMetricsPath && (request.method == "GET" || out.head)) {
    out.action = "metrics";
    out.read.call = Call::kMetrics;
    out.unrecorded = true;  // numbers about the appliance, many times an hour: nobody reads any record
    return std::nullopt;
  }
  if (!path.starts_with(kPrefix)) return Refusal(404, "not_found", "there is no such call");
  path.remove_prefix(kPrefix.size());
  if (request.method != "GET" && request.method != "HEAD") return Refusal(405, "method_not_allowed", "only GET and HEAD");
  for (const Plain& plain : kPlainCalls) {
    if (path != plain.name) continue;
    out.action = plain.name;
    out.read.call = plain.call;
    out.heavy = plain.heavy;
    return std::nullopt;
  }
  const bool proof = path.starts_with("proof/");
  if (!proof && !path.starts_with("record/")) return Refusal(404, "not_found", "there is no such call");
  path.remove_prefix(path.find('/') + 1);
  const std::size_t slash = path.find('/');
  const auto sequence = ParseUnsigned(path.substr(0, slash), kSequenceMax);
  const std::string_view rest = slash == std::string_view::npos ? std::string_view{} : path.substr(slash + 1);
  if (!sequence || (slash != std::string_view::npos && (proof || (rest != "payload" && rest != "context")))) {
    return Refusal(404, "not_found", "there is no such record");
  }
  out.read.sequence = *sequence;
  out.read.call = proof ? Call::kProof : rest == "payload" ? Call::kPayload : rest == "context" ? Call::kContext : Call::kRecord;
  out.action = proof ? "proof" : rest.empty() ? "record" : std::string(rest);
  out.heavy = out.read.call == Call::kContext;
  return std::nullopt;
}

std::optional<Answer> Service::RouteTree(std::string_view path, Request& out) const {
  out.action = "tree";
  if (path == "checkpoint") {
    out.read.call = Call::kTreeHead;
    if (out.caller.identity.role == Role::kLocalOperator && out.read.parameters.contains("newest")) out.read.as_signed = true;
    return std::nullopt;
  }
  const auto tile = ledger::ParseTilePath(path);
  if (!tile) return Refusal(404, "not_found", "the tree has no such path");
  out.read.call = Call::kTile;
  out.read.tile = *tile;
  return std::nullopt;
}

// Hashes for who may ask for proofs, or for everybody; headers only where the configuration says so, and then never for who
// may see some sources only.
bool Service::MayFetchTree(const Request& request) const {
  const Identity& identity = request.caller.identity;
  if (identity.role == Role::kLocalOperator) return true;
  const bool anyone = config_.tree.serve == TreeServe::kAnyone;
  if (config_.tree.serve == TreeServe::kOff || (!anyone && !Allows(identity.role, Permission::kProof))) return false;
  return !request.read.tile.entries || (config_.tree.entries && (anyone || ScopeOf(identity).sources_all));
}

std::optional<Answer> Service::Forbidden(const Request& request) const {
  const Role role = request.caller.identity.role;
  switch (request.read.call) {
    case Call::kMetrics: return std::nullopt;
    case Call::kStatus:
    case Call::kIntegrity:
    case Call::kConsistency:
    case Call::kSources:
    case Call::kNetwork:
      if (role == Role::kMetrics) break;
      return std::nullopt;
    case Call::kProof:
      if (!Allows(role, Permission::kProof)) break;
      return std::nullopt;
    case Call::kAttest:
    case Call::kBundle:
      if (!Allows(role, Permission::kBundle)) break;
      return std::nullopt;
    case Call::kTreeHead:
    case Call::kTile:
      if (!MayFetchTree(request)) break;
      return std::nullopt;
    default:
      // Who may not search may still look at all access entries: the scope leaves nothing else.
      if (!Allows(role, Permission::kSearch) && !Allows(role, Permission::kAccessAll)) break;
      return std::nullopt;
  }
  return Refusal(403, "forbidden", "the role " + std::string(RoleName(role)) + " does not allow this");
}

bool Service::TakeToken(const Identity& identity, bool tree) {
  if (identity.role == Role::kLocalOperator) return true;
  const std::int64_t now_ns = clock_.BoottimeNs();
  const double burst = tree ? kTreeBurst : kRequestsBurst;
  const double per_second = tree ? kTreePerSecond : kRequestsPerSecond;
  const auto [at, fresh] = buckets_.try_emplace(identity.user + (tree ? "/tree" : ""), Bucket{burst, now_ns});
  Bucket& bucket = at->second;
  constexpr double kNsPerSecond = 1e9;
  bucket.tokens = std::min(burst, bucket.tokens + static_cast<double>(now_ns - bucket.filled_ns) / kNsPerSecond * per_second);
  bucket.filled_ns = now_ns;
  if (bucket.tokens < 1) return false;
  bucket.tokens -= 1;
  return true;
}

void Service::OnRequest(const Front& front, channel::ApiRequest request) {
  const Key key{front.id, request.id};
  if (requests_.contains(key) || tails_.contains(key) || bundles_.contains(key)) return;  // an id that is open: the front is confused, the first one wins
  if (finishing_) return Respond(key, Refusal(503, "unavailable", "stopping"), false);
  if (requests_.size() >= kOpenRequestsMax || outlet_.QueuedBytes(front.id) > kAnswersQueuedBytesMax) {
    return Respond(key, Refusal(429, "too_many", "too many open requests"), false);
  }
  if (request.path == "/api/v1/sign-in") return SignIn(key, front, request);
  if (request.path == "/api/v1/sign-out") return SignOut(key, front, request);
  if (request.path == "/api/v1/session") return Session(key, front, request);
  if (front.courier) return StartCourier(key, request);
  const bool tree = request.path.starts_with(kTreePrefix);
  auto caller = Authenticate(front, request);
  if (!caller && tree && config_.tree.serve == TreeServe::kAnyone) {
    caller = Caller{Identity{"anyone", Role::kViewer, "none", {}}, request.peer.substr(0, 64), std::nullopt, {}};
  }
  if (!caller) return Respond(key, Refusal(401, "unauthorized", "sign in, or use a known client certificate"), request.method == "HEAD");
  Request open;
  open.caller = std::move(*caller);
  open.number = next_number_++;
  if (const auto nothing = Route(request, open)) return Respond(key, *nothing, open.head);
  if (!TakeToken(open.caller.identity, tree)) return Respond(key, Refusal(429, "too_many", "too many requests; wait a moment"), open.head);
  if (const auto forbidden = Forbidden(open)) {
    Record(open, *forbidden, open.action, "denied", [](bool) {});  // nothing is shown either way
    return Respond(key, *forbidden, open.head);
  }
  open.read.scope = ScopeOf(open.caller.identity);
  if (open.read.call == Call::kNetwork) open.read.network_json = network_json_;
  open.cancelled = std::make_shared<std::atomic<bool>>(false);
  if (open.read.call == Call::kTail) {
    const auto last_event = request.headers.find("last-event-id");
    if (last_event != request.headers.end()) open.read.parameters["after"] = last_event->second;
    return StartTail(key, std::move(open));
  }
  if (open.read.call == Call::kAttest || open.read.call == Call::kBundle) return StartAttest(key, std::move(open));
  StartRead(key, std::move(open));
}

// stele-courier needs the newest checkpoint and consistency proofs for the witnesses: hashes, which leave the box anyway.
// And what the flows of stele.toml carry: an answer with records of sources is a read like any other (Complete); Stele's
// own words go unrecorded, for an alarm about a full disk must still leave.
void Service::StartCourier(const Key& key, const channel::ApiRequest& request) {
  Request open;
  open.number = next_number_++;
  open.unrecorded = true;
  open.read.as_signed = true;
  open.cancelled = std::make_shared<std::atomic<bool>>(false);
  if (request.method == "GET" && request.path.starts_with(kFeedPrefix)) {
    open.object = request.path.substr(0, kObjectBytesMax);
    open.action = "feed";
    open.caller = Caller{Identity{"stele-courier", Role::kViewer, "flow", {}}, "-", std::nullopt, {}};
    open.read.call = Call::kFeed;
    open.read.feed = request.path.substr(kFeedPrefix.size());
    open.read.parameters = request.query;
    return StartRead(key, std::move(open));
  }
  auto nothing = Route(request, open);
  if (!nothing && open.read.call != Call::kTreeHead && open.read.call != Call::kConsistency) {
    nothing = Refusal(403, "forbidden", "not for stele-courier");
  }
  if (nothing) return Respond(key, *nothing, open.head);
  StartRead(key, std::move(open));
}

void Service::StartRead(const Key& key, Request request) {
  if (request.heavy) {
    const auto same = [&request](const auto& entry) {
      return entry.second.heavy && entry.second.caller.identity.user == request.caller.identity.user;
    };
    if (static_cast<std::size_t>(std::count_if(requests_.begin(), requests_.end(), same)) >= kHeavyPerUser) {
      return Respond(key, Refusal(429, "too_many", "too many searches at once"), request.head);
    }
  }
  const Call call = request.read.call;
  requests_.emplace(key, std::move(request));
  if (call == Call::kStatus || call == Call::kMetrics || call == Call::kIntegrity || call == Call::kSources || call == Call::kNetwork) {
    return StartStatus(key);
  }
  RunRead(key);
}

void Service::RunRead(const Key& key) {
  const auto at = requests_.find(key);
  if (at == requests_.end()) return;
  const Request& request = at->second;
  const bool submitted = workers_.Submit(
      request.heavy ? Lane::kHeavy : Lane::kQuick, [this, key, read = request.read, cancelled = request.cancelled](Reads* reads) {
        Answer answer = reads == nullptr ? Refusal(503, "unavailable", "the store cannot be read now") : reads->Run(read, *cancelled);
        return [this, key, cancelled, answer = std::move(answer)]() mutable {
          const auto open = requests_.find(key);
          // The id may have been given up and used again meanwhile.
          if (open != requests_.end() && open->second.cancelled == cancelled) Complete(key, std::move(answer));
        };
      });
  if (!submitted) Complete(key, Refusal(429, "too_many", "too much work is waiting"));
}

// The access entry first, then the answer.
void Service::Complete(const Key& key, Answer answer) {
  const auto at = requests_.find(key);
  if (at == requests_.end()) return;
  if (const Call call = at->second.read.call; call == Call::kTreeHead || call == Call::kTile) {
    const Identity& identity = at->second.caller.identity;
    const std::string who = identity.user + "/" + identity.via;
    if (!at->second.unrecorded && !tree_readers_.Meets(who, at->second, clock_.BoottimeNs())) {
      TreeCounts& counts = tree_readers_.CountsOf(who);
      ++(call == Call::kTreeHead ? counts.checkpoints : at->second.read.tile.entries ? counts.bundles : counts.tiles);
      counts.bytes += answer.body.size();
      at->second.unrecorded = true;  // its minute has an entry
    }
  }
  if (at->second.read.call == Call::kFeed && answer.rows > 0) at->second.unrecorded = false;
  if (at->second.unrecorded) {
    const bool head = at->second.head;
    requests_.erase(at);
    return Respond(key, answer, head);
  }
  const std::string_view result = answer.status < 400 ? "ok" : answer.status == 404 || answer.status == 403 ? "denied" : "error";
  auto kept = std::make_shared<Answer>(std::move(answer));
  at->second.recording = true;
  Record(at->second, *kept, at->second.action, result, [this, key, kept, number = at->second.number](bool recorded) {
    const auto open = requests_.find(key);
    if (open == requests_.end() || open->second.number != number) return;  // cancelled meanwhile
    const bool head = open->second.head;
    requests_.erase(open);
    Respond(key, recorded ? *kept : Refusal(503, "cannot_record", "the access entry could not be written, so nothing is shown"), head);
  });
}

void Service::Respond(const Key& key, const Answer& answer, bool head) {
  channel::ApiResponse response;
  response.id = key.second;
  response.status = answer.status;
  response.content_type = answer.content_type;
  response.headers = answer.headers;
  outlet_.ToFront(key.first, channel::Type::kApiResponse, channel::EncodeApiResponse(response));
  SendBody(key, head ? std::string_view{} : std::string_view(answer.body), true);
}

void Service::SendBody(const Key& key, std::string_view body, bool end) {
  std::size_t at = 0;
  do {
    const std::string_view part = body.substr(at, kBodyPartBytes);
    at += part.size();
    const channel::ApiBody frame{key.second, end && at >= body.size(), AsBytes(part)};
    outlet_.ToFront(key.first, channel::Type::kApiBody, channel::EncodeApiBody(frame));
  } while (at < body.size());
}

void Service::Record(const Request& request, const Answer& answer, std::string_view action, std::string_view result, Then then) {
  const Identity& identity = request.caller.identity;
  const Json entry = {{"user", identity.user},
                      {"via", identity.via},
                      {"role", RoleName(identity.role)},
                      {"peer", request.caller.peer},
                      {"action", action},
                      {"object", request.object},
                      {"query", answer.query},
                      {"from_ns", NumberOrNull(answer.from_ns)},
                      {"to_ns", NumberOrNull(answer.to_ns)},
                      {"size", answer.size != 0 ? answer.size : position_},
                      {"rows", answer.rows},
                      {"result", result},
                      {"request", request.number}};
  const std::string payload = Dump(entry);
  record::SaltKey salt_key{};
  entropy_.Fill(salt_key);
  const std::uint64_t frame_id = next_frame_++;
  builder_.Start(frame_id, salt_key);
  if (!builder_.Add(record::Kind::kAccess, 0, 0, clock_.WallNs(), record::Peer{}, AsBytes(payload))) return then(false);
  if (!outlet_.ToLedger(channel::Type::kRecords, builder_.Finish(/*wants_ack=*/true))) return then(false);
  pending_.emplace(frame_id, Pending{std::move(then), clock_.BoottimeNs() + kRecordTimeoutNs});
}

void Service::FinishPending(std::uint64_t frame_id, bool recorded) {
  const auto at = pending_.find(frame_id);
  if (at == pending_.end()) return;  // given up before
  const Then then = std::move(at->second.then);
  pending_.erase(at);
  then(recorded);
}

void Service::StartStatus(const Key& key) {
  waiting_for_status_.push_back(key);
  if (waiting_for_status_.size() > 1) return;  // one question answers all
  status_deadline_ns_ = clock_.BoottimeNs() + kStatusTimeoutNs;
  if (!outlet_.ToLedger(channel::Type::kStatusRequest, {})) StatusCame({});
}

void Service::StatusCame(const std::string& json) {
  const std::vector<Key> waiting = std::exchange(waiting_for_status_, {});
  for (const Key& key : waiting) {
    const auto at = requests_.find(key);
    if (at == requests_.end()) continue;
    if (at->second.read.call == Call::kStatus || at->second.read.call == Call::kMetrics) {
      Complete(key, StatusAnswer(json, at->second.read.call));
    } else {
      at->second.read.status_json = json;
      RunRead(key);
    }
  }
}

Answer Service::StatusAnswer(const std::string& ledger_json, Call call) const {
  Json status = Json::parse(ledger_json, nullptr, /*allow_exceptions=*/false);
  const bool silent = !status.is_object();
  if (silent) status = Json::object();
  const auto add = [&status](const char* name, Json value) {
    if (!status.contains(name)) status[name] = std::move(value);
  };
  add("version", config_.version);
  add("origin", config_.origin);
  add("size", position_);
  add("committed_size", position_);
  add("sandbox", config_.sandbox);
  status["query"] = {{"sessions", sessions_.count()}, {"tails", tails_.size()}, {"requests", requests_.size()}, {"ledger_silent", silent}};
  if (const std::string problem = workers_.problem(); !problem.empty()) status["query"]["store_problem"] = problem;
  Answer answer;
  if (call == Call::kMetrics) answer.content_type = kOpenMetricsType;
  answer.body = call == Call::kMetrics ? MetricsText(status) : Dump(status);
  return answer;
}

void Service::OnCancel(FrontId front, std::uint64_t id) {
  const Key key{front, id};
  if (tails_.contains(key)) return EndTail(key, /*tell_front=*/false);
  if (const auto bundle = bundles_.find(key); bundle != bundles_.end()) {
    bundle->second.request.cancelled->store(true);
    bundles_.erase(bundle);
    return;
  }
  const auto at = requests_.find(key);
  if (at == requests_.end()) return;
  // The work may have been done: the entry is written all the same, the answer goes nowhere.
  at->second.cancelled->store(true);
  if (!at->second.recording && !at->second.unrecorded) {
    Answer nothing;
    nothing.query = at->second.read.parameters.contains("q") ? at->second.read.parameters.at("q").substr(0, limits::kQueryBytes) : "";
    Record(at->second, nothing, at->second.action, "error", [](bool) {});
  }
  requests_.erase(at);
}

void Service::OnFrontGone(FrontId front) {
  std::vector<Key> keys;
  for (const auto& entry : requests_) {
    if (entry.first.first == front) keys.push_back(entry.first);
  }
  for (const auto& entry : tails_) {
    if (entry.first.first == front) keys.push_back(entry.first);
  }
  for (const auto& entry : bundles_) {
    if (entry.first.first == front) keys.push_back(entry.first);
  }
  for (const Key& key : keys) OnCancel(key.first, key.second);
}

void Service::OnLedgerGone() {
  std::vector<std::uint64_t> frames;
  for (const auto& entry : pending_) frames.push_back(entry.first);
  for (const std::uint64_t frame : frames) FinishPending(frame, false);
  StatusCame({});
  std::vector<std::uint64_t> attests;
  for (const auto& entry : attests_) attests.push_back(entry.first);
  for (const std::uint64_t number : attests) AttestCame(number, false, "the ledger is gone");
}

Result<void> Service::OnLedgerFrame(channel::Type type, ByteView body) {
  switch (type) {
    case channel::Type::kHello: return {};
    case channel::Type::kCommitted: {
      STELE_TRY(const channel::Committed committed, channel::DecodeCommitted(body));
      FinishPending(committed.frame_id, true);
      return {};
    }
    case channel::Type::kRefused: {
      STELE_TRY(const channel::Refused refused, channel::DecodeRefused(body));
      FinishPending(refused.frame_id, false);
      return {};
    }
    case channel::Type::kPosition: {
      STELE_TRY(const channel::Position position, channel::DecodePosition(body));
      position_ = std::max(position_, position.size);
      workers_.SetPosition(position_);
      PumpTails();
      return {};
    }
    case channel::Type::kAttestAnswer: {
      STELE_TRY(const channel::AttestReply reply, channel::DecodeAttestReply(body));
      AttestCame(reply.id, reply.granted, reply.text);
      return {};
    }
    case channel::Type::kStatusAnswer: StatusCame(std::string(AsText(body))); return {};
    default: return Fail(Code::kInvalid, "a frame that has no place on the ledger's channel");
  }
}

// What was fetched of the tree since the last entry of each reader.
void Service::RecordTreeReaders(std::int64_t now_ns) {
  for (const auto& summary : tree_readers_.Due(now_ns)) {
    Answer counted;
    counted.query = summary.counts.Text();
    counted.rows = summary.counts.bundles * ledger::kTileWidth;
    Record(summary.reader, counted, "tree_summary", "ok", [](bool) {});  // shown already, under the entry before
  }
}

void Service::OnTick() {
  const std::int64_t now_ns = clock_.BoottimeNs();
  RecordTreeReaders(now_ns);
  std::vector<std::uint64_t> late;
  for (const auto& entry : pending_) {
    if (entry.second.deadline_ns <= now_ns) late.push_back(entry.first);
  }
  for (const std::uint64_t frame : late) FinishPending(frame, false);
  if (!waiting_for_status_.empty() && status_deadline_ns_ <= now_ns) StatusCame({});
  TickAttests(now_ns);
  std::vector<Key> keys;
  for (const auto& entry : tails_) keys.push_back(entry.first);
  for (const Key& key : keys) {
    if (const auto at = tails_.find(key); at != tails_.end()) TickTail(key, at->second, now_ns);
  }
}

bool Service::Finish() {
  if (!finishing_) RecordTreeReaders(std::numeric_limits<std::int64_t>::max());
  finishing_ = true;
  std::vector<Key> keys;
  for (const auto& entry : tails_) keys.push_back(entry.first);
  for (const Key& key : keys) EndTail(key, /*tell_front=*/true);
  keys.clear();
  for (const auto& entry : bundles_) keys.push_back(entry.first);
  for (const Key& key : keys) EndBundle(key);  // cut: every reader of it says so
  return requests_.empty() && pending_.empty() && hashes_ == 0;
}

}  // namespace stele::query
