// SPDX-License-Identifier: Apache-2.0
// 16-bit floats, exactly, in portable code.
#pragma once

#include <cstdint>
#include <cstring>

namespace carat {

inline float BitsToFloat(uint32_t u) {
  float f;
  std::memcpy(&f, &u, 4);
  return f;
}
inline uint32_t FloatToBits(float f) {
  uint32_t u;
  std::memcpy(&u, &f, 4);
  return u;
}

inline float Bf16ToFloat(uint16_t h) { return BitsToFloat(uint32_t{h} << 16); }

// Round to nearest even; NaN stays NaN.
inline uint16_t FloatToBf16(float f) {
  const uint32_t u = FloatToBits(f);
  if ((u & 0x7FFFFFFF) > 0x7F800000) return static_cast<uint16_t>(u >> 16 | 0x40);
  return static_cast<uint16_t>((u + 0x7FFF + (u >> 16 & 1)) >> 16);
}

// IEEE binary16 with subnormals, infinities and NaN. No branches and one unconditional float
// operation, so that a loop over it becomes vector code.
inline float F16ToFloat(uint16_t h) {
  const uint32_t sign = (h & 0x8000u) << 16;
  const uint32_t magnitude = h & 0x7FFFu;
  // A subnormal gets the exponent of 2^-14, the place value of its missing leading one, which is
  // then subtracted. This never touches a subnormal float.
  const uint32_t one_exponent = magnitude < 0x400u ? 1u << 23 : 0u;
  const uint32_t leading_one = magnitude < 0x400u ? 113u << 23 : 0u;
  const uint32_t widened = (magnitude << 13) + (112u << 23) + one_exponent;
  const float finite = BitsToFloat(widened) - BitsToFloat(leading_one);
  const uint32_t special = magnitude >= 0x7C00u ? 0x7F800000u : 0u;
  return BitsToFloat(sign | FloatToBits(finite) | special);
}

// Round to nearest even; too large becomes infinity, NaN stays NaN.
uint16_t FloatToF16(float f);

}  // namespace carat
