#include "appliance/daemons/receive_losses.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace stele::receive {
namespace {

using nlohmann::json;

constexpr std::int64_t kNsPerMs = 1'000'000;

json EntryOf(const Listener& listener, Cause cause, const Account::Loss& loss, std::uint64_t count) {
  json entry = {{"zone", listener.zone},
                {"listener", listener.name},
                {"source", nullptr},
                {"cause", CauseName(cause)},
                {"count", count},
                {"from_ns", loss.from_ns.load()},
                {"to_ns", loss.to_ns.load()}};
  if (CountKnown(cause)) {
    entry["total"] = loss.counted.load();
  } else {
    entry["count"] = nullptr;
  }
  if (cause == Cause::kReceiverDiedUnknown) entry["at_most"] = count;
  if (cause == Cause::kConnectionsCut) entry["connections"] = count;
  return entry;
}

}  // namespace

const char* CauseName(Cause cause) {
  switch (cause) {
    case Cause::kKernelDrop:
      return "kernel_drop";
    case Cause::kStoreFull:
      return "store_full";
    case Cause::kQuota:
      return "quota";
    case Cause::kOverload:
      return "overload";
    case Cause::kReceiverDied:
    case Cause::kReceiverDiedUnknown:
      return "receiver_died";
    case Cause::kRefusedSource:
      return "refused_source";
    case Cause::kConnectionsCut:
      return "connections_cut";
    case Cause::kApplianceDied:
      return "appliance_died";
  }
  return "unknown";
}

bool LossRecorder::Due(const std::vector<std::unique_ptr<Listener>>& listeners) {
  // Not before what the receiver before this one wrote is known: it would be written twice.
  if (!link_.Ready() || !link_.settled() || link_.accounts().loss_frame() != 0) return false;
  const std::int64_t now_ns = clock_.BoottimeNs();
  if (now_ns < next_ns_) return false;
  const bool full = std::any_of(listeners.begin(), listeners.end(), [](const auto& listener) {
    const Account::Loss& loss = listener->account->Of(Cause::kStoreFull);
    return loss.counted != loss.recorded;
  });
  interval_ms_ = full ? std::min(std::max<std::int64_t>(1'000, interval_ms_ * 2), limits::kLossIntervalFullMs) : 0;
  next_ns_ = now_ns + interval_ms_ * kNsPerMs;
  return true;
}

void LossRecorder::Tick(const std::vector<std::unique_ptr<Listener>>& listeners) {
  if (!Due(listeners)) return;
  std::vector<LedgerLink::LossEntry> entries;
  for (const auto& listener : listeners) {
    under_way_.emplace_back(listener.get(), Listener::Losers());
    for (std::size_t i = 0; i < kCauses && entries.size() < limits::kLossEntriesPerFrame; ++i) {
      const auto cause = static_cast<Cause>(i);
      Account::Loss& loss = listener->account->Of(cause);
      std::uint64_t left = loss.counted - loss.recorded;
      if (left == 0 || cause == Cause::kRefusedSource) continue;  // those are the gate's
      loss.snapshot = loss.counted.load();
      for (auto at = listener->losers.begin();
           at != listener->losers.end() && entries.size() < limits::kLossEntriesPerFrame - 1;) {
        if (at->first.first != cause) {
          ++at;
          continue;
        }
        json entry = EntryOf(*listener, cause, loss, at->second.count);
        entry["peer"] = at->second.peer;
        entries.push_back({at->first.second, entry.dump()});
        left -= std::min(left, at->second.count);
        under_way_.back().second.insert(listener->losers.extract(at++));
      }
      if (left > 0) entries.push_back({0, EntryOf(*listener, cause, loss, left).dump()});
    }
  }
  if (entries.empty()) {
    under_way_.clear();
    return;
  }
  link_.AddLosses(entries, [this](const LedgerLink::Outcome& outcome) { Finish(outcome.committed); });
}

void LossRecorder::Finish(bool committed) {
  link_.accounts().EndLossFrame(committed);
  if (!committed) {
    for (auto& [listener, losers] : under_way_) {
      for (const auto& [key, loser] : losers) {
        auto& again = listener->losers[key];
        again.peer = loser.peer;
        again.count += loser.count;
      }
    }
  }
  under_way_.clear();
}

json ListenerCounters(const Listener& listener) {
  const Account& account = *listener.account;
  json losses = json::object();
  for (std::size_t i = 0; i < kCauses; ++i) {
    const auto cause = static_cast<Cause>(i);
    if (CountKnown(cause) && account.Of(cause).counted > 0) losses[CauseName(cause)] = account.Of(cause).counted.load();
  }
  json counters = {{"name", listener.name},
                   {"transport", listener.transport},
                   {"address", listener.address},
                   {"received", account.taken + account.waited_taken},
                   {"stored", account.stored + account.waited_stored},
                   {"lost", account.LostKnown()},
                   {"losses", losses},
                   {"unknown_losses", account.UnknownLosses()},
                   {"refused", listener.refused},
                   {"connections", static_cast<std::uint64_t>(listener.connections)},
                   {"sources", listener.sources}};
  if (listener.certificate_not_after_s == 0) return counters;
  json& tls = counters["tls"];
  tls = {{"not_after_s", listener.certificate_not_after_s}, {"handshakes_failed", listener.handshakes_failed}};
  if (listener.handshakes_failed != 0 && listener.handshake_failure_ns != 0) {
    tls["last_failure"] = {{"text", listener.handshake_failure}, {"at_ns", listener.handshake_failure_ns}};
  }
  return counters;
}

}  // namespace stele::receive
