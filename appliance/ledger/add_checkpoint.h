// The request of a log to a witness, and what the witness decides (c2sp.org/tlog-witness, add-checkpoint).
//
//   body   := "old " size "\n" (base64(hash) "\n"){0,63} "\n" note         size decimal without leading zeroes
//   answer := 200 and cosignature lines | 409 and size "\n" | another status and a word for people
//
// The decision is a function of the request and of what was last cosigned; the caller makes the new state durable
// before the answer leaves, and lets no second request for this origin in between. Pure. Thread safety: none needed,
// value types.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "appliance/ledger/note.h"

namespace stele::ledger {

inline constexpr std::size_t kConsistencyHashesMax = 63;
inline constexpr std::size_t kAddCheckpointBytesMax = kNoteBytesMax + 32 + kConsistencyHashesMax * 45;

struct AddCheckpoint {
  std::uint64_t old_size = 0;
  std::vector<Hash> proof;  // RFC 6962 section 2.1.2, from old_size to the size in the note
  std::string note;         // with every signature it came with
};
[[nodiscard]] std::string FormatAddCheckpoint(const AddCheckpoint& request);
// kInvalid unless the text is exactly what FormatAddCheckpoint makes of the result and the note has the form of one.
[[nodiscard]] Result<AddCheckpoint> ParseAddCheckpoint(std::string_view body);

// What the witness last cosigned of one log.
struct WitnessedHead {
  std::uint64_t size = 0;
  Hash root = EmptyTreeHash();
};

enum class WitnessVerdict : std::uint16_t {  // each is the HTTP status of its answer
  kCosign = 200,
  kMalformed = 400,
  kNotSigned = 403,
  kUnknownLog = 404,
  kConflict = 409,
  kInconsistent = 422,
};
struct WitnessDecision {
  WitnessVerdict verdict = WitnessVerdict::kMalformed;
  std::string reason;             // for people; empty with kCosign
  Checkpoint checkpoint;          // what was asked for; not set with kMalformed
  std::string text;               // with kCosign: the note text to cosign
  std::uint64_t latest_size = 0;  // with kConflict: what the witness has
};
// `head_of` gives what was last cosigned of a log in `logs` (size 0: nothing); it is asked at most once.
using HeadOf = std::function<WitnessedHead(const std::string& origin)>;
[[nodiscard]] WitnessDecision DecideAddCheckpoint(std::string_view body, const std::vector<VerifyKey>& logs,
                                                  const HeadOf& head_of);

// What a client makes of the body of a 409: the size the witness has. kInvalid: not a decimal number and a newline.
[[nodiscard]] Result<std::uint64_t> ParseTreeSize(std::string_view body);

}  // namespace stele::ledger
