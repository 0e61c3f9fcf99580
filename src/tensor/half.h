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

// IEEE binary16 with subnormals, infinities and NaN.
inline float F16ToFloat(uint16_t h) {
  const uint32_t sign = uint32_t{h & 0x8000u} << 16;
  const uint32_t exp = h >> 10 & 31, mant = h & 0x3FF;
  if (exp == 31) return BitsToFloat(sign | 0x7F800000 | mant << 13);
  if (exp == 0) {
    const float m = static_cast<float>(mant) * 0x1p-24f;
    return sign ? -m : m;
  }
  return BitsToFloat(sign | (exp + 112) << 23 | mant << 13);
}

// Round to nearest even; too large becomes infinity, NaN stays NaN.
uint16_t FloatToF16(float f);

}  // namespace carat
