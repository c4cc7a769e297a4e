// The guard's loop: one change at a time, each first an entry, then rules; and an eye on whoever else changes them.
// Not thread-safe; the caller's thread is the only one.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "appliance/base/seams.h"
#include "appliance/channel/long_message.h"
#include "appliance/channel/policy_messages.h"
#include "netfilter/guard/change.h"
#include "netfilter/guard/drift.h"
#include "netfilter/guard/kept_policy.h"
#include "netfilter/guard/log_link.h"
#include "netfilter/guard/places.h"
#include "netfilter/guard/requests.h"

namespace stele::guard {

struct Settings {
  std::filesystem::path dir;  // of the guard's own files
  Rules rules;
  std::string configured;         // the policy of stele.toml as text
  bool applies_at_start = false;  // a start makes it the one in force, as a change like any other
};
// {"dir","log_id","restore","at_start","approvals","approvers":[{"name","public_key"}],"policy"}: docs/processes.md.
// kInvalid.
[[nodiscard]] Result<Settings> ParseSettings(const std::string& configuration_json);

// Before anything listens: the kept policy is put in place. What differed, where a table was there at all, is kept for
// the log. Nothing is kept: nothing is done.
[[nodiscard]] Result<void> ApplyKept(const Settings& settings, Places& places);

class Service {
 public:
  Service(Settings settings, Places places, UniqueFd control, std::string report_json, Clock& clock, Entropy& entropy);

  void UseLedger(UniqueFd fd) { log_.Use(std::move(fd)); }
  void UseListener(UniqueFd fd) { listener_ = std::move(fd); }
  // Until the supervisor says stop or is gone. An error: what is here cannot be kept; a fresh start may.
  [[nodiscard]] Result<void> Run();

 private:
  struct Client {
    UniqueFd fd;
    channel::LongMessage message{channel::kPolicyRequestPart, channel::kPolicyRequest, limits::kPolicyRequestBytes};
    std::string who;
    std::int64_t since_ns = 0;
    bool asked = false;
  };
  struct Pending {  // a change whose entry is on its way
    Change change;
    std::vector<std::string> warnings;
    std::uint64_t entry_id = 0;
    std::uint64_t client = 0;  // 0: nobody asked, a start did
    std::int64_t deadline_ns = 0;
  };

  Result<void> Begin();
  Result<void> BeginWithKept(InForce kept);
  Result<void> BeginFirst();
  Result<void> Tick();
  [[nodiscard]] int WaitMs() const;
  Result<void> Poll();

  // The supervisor and the ledger.
  bool ReadControl();
  Result<void> HandleOutcomes();
  void Alarm(const std::string& payload);
  void TellStatus();
  void CompareConfigured();
  bool ApplyConfigured();
  Result<void> SayReady();

  // Clients.
  void Accept();
  void ReadClient(std::uint64_t id);
  void Show(std::uint64_t id);
  void Apply(std::uint64_t id, const nlohmann::json& request);
  void Answer(std::uint64_t id, const nlohmann::json& answer);

  // Changes.
  void StartChange(std::uint64_t client, Verdict verdict);
  Result<void> Carry(std::uint64_t sequence);
  Result<void> Carried(const InForce& after);
  void GiveUp(const std::string& reason, bool unknown);

  // Other people's changes.
  Result<void> ReadChanges(bool own);
  void Look();
  void Observe(const guard::Look& look);

  Settings settings_;
  Places places_;
  UniqueFd control_;
  std::string report_json_;
  Clock& clock_;
  Entropy& entropy_;
  KeptPolicy kept_;
  LogLink log_;
  UniqueFd listener_;
  std::map<std::uint64_t, Client> clients_;
  std::uint64_t next_client_ = 1;
  std::string coming_configuration_;  // its parts so far

  InForce in_force_;
  std::string ruleset_;  // of the policy in force
  std::optional<Pending> pending_;
  bool ready_ = false;
  std::int64_t first_again_ns_ = 0;
  bool start_is_done_ = false;     // stele.toml's policy is in force, or may not be, or a start changes none
  std::uint64_t found_entry_ = 0;  // of what differed at the start, while it is on its way
  std::string unapplied_told_;     // digest of a policy of stele.toml that is not in force
  nlohmann::json last_change_;     // for the status: {"result","digest","text","time"}

  std::string own_name_;  // of this process, as the kernel tells others
  DriftTracker tracker_;
  std::vector<netfilter::RulesChange> suspects_;
  bool look_due_ = false;
  std::int64_t next_look_ns_ = 0;
  unsigned failed_restores_ = 0;  // in a row

  nlohmann::json drops_ = nlohmann::json::array();
  std::int64_t next_count_ns_ = 0;
  std::int64_t next_status_ns_ = 0;
  std::string status_told_;
  bool stopping_ = false;
};

}  // namespace stele::guard
