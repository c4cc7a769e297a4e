// A trust policy: which logs, which witnesses, and how many of them make a checkpoint good (c2sp.org/tlog-policy).
//
//   log <vkey> [<url>]                      witness <name> <vkey> [<url>]
//   group <name> all|any|<k> <name>...      quorum <name>|none            exactly one; names are defined on earlier
//   lines
//
// Lines end in LF, items are parted by spaces and tabs, "#" begins a comment line. Names are octets without meaning
// outside the file. Keys: Ed25519 only (0x01 for logs, 0x04 for witnesses); a policy with another kind is refused
// rather than read as less than it says. Pure. Thread safety: none needed, value types.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "appliance/ledger/cosignature.h"

namespace stele::ledger {

inline constexpr std::size_t kPolicyBytesMax = std::size_t{256} * 1024;
inline constexpr std::size_t kPolicyItemsMax = 256;  // of logs, of witnesses, of groups; C2SP asks for at least 32

struct WitnessPolicy {
  struct Log {
    VerifyKey key;    // its name is the log's origin
    std::string url;  // empty where the policy gives none
  };
  struct Witness {
    std::string name;  // in this file; the key has its own
    CosignerKey key;
    std::string url;  // the submission prefix of c2sp.org/tlog-witness
  };
  struct Group {
    std::string name;
    std::size_t threshold = 1;
    std::vector<std::string> members;  // witnesses and earlier groups
  };
  std::vector<Log> logs;
  std::vector<Witness> witnesses;
  std::vector<Group> groups;
  std::string quorum;  // "none", or the name of a witness or a group

  // Whether these witnesses, by their names in this file, are enough.
  [[nodiscard]] bool QuorumMet(const std::set<std::string, std::less<>>& cosigned) const;
};

// kInvalid: the context begins with the number of the line that is wrong.
[[nodiscard]] Result<WitnessPolicy> ParseWitnessPolicy(std::string_view text);

struct WitnessReport {
  struct Seen {
    std::string name;                     // of the witness in the policy
    std::optional<std::uint64_t> time_s;  // when it cosigned; none: it did not
  };
  std::optional<std::size_t> log;  // which of the policy's logs signed; none only where the policy names no log
  std::vector<Seen> witnesses;     // all of the policy, in its order
  bool quorum_met = false;
};
// What a policy says of a checkpoint. kDenied: none of the policy's logs signed it under its own origin, or a line that
// claims to be by one of the policy's keys does not verify. A quorum that is not met is an answer, not an error.
[[nodiscard]] Result<WitnessReport> CheckWitnesses(const WitnessPolicy& policy, const Note& note);

}  // namespace stele::ledger
