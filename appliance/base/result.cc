#include "appliance/base/result.h"

#include <cerrno>
#include <cstring>

namespace stele {

tl::unexpected<Error> FailErrno(std::string context) {
  const int saved_errno = errno;
  context += ": ";
  context += std::strerror(saved_errno);  // NOLINT(concurrency-mt-unsafe)  // glibc's is thread-safe for known numbers
  return Fail(Code::kIo, std::move(context), static_cast<std::uint32_t>(saved_errno));
}

const char* CodeName(Code code) {
  switch (code) {
    case Code::kInvalid: return "invalid";
    case Code::kCorrupt: return "corrupt";
    case Code::kIo: return "io";
    case Code::kTpm: return "tpm";
    case Code::kUnavailable: return "unavailable";
    case Code::kDenied: return "denied";
    case Code::kNotFound: return "not found";
  }
  return "unknown";
}

std::string Describe(const Error& error) { return std::string(CodeName(error.code)) + ": " + error.context; }

}  // namespace stele
