// What needs the TPM's word: GET /api/v1/attest and /api/v1/bundle. The nonce goes to the ledger, which asks the anchor;
// a bundle is then prepared by a worker, recorded, and sent in pieces as fast as its front takes them.
#include <algorithm>

#include "appliance/base/system.h"
#include "appliance/channel/attest_messages.h"
#include "appliance/ledger/note.h"
#include "appliance/query/bundle.h"
#include "appliance/query/parameters.h"
#include "appliance/query/service.h"

namespace stele::query {

void Service::StartAttest(const Key& key, Request request) {
  Parameters parameters(request.read.parameters);
  const auto nonce = ParseHash(parameters.Text("nonce"));
  const bool demand = parameters.Number("anchor", 1).value_or(1) == 1;
  const std::uint64_t number = request.number;
  if (request.read.call == Call::kBundle && !config_.cosigned_path.empty()) {
    const auto cosigned = ReadFile(config_.cosigned_path, ledger::kNoteBytesMax);
    if (cosigned) request.read.cosigned_note = AsText(*cosigned);  // none yet: the bundle goes without
  }
  const std::string& user = request.caller.identity.user;
  const bool busy = attests_.size() >= kAttestsMax || std::any_of(bundles_.begin(), bundles_.end(), [&user](const auto& entry) {
                      return entry.second.request.caller.identity.user == user;
                    });
  requests_.emplace(key, std::move(request));
  if (parameters.problem()) return Complete(key, *parameters.problem());
  if (!nonce) return Complete(key, Refusal(400, "bad_request", "nonce is needed: 64 hexadecimal digits of your own choosing"));
  if (busy) return Complete(key, Refusal(429, "too_many", "one attestation or bundle at a time"));
  attests_.emplace(number, PendingAttest{key, clock_.BoottimeNs() + kAttestTimeoutNs});
  if (!outlet_.ToLedger(channel::Type::kAttestRequest, channel::EncodeAttestQuestion({number, *nonce, demand}))) {
    AttestCame(number, false, "the ledger is not there now");
  }
}

void Service::AttestCame(std::uint64_t number, bool granted, const std::string& text) {
  const auto waiting = attests_.find(number);
  if (waiting == attests_.end()) return;  // given up before
  const Key key = waiting->second.key;
  attests_.erase(waiting);
  const auto at = requests_.find(key);
  if (at == requests_.end() || at->second.number != number) return;  // cancelled meanwhile
  if (!granted) return Complete(key, Refusal(503, "unavailable", text));
  if (at->second.read.call == Call::kAttest) {
    Answer answer;
    answer.body = text;
    answer.rows = 1;
    return Complete(key, std::move(answer));
  }
  at->second.read.attest_json = text;
  PrepareBundle(key);
}

void Service::PrepareBundle(const Key& key) {
  const Request& request = requests_.at(key);
  const bool submitted =
      workers_.Submit(Lane::kHeavy, [this, key, read = request.read, cancelled = request.cancelled](Reads* reads) {
        std::shared_ptr<Bundle> bundle;
        Answer answer = reads == nullptr ? Refusal(503, "unavailable", "the store cannot be read now")
                                         : reads->PrepareBundle(read, *cancelled, bundle);
        return [this, key, cancelled, bundle, answer = std::move(answer)]() mutable {
          const auto open = requests_.find(key);
          if (open == requests_.end() || open->second.cancelled != cancelled) return;
          if (!bundle) return Complete(key, std::move(answer));
          BundleReady(key, std::move(answer), std::move(bundle));
        };
      });
  if (!submitted) Complete(key, Refusal(429, "too_many", "too much work is waiting"));
}

// The access entry first, then the first byte.
void Service::BundleReady(const Key& key, Answer answer, std::shared_ptr<Bundle> bundle) {
  Request& request = requests_.at(key);
  request.recording = true;
  auto kept = std::make_shared<Answer>(std::move(answer));
  Record(request, *kept, request.action, "ok", [this, key, kept, bundle, number = request.number](bool recorded) {
    const auto open = requests_.find(key);
    if (open == requests_.end() || open->second.number != number) return;  // cancelled meanwhile
    Request request_of_it = std::move(open->second);
    requests_.erase(open);
    if (!recorded) {
      return Respond(key, Refusal(503, "cannot_record", "the access entry could not be written, so nothing is shown"), request_of_it.head);
    }
    if (request_of_it.head || finishing_) return Respond(key, *kept, true);
    channel::ApiResponse response;
    response.id = key.second;
    response.content_type = kept->content_type;
    response.headers = kept->headers;
    outlet_.ToFront(key.first, channel::Type::kApiResponse, channel::EncodeApiResponse(response));
    const bool paced = request_of_it.caller.identity.role != Role::kLocalOperator;
    bundles_.emplace(key, OpenBundle{bundle, std::move(request_of_it), false, paced, 0, 0});
    PumpBundle(key);
  });
}

void Service::PumpBundle(const Key& key) {
  const auto at = bundles_.find(key);
  if (at == bundles_.end() || at->second.pumping || outlet_.QueuedBytes(key.first) >= kTailQueuedBytesMax) return;
  if (at->second.paced && at->second.sent_bytes - at->second.taken_bytes >= kBundleAheadBytesMax) return;
  at->second.pumping = workers_.Submit(
      Lane::kHeavy, [this, key, bundle = at->second.bundle, cancelled = at->second.request.cancelled](Reads* reads) {
        auto piece = std::make_shared<Result<Bytes>>(
            reads == nullptr ? Result<Bytes>(Fail(Code::kUnavailable, "the store cannot be read now")) : reads->NextOfBundle(*bundle, *cancelled));
        return [this, key, bundle, cancelled, piece] {
          const auto open = bundles_.find(key);
          if (open == bundles_.end() || open->second.request.cancelled != cancelled) return;
          open->second.pumping = false;
          if (!*piece) {
            // What was sent is no whole archive, and every reader of it says so.
            notice_ = "a bundle was cut: " + Describe(piece->error());
            return EndBundle(key);
          }
          SendBody(key, AsText(**piece), false);
          open->second.sent_bytes += (*piece)->size();
          if (bundle->done()) return EndBundle(key);
          PumpBundle(key);
        };
      });
}

void Service::OnTaken(FrontId front, const channel::ApiTaken& taken) {
  const Key key{front, taken.id};
  const auto at = bundles_.find(key);
  if (at == bundles_.end()) return;
  // The front counts what it wrapped around our bytes, too.
  const std::uint64_t waiting = at->second.sent_bytes - at->second.taken_bytes;
  at->second.taken_bytes += std::min(waiting, taken.bytes);
  PumpBundle(key);
}

void Service::EndBundle(const Key& key) {
  if (bundles_.erase(key) > 0) SendBody(key, {}, true);
}

void Service::TickAttests(std::int64_t now_ns) {
  std::vector<std::uint64_t> late;
  for (const auto& entry : attests_) {
    if (entry.second.deadline_ns <= now_ns) late.push_back(entry.first);
  }
  for (const std::uint64_t number : late) AttestCame(number, false, "the TPM did not answer in time");
  std::vector<Key> open;
  for (const auto& entry : bundles_) open.push_back(entry.first);
  for (const Key& key : open) PumpBundle(key);
}

}  // namespace stele::query
