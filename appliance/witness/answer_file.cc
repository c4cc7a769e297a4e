#include "appliance/witness/answer_file.h"

#include <array>
#include <charconv>

namespace stele::witness {
namespace {

constexpr std::string_view kMagic = "stele-witness-answer/v1\n";
constexpr std::string_view kStatus = "status ";
constexpr std::string_view kReason = "reason ";
constexpr std::array<int, 6> kStatuses = {200, 400, 403, 404, 409, 422};

bool IsLine(std::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20) return false;
  }
  return !text.empty();
}

bool Take(std::string_view& rest, std::string_view prefix) {
  if (rest.substr(0, prefix.size()) != prefix) return false;
  rest.remove_prefix(prefix.size());
  return true;
}

bool TakeLine(std::string_view& rest, std::string_view& line) {
  const std::size_t end = rest.find('\n');
  if (end == std::string_view::npos) return false;
  line = rest.substr(0, end);
  rest.remove_prefix(end + 1);
  return true;
}

}  // namespace

std::string FormatAnswerFile(const AnswerFile& answer) {
  std::string text = std::string(kMagic) + std::string(kStatus) + std::to_string(answer.status) + "\n";
  if (!answer.reason.empty()) text += std::string(kReason) + answer.reason + "\n";
  text += "\n";
  if (answer.status == 200) text += answer.cosigned_note;
  if (answer.status == 409) text += std::to_string(answer.latest_size) + "\n";
  return text;
}

Result<AnswerFile> ParseAnswerFile(std::string_view text) {
  const auto wrong = [](const char* what) { return Fail(Code::kInvalid, std::string("witness answer: ") + what); };
  if (text.size() > ledger::kAddCheckpointBytesMax + ledger::kNoteBytesMax) return wrong("too long");
  AnswerFile answer;
  std::string_view rest = text;
  std::string_view line;
  if (!Take(rest, kMagic) || !Take(rest, kStatus) || !TakeLine(rest, line)) return wrong("not one");
  for (const int status : kStatuses) {
    if (line == std::to_string(status)) answer.status = status;
  }
  if (answer.status == 0) return wrong("an unknown status");
  if (Take(rest, kReason)) {
    if (!TakeLine(rest, line) || !IsLine(line)) return wrong("the reason is not a line");
    answer.reason = std::string(line);
  }
  if (!TakeLine(rest, line) || !line.empty()) return wrong("no empty line");
  if (answer.status == 200) {
    STELE_TRY_VOID(ledger::ParseNote(rest));
    answer.cosigned_note = std::string(rest);
  } else if (answer.status == 409) {
    STELE_TRY(answer.latest_size, ledger::ParseTreeSize(rest));
  } else if (!rest.empty()) {
    return wrong("something behind it");
  }
  return answer;
}

Result<AnswerFile> AnswerRequestFile(Witness& witness, std::string_view request) {
  const Witness::Decided decided = witness.AddCheckpoint(request);
  if (!decided.problem.empty()) return Fail(Code::kIo, decided.problem);
  AnswerFile answer;
  answer.status = static_cast<int>(decided.decision.verdict);
  answer.reason = decided.decision.reason;
  answer.latest_size = decided.decision.latest_size;
  if (decided.decision.verdict == ledger::WitnessVerdict::kCosign) {
    STELE_TRY(const ledger::AddCheckpoint asked, ledger::ParseAddCheckpoint(request));
    answer.cosigned_note = asked.note + decided.lines;
  }
  return answer;
}

}  // namespace stele::witness
