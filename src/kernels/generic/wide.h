// SPDX-License-Identifier: Apache-2.0
// 16 floats as one, two or four vectors of vec.h: the fast mode kernels have the same lanes on
// every instruction set, and a block of the KV cache is as wide. Only IEEE operations are used, so
// instruction sets with a fused multiply-add agree with each other bit for bit.
#pragma once

#include "kernels/generic/vec.h"

namespace carat {
namespace {

constexpr int kWide = 16;
constexpr int kParts = kWide / kLanes;

struct Wide {
  Vec part[kParts];
};

// How many of its elements an operation on memory touches: all, or the first n < 16. Elements that
// are not loaded are 0.
struct All {};
struct First {
  int n;
};

#define CARAT_EACH_PART for (int i = 0; i < kParts; ++i)

inline Wide SetW(float x) {
  Wide r;
  CARAT_EACH_PART r.part[i] = Set1(x);
  return r;
}
inline Wide LoadW(const float* p, All = {}) {
  Wide r;
  CARAT_EACH_PART r.part[i] = Load(p + i * kLanes);
  return r;
}
inline Wide LoadW(const float* p, First f) {
  float all[kWide] = {};
  std::memcpy(all, p, static_cast<size_t>(f.n) * sizeof(float));
  return LoadW(all);
}
inline void StoreW(float* p, const Wide& a, All = {}) {
  CARAT_EACH_PART Store(p + i * kLanes, a.part[i]);
}
inline void StoreW(float* p, const Wide& a, First f) {
  float all[kWide];
  StoreW(all, a);
  std::memcpy(p, all, static_cast<size_t>(f.n) * sizeof(float));
}
// IEEE halves.
inline Wide LoadHalfW(const uint16_t* p, All = {}) {
  Wide r;
  CARAT_EACH_PART r.part[i] = LoadF16(p + i * kLanes);
  return r;
}
inline Wide LoadHalfW(const uint16_t* p, First f) {
  uint16_t all[kWide] = {};
  std::memcpy(all, p, static_cast<size_t>(f.n) * sizeof(uint16_t));
  return LoadHalfW(all);
}

#define CARAT_WIDE_OP(NAME)                                 \
  inline Wide NAME(const Wide& a, const Wide& b) {          \
    Wide r;                                                 \
    CARAT_EACH_PART r.part[i] = NAME(a.part[i], b.part[i]); \
    return r;                                               \
  }
CARAT_WIDE_OP(Add)
CARAT_WIDE_OP(Sub)
CARAT_WIDE_OP(Mul)
CARAT_WIDE_OP(Div)
CARAT_WIDE_OP(Min)  // the second where the first is NaN
CARAT_WIDE_OP(Max)
#undef CARAT_WIDE_OP

inline Wide Fma(const Wide& a, const Wide& b, const Wide& c) {  // a b + c
  Wide r;
  CARAT_EACH_PART r.part[i] = Fma(a.part[i], b.part[i], c.part[i]);
  return r;
}
inline Wide Abs(const Wide& a) {
  Wide r;
  CARAT_EACH_PART r.part[i] = Abs(a.part[i]);
  return r;
}
inline Wide Round(const Wide& a) {
  Wide r;
  CARAT_EACH_PART r.part[i] = Round(a.part[i]);
  return r;
}
inline Wide Exp2Int(const Wide& n) {
  Wide r;
  CARAT_EACH_PART r.part[i] = Exp2Int(n.part[i]);
  return r;
}

#if defined(__AVX512F__)
inline Vec IfLess(Vec a, Vec b, Vec x, Vec y) {
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), y.v, x.v)};
}
inline Vec CopySign(Vec a, Vec sign) {
  // 0xD8: bit by bit, the second where the third is set, else the first.
  return {_mm512_castsi512_ps(_mm512_ternarylogic_epi32(
      _mm512_castps_si512(a.v), _mm512_castps_si512(sign.v), _mm512_set1_epi32(INT32_MIN), 0xD8))};
}
inline void StoreF16(uint16_t* p, Vec a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
#elif defined(__AVX2__)
inline Vec IfLess(Vec a, Vec b, Vec x, Vec y) {
  return {_mm256_blendv_ps(y.v, x.v, _mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ))};
}
inline Vec CopySign(Vec a, Vec sign) {
  const __m256 bit = _mm256_set1_ps(-0.0f);
  return {_mm256_or_ps(_mm256_andnot_ps(bit, a.v), _mm256_and_ps(bit, sign.v))};
}
inline void StoreF16(uint16_t* p, Vec a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm256_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
#else
inline Vec IfLess(Vec a, Vec b, Vec x, Vec y) {
  for (int i = 0; i < kLanes; ++i) y.v[i] = a.v[i] < b.v[i] ? x.v[i] : y.v[i];
  return y;
}
inline Vec CopySign(Vec a, Vec sign) {
  for (int i = 0; i < kLanes; ++i) a.v[i] = __builtin_copysignf(a.v[i], sign.v[i]);
  return a;
}
// Finite values inside the range of halves.
inline void StoreF16(uint16_t* p, Vec a) {
  for (int i = 0; i < kLanes; ++i) {
    uint32_t u;
    std::memcpy(&u, &a.v[i], sizeof u);
    const uint32_t sign = u >> 16 & 0x8000, rest = u & 0x7FFFFFFF;
    if (rest < 0x38800000) {
      // Subnormal: adding 0.5 puts the last bit of a half at the last bit of a float.
      const float shifted = FloatOfBits(rest) + 0.5f;
      std::memcpy(&u, &shifted, sizeof u);
      p[i] = static_cast<uint16_t>(sign | (u - 0x3F000000));
    } else {
      p[i] = static_cast<uint16_t>(sign | ((rest - 0x38000000 + 0xFFF + (rest >> 13 & 1)) >> 13));
    }
  }
}
#endif

inline Wide IfLess(const Wide& a, const Wide& b, const Wide& x, const Wide& y) {  // a < b ? x : y
  Wide r;
  CARAT_EACH_PART r.part[i] = IfLess(a.part[i], b.part[i], x.part[i], y.part[i]);
  return r;
}
inline Wide CopySign(const Wide& a, const Wide& sign) {
  Wide r;
  CARAT_EACH_PART r.part[i] = CopySign(a.part[i], sign.part[i]);
  return r;
}
inline void StoreHalfW(uint16_t* p, const Wide& a) {  // to nearest even
  CARAT_EACH_PART StoreF16(p + i * kLanes, a.part[i]);
}

// Over the lanes by halving: lane i with lane i + half.
inline float ReduceAdd(const Wide& a) {
  float f[kWide];
  StoreW(f, a);
  for (int half = kWide / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) f[i] += f[i + half];
  return f[0];
}
inline float ReduceMax(const Wide& a) {
  float f[kWide];
  StoreW(f, a);
  for (int half = kWide / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) f[i] = f[i] > f[i + half] ? f[i] : f[i + half];
  return f[0];
}

#undef CARAT_EACH_PART

}  // namespace
}  // namespace carat
