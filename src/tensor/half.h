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

// IEEE binary16 with subnormals, infinities and NaN. All cases are computed and selected without a
// branch, so that a loop over it becomes vector code.
inline float F16ToFloat(uint16_t h) {
  const uint32_t sign = (h & 0x8000u) << 16;
  const uint32_t magnitude = h & 0x7FFFu;
  const uint32_t normal = (magnitude << 13) + (112u << 23);
  // Subnormals count units of 2^-24, which is the spacing of floats from 0.5 to 1: set the count
  // there and subtract 0.5, without ever touching a subnormal float.
  const uint32_t subnormal = FloatToBits(BitsToFloat(0x3F000000u | magnitude) - 0.5f);
  const uint32_t finite = magnitude < 0x400u ? subnormal : normal;
  const uint32_t special = magnitude >= 0x7C00u ? 0x7F800000u : 0u;
  return BitsToFloat(sign | finite | special);
}

// Round to nearest even; too large becomes infinity, NaN stays NaN.
uint16_t FloatToF16(float f);

}  // namespace carat
