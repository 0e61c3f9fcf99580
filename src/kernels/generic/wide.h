// SPDX-License-Identifier: Apache-2.0
// 16 floats as one, two or four vectors of vec.h: the fast mode kernels have the same lanes on
// every instruction set, and a block of the KV cache is as wide. Only IEEE operations are used, so
// instruction sets with a fused multiply-add agree with each other bit for bit.
#pragma once

#include "kernels/generic/vec.h"

namespace carat {
namespace {

constexpr int kWide = 16;

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

// Two vectors that act as one of twice the size. Spelled out rather than looped over, because
// compilers keep members in registers, but often not the elements of small arrays.
template <class T>
struct Pair {
  T lo, hi;
};
template <class T>
inline Pair<T> Add(const Pair<T>& a, const Pair<T>& b) {
  return {Add(a.lo, b.lo), Add(a.hi, b.hi)};
}
template <class T>
inline Pair<T> Sub(const Pair<T>& a, const Pair<T>& b) {
  return {Sub(a.lo, b.lo), Sub(a.hi, b.hi)};
}
template <class T>
inline Pair<T> Mul(const Pair<T>& a, const Pair<T>& b) {
  return {Mul(a.lo, b.lo), Mul(a.hi, b.hi)};
}
template <class T>
inline Pair<T> Div(const Pair<T>& a, const Pair<T>& b) {
  return {Div(a.lo, b.lo), Div(a.hi, b.hi)};
}
template <class T>
inline Pair<T> Min(const Pair<T>& a, const Pair<T>& b) {  // the second where one is NaN
  return {Min(a.lo, b.lo), Min(a.hi, b.hi)};
}
template <class T>
inline Pair<T> Max(const Pair<T>& a, const Pair<T>& b) {  // the second where one is NaN
  return {Max(a.lo, b.lo), Max(a.hi, b.hi)};
}
template <class T>
inline Pair<T> CopySign(const Pair<T>& a, const Pair<T>& sign) {
  return {CopySign(a.lo, sign.lo), CopySign(a.hi, sign.hi)};
}
template <class T>
inline Pair<T> Fma(const Pair<T>& a, const Pair<T>& b, const Pair<T>& c) {  // a b + c
  return {Fma(a.lo, b.lo, c.lo), Fma(a.hi, b.hi, c.hi)};
}
template <class T>  // a < b ? x : y
inline Pair<T> IfLess(const Pair<T>& a, const Pair<T>& b, const Pair<T>& x, const Pair<T>& y) {
  return {IfLess(a.lo, b.lo, x.lo, y.lo), IfLess(a.hi, b.hi, x.hi, y.hi)};
}
template <class T>
inline Pair<T> Abs(const Pair<T>& a) {
  return {Abs(a.lo), Abs(a.hi)};
}
template <class T>
inline Pair<T> Round(const Pair<T>& a) {
  return {Round(a.lo), Round(a.hi)};
}
template <class T>
inline Pair<T> Exp2Int(const Pair<T>& a) {
  return {Exp2Int(a.lo), Exp2Int(a.hi)};
}

// Memory to vectors and back.
template <class T>
struct Io;
template <>
struct Io<Vec> {
  static constexpr int kSize = kLanes;
  static Vec Set(float x) { return Set1(x); }
  static Vec From(const float* p) { return Load(p); }
  static Vec FromHalf(const uint16_t* p) { return LoadF16(p); }
  static void To(float* p, Vec a) { Store(p, a); }
  static void ToHalf(uint16_t* p, Vec a) { StoreF16(p, a); }
};
template <class T>
struct Io<Pair<T>> {
  static constexpr int kHalf = Io<T>::kSize;
  static constexpr int kSize = 2 * kHalf;
  static Pair<T> Set(float x) { return {Io<T>::Set(x), Io<T>::Set(x)}; }
  static Pair<T> From(const float* p) { return {Io<T>::From(p), Io<T>::From(p + kHalf)}; }
  static Pair<T> FromHalf(const uint16_t* p) {
    return {Io<T>::FromHalf(p), Io<T>::FromHalf(p + kHalf)};
  }
  static void To(float* p, const Pair<T>& a) {
    Io<T>::To(p, a.lo);
    Io<T>::To(p + kHalf, a.hi);
  }
  static void ToHalf(uint16_t* p, const Pair<T>& a) {
    Io<T>::ToHalf(p, a.lo);
    Io<T>::ToHalf(p + kHalf, a.hi);
  }
};

template <int size, class T>
struct Widened {
  using Type = typename Widened<size / 2, Pair<T>>::Type;
};
template <class T>
struct Widened<1, T> {
  using Type = T;
};
using Wide = Widened<kWide / kLanes, Vec>::Type;
static_assert(Io<Wide>::kSize == kWide);

// How many of its elements an operation on memory touches: all, or the first n < 16. Elements that
// are not loaded are 0.
struct All {};
struct First {
  int n;
};

inline Wide SetW(float x) { return Io<Wide>::Set(x); }
inline Wide LoadW(const float* p, All = {}) { return Io<Wide>::From(p); }
inline Wide LoadW(const float* p, First f) {
  float all[kWide] = {};
  std::memcpy(all, p, static_cast<size_t>(f.n) * sizeof(float));
  return LoadW(all);
}
inline void StoreW(float* p, const Wide& a, All = {}) { Io<Wide>::To(p, a); }
inline void StoreW(float* p, const Wide& a, First f) {
  float all[kWide];
  StoreW(all, a);
  std::memcpy(p, all, static_cast<size_t>(f.n) * sizeof(float));
}
// IEEE halves; stored to nearest even.
inline Wide LoadHalfW(const uint16_t* p, All = {}) { return Io<Wide>::FromHalf(p); }
inline Wide LoadHalfW(const uint16_t* p, First f) {
  uint16_t all[kWide] = {};
  std::memcpy(all, p, static_cast<size_t>(f.n) * sizeof(uint16_t));
  return LoadHalfW(all);
}
inline void StoreHalfW(uint16_t* p, const Wide& a) { Io<Wide>::ToHalf(p, a); }

// Over all 16 lanes by halving: lane i with lane i + half.
inline float ReduceAddW(const Wide& a) {
  float f[kWide];
  StoreW(f, a);
  for (int half = kWide / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) f[i] += f[i + half];
  return f[0];
}
inline float ReduceMaxW(const Wide& a) {
  float f[kWide];
  StoreW(f, a);
  for (int half = kWide / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) f[i] = f[i] > f[i + half] ? f[i] : f[i + half];
  return f[0];
}

}  // namespace
}  // namespace carat
