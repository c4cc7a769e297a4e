// stele-guard-watch: hears of every packet that the network's policy dropped and writes what it amounts to into the
// log. Its promise: it has the kernel's word of dropped packets and a channel for alarm entries, and nothing else: no
// network, no file, no capability. What the packets say is hostile; what they amount to is in netfilter/violations.h.
#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <vector>

#include "appliance/base/system.h"
#include "appliance/channel/control.h"
#include "appliance/daemons/alarm_link.h"
#include "appliance/daemons/program.h"
#include "appliance/daemons/watch_page.h"
#include "appliance/sandbox/profiles.h"
#include "netfilter/nflog.h"
#include "netfilter/violation_entries.h"

namespace stele::watch {
namespace {

using nlohmann::json;

constexpr std::int64_t kNsPerMs = 1'000'000;
constexpr std::size_t kPacketsPerTurn = 1'024;  // of one socket, before the others get theirs
constexpr std::int64_t kStopNs = 5'000 * kNsPerMs;
constexpr std::int64_t kStatusNs = 500 * kNsPerMs;
constexpr std::uint64_t kControlEvent = ~std::uint64_t{0};
constexpr std::uint64_t kLedgerEvent = kControlEvent - 1;

struct Settings {
  std::int64_t interval_ns = 0;
  std::size_t entries_per_interval = 0;
  std::size_t entries_per_hour = 0;
  netfilter::Crossings crossings;
};

Result<Settings> ParseSettings(const std::string& text) {
  const json object = json::parse(text, nullptr, false);
  Settings settings;
  try {
    settings.interval_ns = object.at("interval_ms").get<std::int64_t>() * kNsPerMs;
    settings.entries_per_interval = object.at("entries_per_interval").get<std::size_t>();
    settings.entries_per_hour = object.at("entries_per_hour").get<std::size_t>();
    STELE_TRY(settings.crossings, netfilter::ParseCrossings(object.at("crossings").dump()));
  } catch (const json::exception& problem) {
    return Fail(Code::kInvalid, std::string("configuration: ") + problem.what());
  }
  return settings;
}

// One log group of one network.
class Group {
 public:
  Group(UniqueFd socket, WatchPage& page, std::size_t index)
      : socket_(std::move(socket)),
        page_(page),
        index_(index),
        state_(page.StateOf(index)),
        reader_(socket_.get(), state_.next),
        earlier_(state_.passed_over) {}

  [[nodiscard]] int fd() const { return socket_.get(); }

  Result<void> Read(netfilter::Violations& violations, std::int64_t wall_ns) {
    STELE_TRY(const std::size_t packets, reader_.Read(kPacketsPerTurn, [&](const netfilter::LoggedPacket& one) {
      violations.Add(one.prefix, one.packet, wall_ns);
      if (one.prefix != prefix_) NoteZone(one.prefix);
    }));
    state_.seen += packets;
    return NoteMissed(violations, wall_ns);
  }

  // What the kernel could not deliver: by the numbers of the packets that came, or by its own count where none came
  // since.
  Result<void> NoteMissed(netfilter::Violations& violations, std::int64_t wall_ns) {
    STELE_TRY(const auto missed, reader_.Count());
    state_.passed_over = earlier_ + missed.by_number;
    state_.dropped += missed.by_kernel - state_.dropped_low;  // modulo 2^32
    state_.dropped_low = missed.by_kernel;
    state_.next = reader_.next();
    const std::uint64_t known = std::max(state_.passed_over, state_.dropped);
    if (known > state_.missed) {
      violations.AddUncounted(zone_, "overrun", known - state_.missed, wall_ns);
      state_.seen += known - state_.missed;
      state_.missed = known;
    }
    page_.SetState(index_, state_);
    return {};
  }

 private:
  // An interface of one zone has a name for what is missed.
  void NoteZone(std::string_view text) {
    prefix_ = text;
    const auto parsed = netfilter::ParseLogPrefix(text);
    const std::string zone = parsed ? parsed->zones : "";
    if (!several_ && zone_.empty()) zone_ = zone;
    if (zone != zone_) {
      several_ = true;
      zone_.clear();
    }
  }

  UniqueFd socket_;
  WatchPage& page_;
  std::size_t index_;
  GroupState state_;
  netfilter::LogReader reader_;
  std::uint64_t earlier_;  // passed over before this process
  std::string prefix_;
  std::string zone_;
  bool several_ = false;
};

class Watcher {
 public:
  Watcher(Settings settings, WatchPagePtr page, std::vector<UniqueFd> sockets)
      : settings_(std::move(settings)),
        page_(std::move(page)),
        violations_(settings_.crossings),
        budget_(settings_.entries_per_interval, settings_.entries_per_hour, clock_.BoottimeNs()),
        link_(channel::Role::kWatch, clock_, entropy_, [this] { Committed(); }),
        epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    STELE_CHECK(epoll_.valid());
    groups_.reserve(sockets.size());
    for (std::size_t i = 0; i < sockets.size(); ++i) {
      groups_.emplace_back(std::move(sockets[i]), *page_, i);
      Listen(groups_.back().fd(), i);
    }
    Listen(channel::kControlFd, kControlEvent);
    // What a watcher before this one had seen and not got into the log.
    violations_.AddUncounted("", "watcher_died", page_->Seen() - page_->reported, clock_.WallNs(), page_->under_way);
    page_->under_way = 0;
    next_ns_ = clock_.BoottimeNs() + settings_.interval_ns;
  }

  void Connect(UniqueFd ledger) {
    link_.Connect(std::move(ledger));
    if (link_.fd() >= 0) Listen(link_.fd(), kLedgerEvent);  // the one before is closed, and forgotten with it
  }

  // Until it is told to stop; then everything that is known goes into the log.
  Result<void> Run() {
    while (!stopping_) STELE_TRY_VOID(Turn());
    const std::int64_t until_ns = clock_.BoottimeNs() + kStopNs;
    bool said_all = false;
    while (clock_.BoottimeNs() < until_ns && !(said_all && link_.idle())) {
      if (link_.idle() && !said_all) {
        for (Group& group : groups_) STELE_TRY_VOID(group.Read(violations_, clock_.WallNs()));
        Say(violations_.TakeAll(settings_.entries_per_interval, clock_.WallNs()));
        said_all = true;
        continue;
      }
      STELE_TRY_VOID(Turn());
    }
    return {};
  }

 private:
  void Listen(int fd, std::uint64_t tag) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = tag;
    STELE_CHECK(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0);
  }

  Result<void> Turn() {
    std::array<epoll_event, 64> events{};
    const std::int64_t left_ms = std::clamp<std::int64_t>((next_ns_ - clock_.BoottimeNs()) / kNsPerMs + 1, 0, 1'000);
    const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()),
                                   static_cast<int>(stopping_ ? std::min<std::int64_t>(left_ms, 20) : left_ms));
    for (int i = 0; i < count; ++i) {
      const std::uint64_t tag = events[static_cast<std::size_t>(i)].data.u64;
      if (tag == kControlEvent) {
        HandleControl();
      } else if (tag == kLedgerEvent) {
        link_.HandleReadable();
      } else {
        STELE_TRY_VOID(groups_[tag].Read(violations_, clock_.WallNs()));
      }
    }
    link_.Tick();
    TellStatus();
    if (clock_.BoottimeNs() < next_ns_) return {};
    next_ns_ = clock_.BoottimeNs() + settings_.interval_ns;
    for (Group& group : groups_) STELE_TRY_VOID(group.NoteMissed(violations_, clock_.WallNs()));
    // A ledger that is slow or away: rows are gathered on, as coarse as they must be.
    if (!link_.idle()) return {};
    auto rows = violations_.Take(budget_.Available(clock_.BoottimeNs()), clock_.WallNs());
    budget_.Spend(rows.size());
    Say(rows);
    return {};
  }

  void Say(const std::vector<netfilter::ViolationRow>& rows) {
    if (rows.empty()) return;
    std::vector<std::string> payloads;
    std::uint64_t packets = 0;
    for (const netfilter::ViolationRow& row : rows) {
      payloads.push_back(netfilter::ViolationEntry(row));
      packets += row.packets;
    }
    page_->under_way = packets;
    link_.Send(std::move(payloads));
  }

  void Committed() {
    page_->reported += page_->under_way;
    page_->under_way = 0;
  }

  // For the status: what was dropped since the appliance started, of this what the kernel could not deliver, and what
  // is in entries of the log.
  void TellStatus() {
    const std::int64_t now_ns = clock_.BoottimeNs();
    if (now_ns < next_status_ns_) return;
    next_status_ns_ = now_ns + kStatusNs;
    const json detail = {
        {"packets", page_->Seen()}, {"undelivered", page_->Missed()}, {"in_entries", page_->reported.load()}};
    if (detail == told_) return;
    const std::string text = json{{"event", "violations"}, {"detail", detail}}.dump();
    if (channel::Send(channel::kControlFd, channel::Type::kNotice, AsBytes(text))) told_ = detail;
  }

  void HandleControl() {
    while (true) {
      auto frame = channel::Receive(channel::kControlFd, /*wait=*/false, /*with_descriptors=*/true);
      if (!frame && frame.error().code == Code::kUnavailable) return;
      if (!frame || frame->type == channel::Type::kStop) {  // or the supervisor is gone
        stopping_ = true;
        (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, channel::kControlFd, nullptr);  // its end of file would spin
        return;
      }
      if (frame->type != channel::Type::kTakeChannel || frame->descriptors.size() != 1) continue;
      const auto what = channel::DecodeTakeChannel(frame->body);
      if (what && what->role == "ledger") Connect(std::move(frame->descriptors.front()));
    }
  }

  Settings settings_;
  WatchPagePtr page_;
  SystemClock clock_;
  SystemEntropy entropy_;
  netfilter::Violations violations_;
  netfilter::EntryBudget budget_;
  AlarmLink link_;
  UniqueFd epoll_;
  std::vector<Group> groups_;
  std::int64_t next_ns_ = 0;
  std::int64_t next_status_ns_ = 0;
  json told_;  // for the status
  bool stopping_ = false;
};

Result<void> Serve() {
  auto given = channel::ReceiveStartUp(channel::kControlFd);
  if (!given && given.error().code == Code::kNotFound) return {};  // never started
  if (!given) return tl::unexpected(given.error());
  STELE_TRY(Settings settings, ParseSettings(given->configuration_json));
  WatchPagePtr page;
  UniqueFd ledger;
  std::vector<UniqueFd> sockets;
  for (channel::GivenChannel& one : given->channels) {
    if (one.what.role == "page") {
      STELE_TRY(page, MapWatchPage(one.descriptor.get()));
    }
    if (one.what.role == "ledger") ledger = std::move(one.descriptor);
    if (one.what.role == "dropped") sockets.push_back(std::move(one.descriptor));
  }
  if (!page || sockets.empty() || sockets.size() > WatchPage::kGroups) {
    return Fail(Code::kInvalid, "the page or the sockets were not given");
  }
  STELE_TRY_VOID(channel::SetBlocking(channel::kControlFd, false));
  STELE_TRY(const sandbox::Report report, sandbox::LockDown(sandbox::GuardWatchProfile(sockets.size())));
  Watcher watcher(std::move(settings), std::move(page), std::move(sockets));
  if (ledger.valid()) watcher.Connect(std::move(ledger));
  STELE_TRY_VOID(channel::SendReady(channel::kControlFd, report.ToJson()));
  return watcher.Run();
}

}  // namespace
}  // namespace stele::watch

int main() { return stele::daemons::RunProgram("stele-guard-watch", stele::watch::Serve); }
