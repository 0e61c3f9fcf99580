// SPDX-License-Identifier: Apache-2.0
#include "tensor/half.h"

namespace carat {

uint16_t FloatToF16(float f) {
  const uint32_t bits = FloatToBits(f);
  const uint32_t sign = bits >> 16 & 0x8000;
  const uint32_t magnitude = bits & 0x7FFFFFFF;
  if (magnitude > 0x7F800000) {  // NaN: keep the upper payload, and stay a NaN if that is zero
    return static_cast<uint16_t>(sign | 0x7E00 | (magnitude >> 13 & 0x3FF));
  }
  // 65520 lies halfway between the largest binary16 and the next power of two: it and all above
  // round to infinity.
  if (magnitude >= 0x477FF000) return static_cast<uint16_t>(sign | 0x7C00);
  if (magnitude < 0x38800000) {
    // Below 2^-14 the result is a multiple of 2^-24. In [0.5, 1) floats are spaced by just that,
    // so adding 0.5 lets the hardware round, and the mantissa is the result.
    const float shifted = BitsToFloat(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (FloatToBits(shifted) - 0x3F000000));
  }
  // Nearest even on the 13 bits that go; a carry into the exponent is right as it is.
  const uint32_t rounded = magnitude + 0xFFF + (magnitude >> 13 & 1);
  return static_cast<uint16_t>(sign | ((rounded >> 13) - (112 << 10)));
}

}  // namespace carat
