// A witness's answer as a file, for sites between which only files travel. The request is the body of add-checkpoint as
// it is.
//
//   answer := "stele-witness-answer/v1\n" "status " code "\n" reason? "\n" rest
//   reason := "reason " text "\n"           for people
//   rest   := with 200: the checkpoint as it was asked for, with the cosignature lines behind the log's own
//             with 409: the size the witness has, and a newline
#pragma once

#include <string>

#include "appliance/ledger/add_checkpoint.h"
#include "appliance/witness/witness.h"

namespace stele::witness {

struct AnswerFile {
  int status = 0;
  std::string reason;
  std::string cosigned_note;      // 200
  std::uint64_t latest_size = 0;  // 409
};
[[nodiscard]] std::string FormatAnswerFile(const AnswerFile& answer);
[[nodiscard]] Result<AnswerFile> ParseAnswerFile(std::string_view text);

// The answer of this witness to a request file. kIo: it could not be made durable; nothing was signed.
[[nodiscard]] Result<AnswerFile> AnswerRequestFile(Witness& witness, std::string_view request);

}  // namespace stele::witness
