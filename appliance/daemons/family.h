// The family of processes under one supervisor: who runs, who talks to whom, and what happens when one dies.
//
// Each link is one socket pair. When a member starts, every link of it gets a fresh pair: its own end goes to it, the other
// to the peer (kept for the peer while that one is down). A dead member is started again, at once the first time and with a
// growing delay when it keeps dying. Thread safety: one thread, which must outlive the family (see process.h).
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "appliance/channel/control.h"
#include "appliance/daemons/process.h"

namespace stele::daemons {

// A descriptor for a member's own use, opened anew for each of its starts (listeners: a duplicate; a TPM: a connection).
struct OwnChannel {
  channel::TakeChannel what;
  std::function<Result<UniqueFd>()> open;
};

struct MemberSpec {
  std::string name;  // stele-receive, ...
  std::filesystem::path executable;
  std::filesystem::path socket;  // not empty: the process behind it is joined, and `executable` and `network` are its unit's affair
  std::string configuration_json;
  std::vector<OwnChannel> own;
  std::chrono::milliseconds stop_limit{10'000};
  ProcessNetwork network = ProcessNetwork::kShared;
  int network_fd = -1;  // with ProcessNetwork::kGiven; outlives the family
};

struct LinkSpec {
  std::size_t first = 0;  // members by index
  std::size_t second = 0;
  channel::TakeChannel told_first;  // how the first one hears of the second
  channel::TakeChannel told_second;
};

struct MemberStatus {
  std::string name;
  pid_t pid = -1;      // -1 while it is down; of a joined one what it says itself, 0 until it is ready
  bool ready = false;
  std::uint64_t restarts = 0;
  std::string detail_json;  // of its kReady
};

// What happened, for the log and for the ledger: "started", "ready", "died", "stopped", "killed"; "says": a kNotice.
struct FamilyEvent {
  std::string event;
  MemberStatus member;
  std::string text;  // died: how; says: what
};

class Family {
 public:
  using Listener = std::function<void(const FamilyEvent&)>;
  Family(std::vector<MemberSpec> members, std::vector<LinkSpec> links, Listener listener);
  // The longest wait before a member that keeps dying is started again (at least 100 ms).
  void LimitRestartDelay(std::chrono::milliseconds most);
  ~Family();
  Family(const Family&) = delete;
  Family& operator=(const Family&) = delete;

  // Starts everybody, then wires, then says start. An error here is final: nothing runs afterwards.
  [[nodiscard]] Result<void> Start();

  // One round: waits for something to happen (at most `wait`, or until one of `wake` is readable) and deals with it.
  void Pump(std::chrono::milliseconds wait, std::span<const int> wake);

  [[nodiscard]] bool AllReady() const;
  // A member that died `count` times without ever having been ready; nullptr when there is none.
  [[nodiscard]] const MemberStatus* CannotStart(std::uint64_t count) const;
  [[nodiscard]] std::vector<MemberStatus> Status() const;

  // A further descriptor for a running member (a TPM that was started again).
  void Give(std::size_t member, const OwnChannel& what);
  // The configuration a member starts with from now on.
  void SetConfiguration(std::size_t member, std::string configuration_json);
  // A new configuration, as kConfigure for a running member and for every later start of it.
  bool Reconfigure(std::size_t member, std::string configuration_json);
  // A frame on a member's control channel; false when it is down or its channel is full.
  bool TellConfiguration(std::size_t member);
  bool Tell(std::size_t member, channel::Type type, std::string_view text);

  // Stops the members one after another in this order; who does not finish in its time is killed (and reported so).
  // False when one had to be killed or had died.
  bool Stop(std::span<const std::size_t> order);

 private:
  struct Member;
  [[nodiscard]] Result<void> Spawn(std::size_t index);
  void Wire(std::size_t index);
  void GiveEnd(std::size_t index, const channel::TakeChannel& what, UniqueFd end, UniqueFd& held);
  void Hear(std::size_t index);
  void Died(std::size_t index, const std::string& how);
  void Report(const char* event, std::size_t index, std::string text = {});
  [[nodiscard]] std::chrono::milliseconds UntilNextStart() const;

  std::chrono::milliseconds delay_most_{10'000};
  std::vector<Member> members_;
  std::vector<LinkSpec> links_;
  struct HeldEnds {
    UniqueFd first, second;  // waiting for a member that is down
  };
  std::vector<HeldEnds> held_;
  Listener listener_;
  bool stopping_ = false;
};

}  // namespace stele::daemons
