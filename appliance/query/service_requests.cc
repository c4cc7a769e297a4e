// Signing in and out, and live tails.
#include <algorithm>

#include "appliance/base/limits.h"
#include "appliance/query/parameters.h"
#include "appliance/query/service.h"

namespace stele::query {
namespace {

using Json = nlohmann::json;

constexpr std::uint64_t kSequenceMax = (std::uint64_t{1} << 53U) - 1;
constexpr std::int64_t kNsPerSecond = 1'000'000'000;

Answer SignInRefused() { return Refusal(401, "unauthorized", "the name or the password is wrong"); }

Answer TryLater(std::int64_t wait_ns) {
  Answer answer = Refusal(429, "too_many", "too many failures for this name: wait");
  answer.headers["retry-after"] = std::to_string((wait_ns + kNsPerSecond - 1) / kNsPerSecond);
  return answer;
}

std::string PeerOf(const Front& front, const std::string& claimed) {
  if (front.local_uid) return "uid:" + std::to_string(*front.local_uid);
  return claimed.starts_with("uid:") ? "-" : claimed.substr(0, 64);
}

bool IsJson(const channel::ApiRequest& request) {
  const auto type = request.headers.find("content-type");
  return type != request.headers.end() && type->second.starts_with("application/json");
}

}  // namespace

void Service::Session(const Key& key, const Front& front, const channel::ApiRequest& request) {
  const bool head = request.method == "HEAD";
  if (!head && request.method != "GET") return Respond(key, Refusal(405, "method_not_allowed", "only GET and HEAD"), head);
  const auto caller = Authenticate(front, request);
  if (!caller) return Respond(key, Refusal(401, "unauthorized", "nobody is signed in"), head);
  Answer answer;
  answer.body = Dump({{"user", caller->identity.user},
                      {"role", RoleName(caller->identity.role)},
                      {"via", caller->identity.via},
                      {"permissions", PermissionNames(caller->identity.role)}});
  Respond(key, answer, head);
}

void Service::SignIn(const Key& key, const Front& front, const channel::ApiRequest& request) {
  if (request.method != "POST") return Respond(key, Refusal(405, "method_not_allowed", "only POST"), request.method == "HEAD");
  const Json body = Json::parse(request.body, nullptr, /*allow_exceptions=*/false);
  const auto text = [&body](const char* name, std::size_t size_bytes_max) -> std::optional<std::string> {
    if (!body.is_object()) return std::nullopt;
    const auto at = body.find(name);
    if (at == body.end() || !at->is_string() || at->get_ref<const std::string&>().size() > size_bytes_max) return std::nullopt;
    return at->get<std::string>();
  };
  const auto name = text("user", kUserNameBytesMax);
  const auto password = text("password", kPasswordBytesMax);
  if (!IsJson(request) || !name || !password) {
    return Respond(key, Refusal(400, "bad_request", "send {\"user\",\"password\"} as application/json"), false);
  }
  if (const auto wait_ns = delays_.WaitNs(*name, clock_.BoottimeNs()); wait_ns > 0) return Respond(key, TryLater(wait_ns), false);
  if (hashes_ >= kHashesWaitingMax) return Respond(key, TryLater(kNsPerSecond), false);
  if (const auto read = users_.Refresh(); !read) notice_ = Describe(read.error());
  const User* user = users_.FindUser(*name);
  const bool known = user != nullptr;
  const bool submitted = workers_.Submit(
      Lane::kHash, [this, key, name = *name, password = *password, hash = known ? user->password_hash : unknown_user_hash_, known,
                    peer = PeerOf(front, request.peer), old_token = request.session_token](Reads*) {
        const bool right = VerifyPassword(hash, password) && known;
        return [this, key, name, peer, old_token, right] { PasswordChecked(key, name, peer, old_token, right); };
      });
  if (!submitted) return Respond(key, TryLater(kNsPerSecond), false);
  ++hashes_;
}

void Service::PasswordChecked(const Key& key, const std::string& name, const std::string& peer, const std::string& old_token, bool right) {
  --hashes_;
  const User* user = users_.FindUser(name);
  right = right && user != nullptr;
  Request request;
  request.number = next_number_++;
  request.object = "/api/v1/sign-in";
  request.caller.peer = peer;
  request.caller.identity.user = name;
  request.caller.identity.via = "password";
  if (!right) {
    delays_.Failed(name, clock_.BoottimeNs());
    Record(request, Answer{}, "sign-in", "denied", [](bool) {});  // nothing is shown either way
    return Respond(key, SignInRefused(), false);
  }
  delays_.Succeeded(name);
  request.caller.identity.role = user->role;
  request.caller.identity.sources = user->sources;
  Record(request, Answer{}, "sign-in", "ok", [this, key, identity = request.caller.identity, old_token](bool recorded) {
    if (!recorded) return Respond(key, Refusal(503, "cannot_record", "the sign-in could not be recorded"), false);
    sessions_.Close(old_token);  // a token never survives a sign-in
    Answer answer;
    answer.body = Dump({{"user", identity.user}, {"role", RoleName(identity.role)}});
    answer.headers["set-session"] = sessions_.Open(identity, clock_.BoottimeNs());
    Respond(key, answer, false);
  });
}

void Service::SignOut(const Key& key, const Front& front, const channel::ApiRequest& request) {
  if (request.method != "POST") return Respond(key, Refusal(405, "method_not_allowed", "only POST"), request.method == "HEAD");
  auto caller = Authenticate(front, request);
  Answer answer;
  answer.body = "{}";
  answer.headers["clear-session"] = "1";
  if (sessions_.Close(request.session_token) && caller) {
    Request noted;
    noted.number = next_number_++;
    noted.object = "/api/v1/sign-out";
    noted.caller = std::move(*caller);
    Record(noted, answer, "sign-out", "ok", [](bool) {});  // ending a session must work even when nothing can be recorded
  }
  Respond(key, answer, false);
}

void Service::StartTail(const Key& key, Request request) {
  std::size_t tails_max = kTailsPerUser;
  if (request.caller.identity.role == Role::kLocalOperator) tails_max *= 4;
  const auto same = [&request](const auto& entry) { return entry.second.request.caller.identity.user == request.caller.identity.user; };
  if (static_cast<std::size_t>(std::count_if(tails_.begin(), tails_.end(), same)) >= tails_max) {
    return Respond(key, Refusal(429, "too_many", "too many live tails at once"), request.head);
  }
  Parameters parameters(request.read.parameters);
  const auto after = parameters.Number("after", kSequenceMax);
  auto scoped = ScopedQueryOf(request.read);
  const bool wrong = parameters.problem() || !scoped;
  requests_.emplace(key, request).first->second.recording = !wrong;
  if (wrong) return Complete(key, parameters.problem() ? *parameters.problem() : std::move(scoped.error()));

  auto tail = std::make_shared<Tail>();
  tail->matcher = std::make_shared<const Matcher>(scoped->whole, scoped->left_out);
  tail->query = Print(scoped->query);
  tail->next = after ? std::min(*after + 1, position_) : position_;
  tail->request = std::move(request);
  Answer start;
  start.query = tail->query;
  Record(tail->request, start, "tail-open", "ok", [this, key, tail](bool recorded) {
    const auto open = requests_.find(key);
    if (open == requests_.end() || open->second.number != tail->request.number) return;
    requests_.erase(open);
    if (!recorded) {
      return Respond(key, Refusal(503, "cannot_record", "the access entry could not be written, so nothing is shown"), tail->request.head);
    }
    OpenTail(key, std::move(*tail));
  });
}

void Service::OpenTail(const Key& key, Tail tail) {
  Answer head;
  head.content_type = "text/event-stream";
  if (tail.request.head || finishing_) return Respond(key, head, true);
  channel::ApiResponse response;
  response.id = key.second;
  response.content_type = head.content_type;
  outlet_.ToFront(key.first, channel::Type::kApiResponse, channel::EncodeApiResponse(response));
  tail.sent_ns = clock_.BoottimeNs();
  tail.recorded_ns = tail.sent_ns;
  SendBody(key, ": stele\n\n", false);
  const auto at = tails_.emplace(key, std::move(tail)).first;
  PumpTail(key, at->second);
}

void Service::PumpTails() {
  for (auto& entry : tails_) PumpTail(entry.first, entry.second);
}

void Service::OnFrontDrained(FrontId front) {
  for (auto& entry : tails_) {
    if (entry.first.first == front) PumpTail(entry.first, entry.second);
  }
  std::vector<Key> open;
  for (const auto& entry : bundles_) {
    if (entry.first.first == front) open.push_back(entry.first);
  }
  for (const Key& key : open) PumpBundle(key);
}

void Service::PumpTail(const Key& key, Tail& tail) {
  if (tail.pumping || tail.next >= position_ || outlet_.QueuedBytes(key.first) >= kTailQueuedBytesMax) return;
  tail.pumping = workers_.Submit(
      Lane::kQuick, [this, key, matcher = tail.matcher, next = tail.next, cancelled = tail.request.cancelled](Reads* reads) {
        auto slice = std::make_shared<TailSlice>();
        slice->next = next;
        if (reads != nullptr) *slice = reads->Tail(*matcher, next, *cancelled);
        return [this, key, slice, cancelled] {
          const auto at = tails_.find(key);
          if (at == tails_.end() || at->second.request.cancelled != cancelled) return;
          Tail& open = at->second;
          open.pumping = false;
          const bool moved = slice->next > open.next;
          open.next = std::max(open.next, slice->next);
          open.rows += slice->rows;
          if (!slice->text.empty()) {
            SendBody(key, slice->text, false);
            open.sent_ns = clock_.BoottimeNs();
          }
          if (moved) PumpTail(key, open);  // else the next position or tick tries again
        };
      });
}

bool Service::StillAllowed(const Request& request, std::int64_t now_ns) {
  const Identity& identity = request.caller.identity;
  if (identity.via == "socket") return true;
  const auto same = [&identity](const Identity& now) { return now.role == identity.role && now.sources == identity.sources; };
  if (request.caller.session) {
    const auto now = sessions_.FindByHash(*request.caller.session, now_ns);
    return now && same(*now);
  }
  const auto now = users_.FindCertificate(request.caller.certificate_sha256);
  return now && same(*now);
}

void Service::TickTail(const Key& key, Tail& tail, std::int64_t now_ns) {
  if (!StillAllowed(tail.request, now_ns)) return EndTail(key, /*tell_front=*/true);
  const bool stuck = outlet_.QueuedBytes(key.first) >= kTailQueuedBytesMax;
  if (stuck && !tail.pumping && position_ - std::min(position_, tail.next) > kTailBehindMax) {
    SendBody(key, "event: lag\ndata: {\"skipped\":" + std::to_string(position_ - tail.next) + "}\n\n", false);
    tail.next = position_;
  }
  if (!stuck && now_ns - tail.sent_ns >= kTailCommentNs) {
    SendBody(key, ": still here\n\n", false);
    tail.sent_ns = now_ns;
  }
  if (now_ns - tail.recorded_ns >= kTailSummaryNs) {
    tail.recorded_ns = now_ns;
    Answer summary;
    summary.query = tail.query;
    summary.rows = tail.rows - tail.rows_recorded;
    tail.rows_recorded = tail.rows;
    Record(tail.request, summary, "tail-summary", "ok", [this, key, number = tail.request.number](bool recorded) {
      const auto at = tails_.find(key);
      // What cannot be recorded is not shown any longer.
      if (!recorded && at != tails_.end() && at->second.request.number == number) EndTail(key, /*tell_front=*/true);
    });
  }
  if (const auto at = tails_.find(key); at != tails_.end()) PumpTail(key, at->second);
}

void Service::EndTail(const Key& key, bool tell_front) {
  const auto at = tails_.find(key);
  if (at == tails_.end()) return;
  Tail tail = std::move(at->second);
  tails_.erase(at);
  tail.request.cancelled->store(true);
  if (tell_front) SendBody(key, {}, true);
  Answer end;
  end.query = tail.query;
  end.rows = tail.rows;
  Record(tail.request, end, "tail-close", "ok", [](bool) {});  // it is over either way
}

}  // namespace stele::query
