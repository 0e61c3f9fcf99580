// SPDX-License-Identifier: Apache-2.0
// Errors as values. Everything that can fail because of a file, a network or a user returns
// Result<T>; a bug of our own is CARAT_CHECK (base/check.h).
#pragma once

#include <fmt/core.h>

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace carat {

enum class Code {
  kInternal,         // our fault
  kInvalidArgument,  // the caller's request makes no sense (flags, shapes, options)
  kBadFile,          // a file is malformed or does not fit its own description
  kNoMemory,         // the memory plan does not fit
  kNotFound,         // no such file or model
  kOffline,          // needed from the network and not to be had
  kCancelled,        // stopped on request
};

// `message` names file, field, expected and found, on one line.
struct Error {
  Code code = Code::kInternal;
  std::string message;
};

template <class T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

// The program's exit status for an error: 1 internal, 2 usage, 3 bad file, 4 memory,
// 5 not found or offline, 130 interrupted.
int ExitCode(Code code);

// "bad file", "not found", ...: for messages and JSON.
const char* CodeName(Code code);

inline tl::unexpected<Error> MakeError(Code code, std::string message) {
  return tl::unexpected<Error>(Error{code, std::move(message)});
}
template <class... A>
tl::unexpected<Error> Internal(fmt::format_string<A...> f, A&&... a) {
  return MakeError(Code::kInternal, fmt::format(f, std::forward<A>(a)...));
}
template <class... A>
tl::unexpected<Error> InvalidArgument(fmt::format_string<A...> f, A&&... a) {
  return MakeError(Code::kInvalidArgument, fmt::format(f, std::forward<A>(a)...));
}
template <class... A>
tl::unexpected<Error> BadFile(fmt::format_string<A...> f, A&&... a) {
  return MakeError(Code::kBadFile, fmt::format(f, std::forward<A>(a)...));
}
template <class... A>
tl::unexpected<Error> NoMemory(fmt::format_string<A...> f, A&&... a) {
  return MakeError(Code::kNoMemory, fmt::format(f, std::forward<A>(a)...));
}
template <class... A>
tl::unexpected<Error> NotFound(fmt::format_string<A...> f, A&&... a) {
  return MakeError(Code::kNotFound, fmt::format(f, std::forward<A>(a)...));
}
template <class... A>
tl::unexpected<Error> Offline(fmt::format_string<A...> f, A&&... a) {
  return MakeError(Code::kOffline, fmt::format(f, std::forward<A>(a)...));
}
inline tl::unexpected<Error> Cancelled() { return MakeError(Code::kCancelled, "cancelled"); }

}  // namespace carat

#define CARAT_CONCAT_INNER(a, b) a##b
#define CARAT_CONCAT(a, b) CARAT_CONCAT_INNER(a, b)

// Returns the error of a Status or Result expression from the enclosing function.
#define CARAT_RETURN_IF_ERROR(expr)                                              \
  do {                                                                           \
    auto&& carat_status = (expr);                                                \
    if (!carat_status) return ::tl::unexpected(std::move(carat_status.error())); \
  } while (0)

// CARAT_ASSIGN_OR_RETURN(auto x, MakeX()): x gets the value, or the error is returned.
#define CARAT_ASSIGN_OR_RETURN(lhs, expr) \
  CARAT_ASSIGN_OR_RETURN_INNER(CARAT_CONCAT(carat_result_, __LINE__), lhs, expr)
#define CARAT_ASSIGN_OR_RETURN_INNER(tmp, lhs, expr)         \
  auto tmp = (expr);                                         \
  if (!tmp) return ::tl::unexpected(std::move(tmp.error())); \
  lhs = std::move(*tmp)
