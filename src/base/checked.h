// SPDX-License-Identifier: Apache-2.0
// Arithmetic on sizes that come from files: false (and an undefined result) on overflow.
#pragma once

#include <cstdint>

namespace carat {

[[nodiscard]] inline bool CheckedAdd(uint64_t a, uint64_t b, uint64_t* out) {
  return !__builtin_add_overflow(a, b, out);
}
[[nodiscard]] inline bool CheckedMul(uint64_t a, uint64_t b, uint64_t* out) {
  return !__builtin_mul_overflow(a, b, out);
}
// Smallest multiple of `align` (a power of two) that is >= x.
[[nodiscard]] inline bool CheckedRoundUp(uint64_t x, uint64_t align, uint64_t* out) {
  uint64_t sum;
  if (!CheckedAdd(x, align - 1, &sum)) return false;
  *out = sum & ~(align - 1);
  return true;
}

}  // namespace carat
