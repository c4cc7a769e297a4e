// The client half of tlog-witness: one round takes the newest checkpoint to every witness of the policy and keeps what
// they sign. A witness that refuses because our history does not continue what it saw is the alarm this exists for:
// either this log was rolled back or forked, or somebody else signs with its key. Thread safety: none.
#pragma once

#include <functional>
#include <map>
#include <set>

#include "appliance/base/seams.h"
#include "appliance/witness/cosigned.h"
#include "appliance/witness/http.h"

namespace stele::witness {

// The log as the courier sees it: stele-query answers.
class LogSource {
 public:
  virtual ~LogSource() = default;
  [[nodiscard]] virtual Result<std::string> NewestCheckpoint() = 0;  // the signed note; kNotFound: none yet
  [[nodiscard]] virtual Result<std::vector<Hash>> Consistency(std::uint64_t from, std::uint64_t to) = 0;
};

// Posts a body to a witness of the policy, by its index. kNotFound: it has no address.
using PostTo = std::function<Result<HttpAnswer>(std::size_t witness, const std::string& body)>;

enum class WitnessState : std::uint8_t {
  kUnknown,      // not asked yet
  kByFile,       // the policy gives no address: requests travel as files
  kCosigned,     // it has signed the newest checkpoint we asked it for
  kUnreachable,  // no connection, no answer, or none that makes sense
  kRefused,      // 400, 403, 404: it does not know this log or this key
  kForked,       // what it saw before is no part of this log
};
[[nodiscard]] const char* StateName(WitnessState state);

struct CourierAlarm {
  std::string name;  // witness_fork, witness_quorum
  std::string text;
};

class Courier {
 public:
  // A quorum older than `quorum_max_age_s` is alarmed once.
  Courier(Cosigned cosigned, LogSource& source, PostTo post, Clock& clock, std::int64_t quorum_max_age_s);

  // Alarms are new ones. An error: the log could not be asked; nothing was sent, and a refusal left by file waits.
  [[nodiscard]] Result<std::vector<CourierAlarm>> Round();

  // {"quorum":{"met":bool,"size":N,"time":"..."},"witnesses":[{"name","state","size","time","text"}]}
  [[nodiscard]] std::string StatusJson();

 private:
  struct Standing {
    WitnessState state = WitnessState::kUnknown;
    std::string text;  // why not, for people
  };
  void Ask(std::size_t witness, const std::string& note, const ledger::Checkpoint& checkpoint);
  [[nodiscard]] Result<HttpAnswer> Submit(std::size_t witness, const std::string& note, std::uint64_t old_size,
                                          std::uint64_t size);
  void Take(std::size_t witness, const std::string& note, const HttpAnswer& answer);
  void Set(std::size_t witness, WitnessState state, std::string text);
  [[nodiscard]] std::vector<CourierAlarm> NewAlarms();
  void TakeRefusalFile(std::vector<CourierAlarm>& alarms);

  Cosigned cosigned_;
  LogSource& source_;
  PostTo post_;
  Clock& clock_;
  std::int64_t quorum_max_age_s_;
  std::int64_t started_s_;
  std::vector<Standing> standings_;
  std::map<std::size_t, std::uint64_t> old_sizes_;  // what a witness said it has, where we have no note of it
  std::map<std::size_t, std::uint64_t> signed_sizes_;
  std::set<std::size_t> fork_alarmed_;
  bool quorum_alarmed_ = false;
  std::optional<std::string> file_alarmed_;  // the refusal by file that was alarmed last
};

}  // namespace stele::witness
