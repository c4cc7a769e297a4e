// What an audit found: one stable word with its qualifiers, the first bad place, and every check with its result.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "appliance/base/bytes.h"
#include "appliance/evidence/event_log.h"

namespace stele::evidence {

enum class Outcome : std::uint8_t { kPassed, kFailed, kSkipped };

struct Check {
  std::string name;  // docs/format.md, "Evidence bundle", Checks
  Outcome outcome = Outcome::kSkipped;
  std::string detail;
  std::string word;   // failed: the verdict it gives
  std::string place;  // failed: where
};

// One register, replayed from the firmware's event log.
struct BootRegister {
  std::uint32_t pcr = 0;
  std::uint64_t events = 0;
  Hash value{};
  bool quoted = false;  // this is the value the TPM quoted
};

// What the witnesses of the auditor's policy signed.
struct Witnessed {
  std::uint64_t size = 0;  // of the cosigned checkpoint; 0: there is none
  bool judged = false;     // by a policy the auditor gave
  bool quorum = false;     // of cosignatures that are new enough
  struct Seen {
    std::string name;                     // in that policy
    std::optional<std::uint64_t> time_s;  // of the cosignature; none: it did not
    bool fresh = false;
  };
  std::vector<Seen> witnesses;
};

// What the bundle says, as far as it was read. Trustworthy where the verdict is good.
struct Facts {
  std::string log_id;  // hex
  std::string origin;
  std::string nonce;   // hex
  std::string vkey;
  std::string provisioning_key_sha256;  // of the DER SubjectPublicKeyInfo: what to compare a pin with over the telephone
  std::int64_t created_ns = 0;
  std::string selection_kind;
  std::string selection_text;
  bool scope_limited = false;
  bool payloads = false;
  std::uint64_t log_size = 0;   // claimed
  std::uint64_t size = 0;       // of the checkpoint
  Hash root{};
  std::uint64_t anchored_size = 0;
  std::uint64_t epoch = 0;   // counters, clocks and anchors are of this one
  std::uint64_t anchor = 0;
  std::uint64_t counter = 0;
  Hash index{};
  std::uint32_t reset_count = 0;
  std::uint32_t restart_count = 0;
  std::uint64_t clock_ms = 0;
  std::int64_t attested_wall_ns = 0;  // claimed
  std::string demand;
  std::string demand_text;
  std::uint64_t records = 0;
  std::uint64_t disclosed = 0;
  std::uint64_t first_sequence = 0;  // without entry 0, which is always there
  std::uint64_t last_sequence = 0;
  bool contiguous = false;
  std::int64_t first_wall_ns = 0;  // receive times, the box's clock
  std::int64_t last_wall_ns = 0;
  std::map<std::string, std::uint64_t> kinds;
  std::map<std::uint64_t, Hash> roots;    // of the tree at its marks and its size, as proven
  std::vector<AnchorEvent> anchors;       // as proven
  std::vector<std::pair<std::uint32_t, Hash>> pcrs;  // as quoted
  std::vector<BootRegister> boot_registers;          // PCR 0-7 as the boot event log gives them
  Witnessed witnessed;
  std::string verify_page_sha256;  // of the bundle's verify.html, hex: for comparison with a release's, never run
  bool software_tpm = false;
};

struct Report {
  std::string word = "CANNOT_TELL";
  std::vector<std::string> qualifiers;  // UNPINNED SOFTWARE_TPM GAP
  std::string place;
  std::string detail;
  std::vector<Check> checks;
  std::vector<std::string> unchecked;  // what nobody asked for, or the bundle cannot show
  Facts facts;

  [[nodiscard]] bool good() const { return word == "OK" || word == "OK_UNANCHORED_TAIL"; }
  // 0 good, 1 the answer is no, 3 cannot tell.
  [[nodiscard]] int exit_status() const { return good() ? 0 : word == "CANNOT_TELL" ? 3 : 1; }
  [[nodiscard]] std::string WordWithQualifiers() const;  // "OK (UNPINNED, SOFTWARE_TPM)"
  [[nodiscard]] const Check* Find(std::string_view name) const;
};

// What a good verdict means, and what it does not, in plain words.
[[nodiscard]] std::string StatementOf(const Report& report);

// One witness in words, for people; the time of a cosignature.
[[nodiscard]] std::string SeenText(const Witnessed::Seen& seen);
[[nodiscard]] std::string TimeOfCosignature(std::uint64_t time_s);

[[nodiscard]] nlohmann::json ReportJson(const Report& report);
[[nodiscard]] std::string ReportText(const Report& report);
// One self-contained page: no script, no network. `file` names what was audited.
[[nodiscard]] std::string ReportHtml(const Report& report, std::string_view file);

}  // namespace stele::evidence
