// Errors are values: Result<T> over tl::expected. Callers branch on the Code; the context is for people.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace stele {

enum class Code : std::uint8_t {
  kInvalid,      // a peer's bytes are wrong: count it, go on
  kCorrupt,      // our own bytes are wrong: stop writing, alarm
  kIo,           // the operating system said no; `detail` is errno
  kTpm,          // the TPM said no; `detail` is the TSS2_RC
  kUnavailable,  // not now; retry later
  kDenied,       // policy says no
  kNotFound,     // there is no such thing
};

struct Error {
  Code code = Code::kInvalid;
  std::string context;       // one clause for a person: what was attempted, on what
  std::uint32_t detail = 0;  // errno or TSS2_RC, 0 where neither applies
};

template <typename T>
using Result = tl::expected<T, Error>;

[[nodiscard]] inline tl::unexpected<Error> Fail(Code code, std::string context, std::uint32_t detail = 0) {
  return tl::unexpected<Error>(Error{code, std::move(context), detail});
}
[[nodiscard]] tl::unexpected<Error> FailErrno(std::string context);  // kIo with the current errno and its text

[[nodiscard]] const char* CodeName(Code code);
[[nodiscard]] std::string Describe(const Error& error);  // "io: open /x: No such file or directory"

}  // namespace stele

#define STELE_CONCAT_INNER(a, b) a##b
#define STELE_CONCAT(a, b) STELE_CONCAT_INNER(a, b)

// NOLINTBEGIN(bugprone-macro-parentheses)  // a name and a declaration cannot stand in parentheses
// STELE_TRY(const auto record, ParseRecord(bytes)); binds the value or returns the error from the enclosing function.
#define STELE_TRY(declaration, expression) STELE_TRY_INNER(STELE_CONCAT(stele_try_, __LINE__), declaration, expression)
#define STELE_TRY_INNER(name, declaration, expression)        \
  auto name = (expression);                                   \
  if (!name) return tl::unexpected(std::move(name.error()));  \
  declaration = std::move(*name)
// NOLINTEND(bugprone-macro-parentheses)

// The same for Result<void>.
#define STELE_TRY_VOID(expression)                                     \
  do {                                                                 \
    auto stele_try_void = (expression);                                \
    if (!stele_try_void) return tl::unexpected(std::move(stele_try_void.error())); \
  } while (false)

// For programmer errors only, compiled in always. Hostile input is never a CHECK.
#define STELE_CHECK(condition)                                                                   \
  do {                                                                                           \
    if (!(condition)) [[unlikely]] {                                                             \
      std::fprintf(stderr, "%s:%d: check failed: %s\n", __FILE__, __LINE__, #condition);         \
      std::abort();                                                                              \
    }                                                                                            \
  } while (false)
