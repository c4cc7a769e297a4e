#include "appliance/daemons/family.h"

#include <poll.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "appliance/base/limits.h"
#include "appliance/base/system.h"

namespace stele::daemons {

using std::chrono::milliseconds;
using SteadyTime = std::chrono::steady_clock::time_point;

namespace {

constexpr milliseconds kDelayFirst{100};
constexpr milliseconds kLivedLong{60'000};  // a member that lived so long starts again without delay
constexpr milliseconds kReapWait{2'000};    // from the closed control channel to the end of the process
constexpr std::size_t kConfigurePartBytes = 32 * limits::kKiB;  // below a channel frame
constexpr int kFramesPerRound = 64;         // of one member, before the others get their turn

constexpr std::string_view kJoinedEnd = "its control channel ended";  // how is known to who started it

SteadyTime Now() { return std::chrono::steady_clock::now(); }

// What a joined process says of itself: for people, nothing is done with it.
pid_t PidIn(const std::string& detail_json) {
  const auto detail = nlohmann::json::parse(detail_json, nullptr, false);
  const auto at = detail.is_object() ? detail.find("pid") : detail.end();
  return at != detail.end() && at->is_number_integer() ? at->get<pid_t>() : 0;
}

std::string Reap(pid_t pid) {
  if (auto how = Ended(pid, kReapWait)) return *how;
  KillProcess(pid);
  return "closed its control channel and was killed";
}

}  // namespace

struct Family::Member {
  MemberSpec spec;
  MemberStatus status;
  Process process;
  SteadyTime started{};
  SteadyTime next_start{};
  milliseconds delay{0};
  bool ever_ready = false;
  bool ended_well = true;

  [[nodiscard]] bool Running() const { return process.control.valid(); }
  [[nodiscard]] bool Joined() const { return process.pid <= 0; }
};

Family::Family(std::vector<MemberSpec> members, std::vector<LinkSpec> links, Listener listener)
    : links_(std::move(links)), held_(links_.size()), listener_(std::move(listener)) {
  members_.reserve(members.size());
  for (auto& spec : members) {
    Member member;
    member.status.name = spec.name;
    member.spec = std::move(spec);
    members_.push_back(std::move(member));
  }
}

void Family::LimitRestartDelay(milliseconds most) { delay_most_ = std::max(most, kDelayFirst); }

Family::~Family() {
  for (Member& member : members_) {
    if (member.Running() && !member.Joined()) KillProcess(member.process.pid);  // a joined one ends with its channel
  }
}

Result<void> Family::Start() {
  for (std::size_t i = 0; i < members_.size(); ++i) STELE_TRY_VOID(Spawn(i));
  // Every link once, when both sides run: the ends wait in the sockets until the members read them.
  for (std::size_t i = 0; i < links_.size(); ++i) {
    STELE_TRY(auto ends, channel::MakePair());
    GiveEnd(links_[i].first, links_[i].told_first, std::move(ends.first), held_[i].first);
    GiveEnd(links_[i].second, links_[i].told_second, std::move(ends.second), held_[i].second);
  }
  for (std::size_t i = 0; i < members_.size(); ++i) (void)Tell(i, channel::Type::kStart, "");  // a dead one is seen in Pump
  return {};
}

// Starts one member and tells it everything but its links and kStart.
Result<void> Family::Spawn(std::size_t index) {
  Member& member = members_[index];
  member.status.ready = false;
  if (member.spec.socket.empty()) {
    STELE_TRY(member.process, StartProcess(member.spec.executable, member.spec.network, member.spec.network_fd));
  } else {
    STELE_TRY(member.process, JoinProcess(member.spec.socket));
  }
  member.status.pid = std::max<pid_t>(member.process.pid, 0);
  member.started = Now();
  (void)TellConfiguration(index);
  for (const OwnChannel& own : member.spec.own) Give(index, own);
  Report("started", index);
  return {};
}

// Fresh pairs for a member that was started again.
void Family::Wire(std::size_t index) {
  for (std::size_t i = 0; i < links_.size(); ++i) {
    const LinkSpec& link = links_[i];
    if (link.first != index && link.second != index) continue;
    const bool is_first = link.first == index;
    UniqueFd& mine_held = is_first ? held_[i].first : held_[i].second;
    UniqueFd& other_held = is_first ? held_[i].second : held_[i].first;
    const auto& told_me = is_first ? link.told_first : link.told_second;
    const auto& told_other = is_first ? link.told_second : link.told_first;
    if (mine_held.valid()) {  // the peer started while this one was down and has its end already
      UniqueFd mine = std::move(mine_held);
      GiveEnd(index, told_me, std::move(mine), mine_held);
      continue;
    }
    auto ends = channel::MakePair();
    if (!ends) {
      LogError(members_[index].spec.name + ": " + Describe(ends.error()));
      continue;
    }
    GiveEnd(index, told_me, std::move(ends->first), mine_held);
    GiveEnd(is_first ? link.second : link.first, told_other, std::move(ends->second), other_held);
  }
}

void Family::GiveEnd(std::size_t index, const channel::TakeChannel& what, UniqueFd end, UniqueFd& held) {
  const Member& member = members_[index];
  if (!member.Running()) {
    held = std::move(end);
    return;
  }
  if (const auto sent = channel::SendTakeChannel(member.process.control.get(), what, end.get()); !sent) {
    LogWarning(member.spec.name + ": cannot hand over channel " + what.role + ": " + Describe(sent.error()));
  }
}

void Family::Give(std::size_t index, const OwnChannel& what) {
  const Member& member = members_[index];
  if (!member.Running()) return;
  const auto descriptor = what.open();
  if (!descriptor) {
    LogError(member.spec.name + ": " + what.what.role + ": " + Describe(descriptor.error()));
    return;
  }
  const auto sent = channel::SendTakeChannel(member.process.control.get(), what.what, descriptor->get());
  if (!sent) LogError(member.spec.name + ": cannot hand over " + what.what.role + ": " + Describe(sent.error()));
}

void Family::SetConfiguration(std::size_t index, std::string configuration_json) {
  members_[index].spec.configuration_json = std::move(configuration_json);
}

bool Family::Reconfigure(std::size_t index, std::string configuration_json) {
  members_[index].spec.configuration_json = std::move(configuration_json);
  return TellConfiguration(index);
}

// What is longer than a frame goes before, in parts.
bool Family::TellConfiguration(std::size_t index) {
  std::string_view rest = members_[index].spec.configuration_json;
  for (; rest.size() > kConfigurePartBytes; rest.remove_prefix(kConfigurePartBytes)) {
    if (!Tell(index, channel::Type::kConfigurePart, rest.substr(0, kConfigurePartBytes))) return false;
  }
  return Tell(index, channel::Type::kConfigure, rest);
}

bool Family::Tell(std::size_t index, channel::Type type, std::string_view text) {
  const Member& member = members_[index];
  if (!member.Running()) return false;
  return channel::Send(member.process.control.get(), type, AsBytes(text)).has_value();
}

void Family::Pump(milliseconds wait, std::span<const int> wake) {
  std::vector<pollfd> polled;
  std::vector<std::size_t> who;
  for (std::size_t i = 0; i < members_.size(); ++i) {
    if (!members_[i].Running()) continue;
    polled.push_back({members_[i].process.control.get(), POLLIN, 0});
    who.push_back(i);
  }
  for (const int fd : wake) polled.push_back({fd, POLLIN, 0});
  const milliseconds patience = std::min(wait, UntilNextStart());
  (void)::poll(polled.data(), polled.size(), static_cast<int>(patience.count()));  // a signal is seen through `wake`
  for (std::size_t n = 0; n < who.size(); ++n) {
    if (polled[n].revents != 0) Hear(who[n]);
  }
  if (stopping_) return;
  for (std::size_t i = 0; i < members_.size(); ++i) {
    Member& member = members_[i];
    if (member.Running() || Now() < member.next_start) continue;
    ++member.status.restarts;
    if (const auto spawned = Spawn(i); !spawned) {
      Died(i, Describe(spawned.error()));
      continue;
    }
    Wire(i);
    (void)Tell(i, channel::Type::kStart, "");
  }
}

milliseconds Family::UntilNextStart() const {
  milliseconds least = delay_most_;
  if (stopping_) return least;
  for (const Member& member : members_) {
    if (member.Running()) continue;
    const auto left = std::chrono::duration_cast<milliseconds>(member.next_start - Now()) + milliseconds(1);
    least = std::clamp(left, milliseconds(0), least);
  }
  return least;
}

// Reads what a member says: kReady and kNotice. Anything else is ignored; the end of the channel is the end of the member.
void Family::Hear(std::size_t index) {
  Member& member = members_[index];
  for (int i = 0; i < kFramesPerRound; ++i) {
    const auto frame = channel::Receive(member.process.control.get(), /*wait=*/false);
    if (frame && frame->type == channel::Type::kReady && !member.status.ready) {
      member.status.ready = true;
      member.status.detail_json = std::string(AsText(frame->body));
      member.ever_ready = true;
      if (member.Joined()) member.status.pid = PidIn(member.status.detail_json);
      Report("ready", index);
    } else if (frame && frame->type == channel::Type::kNotice) {
      Report("says", index, std::string(AsText(frame->body)));
    }
    if (frame || frame.error().code == Code::kInvalid) continue;
    if (frame.error().code == Code::kUnavailable) return;
    Died(index, member.Joined() ? std::string(kJoinedEnd) : Reap(member.process.pid));
    return;
  }
}

void Family::Died(std::size_t index, const std::string& how) {
  Member& member = members_[index];
  if (Now() - member.started > kLivedLong) member.delay = milliseconds(0);
  member.next_start = Now() + member.delay;
  member.delay = std::clamp(member.delay * 2, kDelayFirst, delay_most_);
  member.ended_well = stopping_ && (how == "exit status 0" || how == kJoinedEnd);
  Report(stopping_ ? "stopped" : "died", index, how);
  member.process = Process{};
  member.status.pid = -1;
  member.status.ready = false;
}

void Family::Report(const char* event, std::size_t index, std::string text) {
  if (listener_) listener_({event, members_[index].status, std::move(text)});
}

bool Family::AllReady() const {
  return std::all_of(members_.begin(), members_.end(), [](const Member& member) { return member.status.ready; });
}

const MemberStatus* Family::CannotStart(std::uint64_t count) const {
  for (const Member& member : members_) {
    if (!member.ever_ready && member.status.restarts >= count) return &member.status;
  }
  return nullptr;
}

std::vector<MemberStatus> Family::Status() const {
  std::vector<MemberStatus> all;
  for (const Member& member : members_) all.push_back(member.status);
  return all;
}

bool Family::Stop(std::span<const std::size_t> order) {
  stopping_ = true;
  bool well = true;
  for (const std::size_t index : order) {
    Member& member = members_[index];
    if (!member.Running()) {
      well = false;
      continue;
    }
    (void)Tell(index, channel::Type::kStop, "");  // a dead one is seen below
    const SteadyTime until = Now() + member.spec.stop_limit;
    while (member.Running() && Now() < until) Pump(milliseconds(50), {});
    if (member.Running()) {
      if (!member.Joined()) KillProcess(member.process.pid);
      Report("killed", index, "did not finish within " + std::to_string(member.spec.stop_limit.count()) + " ms");
      member.process = Process{};
      member.status.pid = -1;
      member.ended_well = false;
    }
    well = well && member.ended_well;
  }
  return well;
}

}  // namespace stele::daemons
