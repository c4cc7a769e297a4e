#include "tests/relay/relay.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

#include "appliance/base/text.h"
#include "tpm/tcti_fd.h"

namespace stele::tpm::test {
namespace {

using SteadyClock = std::chrono::steady_clock;

std::uint32_t BigAt(const Bytes& bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value = (value << 8) | std::to_integer<std::uint32_t>(bytes[at + i]);
  return value;
}

bool ReadExactly(int fd, std::byte* out, std::size_t size) {
  while (size > 0) {
    const ssize_t got = ::read(fd, out, size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    out += got;
    size -= static_cast<std::size_t>(got);
  }
  return true;
}

// Commands and responses alike begin with tag:u16 size:u32 code:u32 (TPM 2.0 Library, Part 1, section 18).
bool ReadMessage(int fd, Bytes& out) {
  out.resize(kHeaderBytes);
  if (!ReadExactly(fd, out.data(), kHeaderBytes)) return false;
  const std::size_t size = BigAt(out, 2);
  if (size < kHeaderBytes || size > kResponseBytesMax) return false;
  out.resize(size);
  return ReadExactly(fd, out.data() + kHeaderBytes, size - kHeaderBytes);
}

bool WriteMessage(int fd, const Bytes& bytes) {
  return ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
}

// What a TPM without a command says to it, and to TPM2_GetCapability(TPM_CAP_COMMANDS, the command): no list begins
// there.
std::optional<Bytes> AnswerOfLacking(const Meddling& meddling, std::uint32_t code, const Bytes& command) {
  constexpr std::uint32_t kRcCommandCode = 0x143;
  constexpr std::uint32_t kCapCommands = 2;
  if (meddling.Lacks(code)) return ErrorAnswer(kRcCommandCode);
  const bool asks =
      code == kCcGetCapability && command.size() == kHeaderBytes + 12 && BigAt(command, 10) == kCapCommands;
  if (!asks || !meddling.Lacks(BigAt(command, 14))) return std::nullopt;
  return ParseHex(
      "80010000001300000000"
      "00"
      "00000002"
      "00000000");
}

bool ReachesTpm(Act act) { return act == Act::kPass || act == Act::kDropReply || act == Act::kCutAfter; }

}  // namespace

PumpEnd Pump(int caller_fd, int tpm_fd, Meddling& meddling, const std::function<void(const Exchange&)>& record) {
  Bytes command;
  Bytes answer;
  while (ReadMessage(caller_fd, command)) {
    const auto begin = SteadyClock::now();
    const std::uint32_t code = BigAt(command, 6);
    const Plan plan = meddling.Next(code);
    answer.clear();
    if (plan.act != Act::kCutBefore) std::this_thread::sleep_for(plan.delay);
    if (plan.act == Act::kAnswer) answer = ErrorAnswer(plan.answer);
    if (ReachesTpm(plan.act)) {
      std::optional<Bytes> own = meddling.instead ? meddling.instead(code, command) : std::nullopt;
      if (!own) own = AnswerOfLacking(meddling, code, command);
      if (own) {
        answer = *own;
      } else {
        if (!WriteMessage(tpm_fd, command) || !ReadMessage(tpm_fd, answer)) return PumpEnd::kTpmLeft;
        if (meddling.change) meddling.change(code, answer);
      }
    }
    if (plan.act == Act::kDropReply || plan.act == Act::kCutAfter) answer.clear();
    if (record) {
      const auto spent = SteadyClock::now() - begin;
      record({code, plan.act, std::chrono::duration_cast<std::chrono::microseconds>(spent).count(), &command, &answer});
    }
    if (plan.act == Act::kCutBefore || plan.act == Act::kCutAfter) return PumpEnd::kCut;
    if (!answer.empty() && !WriteMessage(caller_fd, answer)) return PumpEnd::kCallerLeft;
  }
  return PumpEnd::kCallerLeft;
}

Bytes ErrorAnswer(std::uint32_t rc) {
  Bytes out = *ParseHex("80010000000a00000000");
  for (std::size_t i = 0; i < 4; ++i) out[6 + i] = static_cast<std::byte>(rc >> (24 - 8 * i));
  return out;
}

}  // namespace stele::tpm::test
