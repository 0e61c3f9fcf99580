// SPDX-License-Identifier: Apache-2.0
// CARAT_CHECK(condition): our own invariants. A failure is a bug and aborts with file and line;
// input from outside never goes through here (base/result.h).
#pragma once

namespace carat {
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition);
}

#define CARAT_CHECK(condition) \
  ((condition) ? (void)0 : ::carat::CheckFailed(__FILE__, __LINE__, #condition))
