// What a slow, failing or hostile TPM does to the commands it is given, as rules: the brain of the relay, without
// descriptors.
//
//   line     := "profile" ("slow-chip" | "none")       delays of a slow real chip, or none
//             | "delay" COMMAND MILLISECONDS            before the command is passed on
//             | ACT COMMAND [RC] ["times" N] ["after" N]
//             | "lack" COMMAND                          a TPM that does not have it, and says so when asked
//             | "clear"                                 no rules; delays and lacking commands stay
//             | "count" COMMAND                         how many came so far
//   ACT      := "answer"        RC in the TPM's place: the TPM never sees the command
//             | "drop-command"  the TPM never sees it, nobody answers: the caller times out
//             | "drop-reply"    the TPM executes it, nobody answers
//             | "cut-before"    the connection ends before the TPM sees it
//             | "cut-after"     the TPM executes it, then the connection ends
//   COMMAND  := "any" | "nv" (NV_Extend and NV_Increment) | a name of TPM 2.0 Part 2, table "TPM_CC", without prefix
//   RC       := NV_RATE | LOCKOUT | RETRY | NV_UNAVAILABLE | 0x...
//   times    for so many commands, for ever unless given;  after: so many matching commands pass first
//
// The first rule that matches acts. Thread safety: all methods may be called from any thread; the two hooks are set
// while no command is under way.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "appliance/base/bytes.h"
#include "appliance/base/result.h"

namespace stele::tpm::test {

inline constexpr std::uint32_t kCcNvIncrement = 0x134;
inline constexpr std::uint32_t kCcNvExtend = 0x136;
inline constexpr std::uint32_t kCcNvRead = 0x14e;
inline constexpr std::uint32_t kCcQuote = 0x158;
inline constexpr std::uint32_t kCcReadPublic = 0x173;
inline constexpr std::uint32_t kCcGetCapability = 0x17a;
inline constexpr std::uint32_t kCcPcrRead = 0x17e;
inline constexpr std::uint32_t kCcPcrExtend = 0x182;
inline constexpr std::uint32_t kCcNvCertify = 0x184;

enum class Act : std::uint8_t { kPass, kAnswer, kDropCommand, kDropReply, kCutBefore, kCutAfter };

struct Rule {
  Act act = Act::kPass;
  std::vector<std::uint32_t> commands;  // empty: any
  std::uint32_t answer = 0;
  std::uint64_t after = 0;
  std::uint64_t times = UINT64_MAX;
};

// What becomes of one command.
struct Plan {
  std::chrono::milliseconds delay{0};
  Act act = Act::kPass;
  std::uint32_t answer = 0;
};

class Meddling {
 public:
  Meddling() = default;
  Meddling(const Meddling&) = delete;
  Meddling& operator=(const Meddling&) = delete;

  // One line of the language above; what to say to whoever wrote it. kInvalid names what is wrong.
  Result<std::string> Obey(std::string_view line);
  void Add(Rule rule);
  void Clear();
  [[nodiscard]] int Count(std::uint32_t command) const;  // of this code that came; 0: of all

  [[nodiscard]] bool Lacks(std::uint32_t command) const;

  // Counts a command and says what becomes of it.
  [[nodiscard]] Plan Next(std::uint32_t command);

  // An answer in the TPM's place (empty: nobody answers), and a change of the TPM's answer.
  std::function<std::optional<Bytes>(std::uint32_t code, const Bytes& command)> instead;
  std::function<void(std::uint32_t code, Bytes& answer)> change;

 private:
  mutable std::mutex mutex_;
  std::vector<Rule> rules_;
  std::map<std::uint32_t, std::chrono::milliseconds> delays_;
  std::map<std::uint32_t, int> counts_;
  std::vector<std::uint32_t> lacking_;
  int count_ = 0;
};

[[nodiscard]] std::string NameOfCommand(std::uint32_t code);
[[nodiscard]] std::string_view NameOfAct(Act act);

}  // namespace stele::tpm::test
