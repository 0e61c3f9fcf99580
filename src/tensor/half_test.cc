// SPDX-License-Identifier: Apache-2.0
#include "tensor/half.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>

namespace carat {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

// The value of a finite binary16 from its definition.
double F16Value(uint16_t h) {
  const int exponent = h >> 10 & 31, mantissa = h & 0x3FF;
  const double magnitude =
      exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return h & 0x8000 ? -magnitude : magnitude;
}

TEST(F16, EveryValueWidensExactlyAndReturns) {
  for (uint32_t u = 0; u < 65536; ++u) {
    const auto h = static_cast<uint16_t>(u);
    const float f = F16ToFloat(h);
    if ((h & 0x7FFF) > 0x7C00) {
      EXPECT_TRUE(std::isnan(f)) << u;
      EXPECT_TRUE(std::isnan(F16ToFloat(FloatToF16(f)))) << u;
      continue;
    }
    if ((h & 0x7FFF) == 0x7C00) {
      ASSERT_EQ(f, h & 0x8000 ? -kInf : kInf);
    } else {
      ASSERT_EQ(static_cast<double>(f), F16Value(h)) << u;
    }
    ASSERT_EQ(std::signbit(f), (h & 0x8000) != 0) << u;
    ASSERT_EQ(FloatToF16(f), h) << u;
  }
}

TEST(F16, RoundsToNearestAndTiesToEven) {
  // Between every two neighbours: the middle goes to the even one, the floats beside it to the
  // nearer one. The last step, from 65504, is the one to infinity.
  for (uint32_t h = 0; h < 0x7C00; ++h) {
    const auto low = static_cast<uint16_t>(h), high = static_cast<uint16_t>(h + 1);
    const double above = high == 0x7C00 ? 65536.0 : F16Value(high);
    const auto middle = static_cast<float>((F16Value(low) + above) / 2);
    ASSERT_EQ(FloatToF16(middle), h % 2 == 0 ? low : high) << h;
    ASSERT_EQ(FloatToF16(std::nextafter(middle, 0.0f)), low) << h;
    ASSERT_EQ(FloatToF16(std::nextafter(middle, kInf)), high) << h;
    ASSERT_EQ(FloatToF16(-middle), 0x8000 | (h % 2 == 0 ? low : high)) << h;
  }
}

TEST(F16, ExtremesOverflowOrVanish) {
  EXPECT_EQ(FloatToF16(65504.0f), 0x7BFF);
  EXPECT_EQ(FloatToF16(65519.996f), 0x7BFF);
  EXPECT_EQ(FloatToF16(65520.0f), 0x7C00);
  EXPECT_EQ(FloatToF16(3e38f), 0x7C00);
  EXPECT_EQ(FloatToF16(-3e38f), 0xFC00);
  EXPECT_EQ(FloatToF16(kInf), 0x7C00);
  EXPECT_EQ(FloatToF16(0x1p-24f), 0x0001);
  EXPECT_EQ(FloatToF16(0x1p-25f), 0x0000);
  EXPECT_EQ(FloatToF16(-0x1p-149f), 0x8000);
  EXPECT_EQ(FloatToF16(0x1.ffcp-15f), 0x0400);  // the largest subnormal, rounded up into a normal
}

TEST(F16, NanStaysNanWithItsSign) {
  // Payloads whose kept bits are all zero must not turn into infinity.
  for (uint32_t bits : {0x7F800001u, 0x7F801FFFu, 0x7FC00000u, 0x7FFFFFFFu}) {
    for (uint32_t sign : {0u, 0x80000000u}) {
      const uint16_t h = FloatToF16(BitsToFloat(bits | sign));
      EXPECT_GT(h & 0x7FFF, 0x7C00) << bits;
      EXPECT_EQ(h >> 15, sign >> 31) << bits;
    }
  }
}

TEST(Bf16, EveryValueReturns) {
  for (uint32_t u = 0; u < 65536; ++u) {
    const auto h = static_cast<uint16_t>(u);
    const float f = Bf16ToFloat(h);
    ASSERT_EQ(FloatToBits(f), u << 16);
    if (std::isnan(f)) {
      ASSERT_GT(FloatToBf16(f) & 0x7FFF, 0x7F80) << u;
    } else {
      ASSERT_EQ(FloatToBf16(f), h) << u;
    }
  }
}

TEST(Bf16, RoundsToNearestAndTiesToEven) {
  EXPECT_EQ(FloatToBf16(BitsToFloat(0x3F808000)), 0x3F80);
  EXPECT_EQ(FloatToBf16(BitsToFloat(0x3F808001)), 0x3F81);
  EXPECT_EQ(FloatToBf16(BitsToFloat(0x3F818000)), 0x3F82);
  EXPECT_EQ(FloatToBf16(BitsToFloat(0x3F817FFF)), 0x3F81);
  EXPECT_EQ(FloatToBf16(BitsToFloat(0xBF818000)), 0xBF82);
  EXPECT_EQ(FloatToBf16(BitsToFloat(0x7F7FFFFF)), 0x7F80);  // rounds up to infinity
  EXPECT_EQ(FloatToBf16(BitsToFloat(0x00008000)), 0x0000);
  EXPECT_EQ(FloatToBf16(BitsToFloat(0x7F800001)), 0x7FC0);
}

}  // namespace
}  // namespace carat
