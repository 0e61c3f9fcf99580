// SPDX-License-Identifier: Apache-2.0
// A float vector of the instruction set that the including file is compiled for. Everything is in
// an unnamed namespace so that no copy of one file is ever linked into another. All loads and
// stores take any address.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace carat {
namespace {

#if defined(__AVX512F__)

constexpr int kLanes = 16;
struct Vec {
  __m512 v;
};  // kLanes floats
struct VecD {
  __m512d v;
};  // kLanes / 2 doubles

inline __mmask16 FirstLanes(int n) { return static_cast<__mmask16>((1u << n) - 1); }

inline Vec Zero() { return {_mm512_setzero_ps()}; }
inline Vec Set1(float x) { return {_mm512_set1_ps(x)}; }
inline Vec Load(const void* p) { return {_mm512_loadu_ps(p)}; }
// The first n lanes, n in [0, kLanes); the others are 0 and their memory is not touched.
inline Vec LoadN(const void* p, int n) { return {_mm512_maskz_loadu_ps(FirstLanes(n), p)}; }
inline Vec LoadF16(const void* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p)))};
}
inline Vec LoadBf16(const void* p) {
  const __m256i h = _mm256_loadu_si256(static_cast<const __m256i*>(p));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16))};
}
inline void Store(float* p, Vec a) { _mm512_storeu_ps(p, a.v); }
inline void StoreN(float* p, Vec a, int n) { _mm512_mask_storeu_ps(p, FirstLanes(n), a.v); }
inline void StoreBf16(void* p, Vec a) {  // round to nearest even; NaN becomes quiet
  const __m512i u = _mm512_castps_si512(a.v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
  __m512i r = _mm512_add_epi32(_mm512_add_epi32(u, odd), _mm512_set1_epi32(0x7FFF));
  const __mmask16 nan = _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q);
  r = _mm512_mask_or_epi32(r, nan, u, _mm512_set1_epi32(0x400000));
  _mm256_storeu_si256(static_cast<__m256i*>(p), _mm512_cvtepi32_epi16(_mm512_srli_epi32(r, 16)));
}

inline Vec Add(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Vec Sub(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Vec Mul(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Vec Div(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
inline Vec Max(Vec a, Vec b) { return {_mm512_max_ps(a.v, b.v)}; }
inline Vec Min(Vec a, Vec b) { return {_mm512_min_ps(a.v, b.v)}; }
inline Vec Abs(Vec a) { return {_mm512_abs_ps(a.v)}; }
inline Vec Round(Vec a) {  // to nearest even integer
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
inline Vec Fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }  // a * b + c
// 2^n for integral n in [-126, 127]; anything for NaN.
inline Vec Exp2Int(Vec n) {
  const __m512i e = _mm512_add_epi32(_mm512_cvtps_epi32(n.v), _mm512_set1_epi32(127));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(e, 23))};
}

inline VecD ZeroD() { return {_mm512_setzero_pd()}; }
inline VecD LoadAsD(const void* p) {  // kLanes / 2 floats
  return {_mm512_cvtps_pd(_mm256_loadu_ps(static_cast<const float*>(p)))};
}
inline VecD FmaD(VecD a, VecD b, VecD c) { return {_mm512_fmadd_pd(a.v, b.v, c.v)}; }
inline void StoreD(double* p, VecD a) { _mm512_storeu_pd(p, a.v); }

#elif defined(__AVX2__)

constexpr int kLanes = 8;
struct Vec {
  __m256 v;
};
struct VecD {
  __m256d v;
};

inline __m256i FirstLanes(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

inline Vec Zero() { return {_mm256_setzero_ps()}; }
inline Vec Set1(float x) { return {_mm256_set1_ps(x)}; }
inline Vec Load(const void* p) { return {_mm256_loadu_ps(static_cast<const float*>(p))}; }
inline Vec LoadN(const void* p, int n) {
  return {_mm256_maskload_ps(static_cast<const float*>(p), FirstLanes(n))};
}
inline Vec LoadF16(const void* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(p)))};
}
inline Vec LoadBf16(const void* p) {
  const __m128i h = _mm_loadu_si128(static_cast<const __m128i*>(p));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16))};
}
inline void Store(float* p, Vec a) { _mm256_storeu_ps(p, a.v); }
inline void StoreN(float* p, Vec a, int n) { _mm256_maskstore_ps(p, FirstLanes(n), a.v); }
inline void StoreBf16(void* p, Vec a) {
  const __m256i u = _mm256_castps_si256(a.v);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
  __m256i r = _mm256_add_epi32(_mm256_add_epi32(u, odd), _mm256_set1_epi32(0x7FFF));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q));
  r = _mm256_blendv_epi8(r, _mm256_or_si256(u, _mm256_set1_epi32(0x400000)), nan);
  r = _mm256_srli_epi32(r, 16);
  r = _mm256_permute4x64_epi64(_mm256_packus_epi32(r, r), 0x08);
  _mm_storeu_si128(static_cast<__m128i*>(p), _mm256_castsi256_si128(r));
}

inline Vec Add(Vec a, Vec b) { return {_mm256_add_ps(a.v, b.v)}; }
inline Vec Sub(Vec a, Vec b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline Vec Mul(Vec a, Vec b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline Vec Div(Vec a, Vec b) { return {_mm256_div_ps(a.v, b.v)}; }
inline Vec Max(Vec a, Vec b) { return {_mm256_max_ps(a.v, b.v)}; }
inline Vec Min(Vec a, Vec b) { return {_mm256_min_ps(a.v, b.v)}; }
inline Vec Abs(Vec a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }
inline Vec Round(Vec a) {
  return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
inline Vec Fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
inline Vec Exp2Int(Vec n) {
  const __m256i e = _mm256_add_epi32(_mm256_cvtps_epi32(n.v), _mm256_set1_epi32(127));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(e, 23))};
}

inline VecD ZeroD() { return {_mm256_setzero_pd()}; }
inline VecD LoadAsD(const void* p) {
  return {_mm256_cvtps_pd(_mm_loadu_ps(static_cast<const float*>(p)))};
}
inline VecD FmaD(VecD a, VecD b, VecD c) { return {_mm256_fmadd_pd(a.v, b.v, c.v)}; }
inline void StoreD(double* p, VecD a) { _mm256_storeu_pd(p, a.v); }

#else  // Plain C++. Fma rounds twice: without the instruction the exact one is a library call.

constexpr int kLanes = 4;
struct Vec {
  float v[kLanes];
};
struct VecD {
  double v[kLanes / 2];
};

inline Vec Set1(float x) { return {{x, x, x, x}}; }
inline Vec Zero() { return Set1(0); }
inline Vec Load(const void* p) {
  Vec r;
  std::memcpy(r.v, p, sizeof r.v);
  return r;
}
inline Vec LoadN(const void* p, int n) {
  Vec r = Zero();
  std::memcpy(r.v, p, static_cast<size_t>(n) * sizeof(float));
  return r;
}
inline float FloatOfBits(uint32_t u) {
  float f;
  std::memcpy(&f, &u, sizeof f);
  return f;
}
inline Vec LoadF16(const void* p) {
  uint16_t h[kLanes];
  std::memcpy(h, p, sizeof h);
  Vec r;
  for (int i = 0; i < kLanes; ++i) {
    // Shifted into place, binary16 is 2^112 times too small, subnormals included; infinities and
    // NaN need their own exponent.
    const uint32_t sign = uint32_t{h[i] & 0x8000u} << 16, rest = uint32_t{h[i] & 0x7FFFu} << 13;
    const float f =
        rest >= 0x0F800000 ? FloatOfBits(rest | 0x7F800000) : FloatOfBits(rest) * 0x1p112f;
    r.v[i] = sign ? -f : f;
  }
  return r;
}
inline Vec LoadBf16(const void* p) {
  uint16_t h[kLanes];
  std::memcpy(h, p, sizeof h);
  Vec r;
  for (int i = 0; i < kLanes; ++i) r.v[i] = FloatOfBits(uint32_t{h[i]} << 16);
  return r;
}
inline void Store(float* p, Vec a) { std::memcpy(p, a.v, sizeof a.v); }
inline void StoreN(float* p, Vec a, int n) {
  std::memcpy(p, a.v, static_cast<size_t>(n) * sizeof(float));
}
inline void StoreBf16(void* p, Vec a) {
  uint16_t h[kLanes];
  for (int i = 0; i < kLanes; ++i) {
    uint32_t u;
    std::memcpy(&u, &a.v[i], sizeof u);
    const bool nan = (u & 0x7FFFFFFF) > 0x7F800000;
    h[i] = static_cast<uint16_t>((nan ? u | 0x400000 : u + 0x7FFF + (u >> 16 & 1)) >> 16);
  }
  std::memcpy(p, h, sizeof h);
}

#define CARAT_VEC_OP(NAME, EXPR)          \
  inline Vec NAME(Vec a, Vec b) {         \
    Vec r;                                \
    for (int i = 0; i < kLanes; ++i) {    \
      const float x = a.v[i], y = b.v[i]; \
      r.v[i] = EXPR;                      \
    }                                     \
    return r;                             \
  }
CARAT_VEC_OP(Add, x + y)
CARAT_VEC_OP(Sub, x - y)
CARAT_VEC_OP(Mul, x* y)
CARAT_VEC_OP(Div, x / y)
CARAT_VEC_OP(Max, x > y ? x : y)
CARAT_VEC_OP(Min, x < y ? x : y)
#undef CARAT_VEC_OP
inline Vec Fma(Vec a, Vec b, Vec c) { return Add(Mul(a, b), c); }
inline Vec Abs(Vec a) {
  for (int i = 0; i < kLanes; ++i) a.v[i] = __builtin_fabsf(a.v[i]);
  return a;
}
inline Vec Round(Vec a) {
  for (int i = 0; i < kLanes; ++i) a.v[i] = __builtin_nearbyintf(a.v[i]);
  return a;
}
inline Vec Exp2Int(Vec n) {
  for (int i = 0; i < kLanes; ++i) {
    const float number = n.v[i] == n.v[i] ? n.v[i] : 0;
    n.v[i] = FloatOfBits(static_cast<uint32_t>(static_cast<int>(number) + 127) << 23);
  }
  return n;
}

inline VecD ZeroD() { return {{0, 0}}; }
inline VecD LoadAsD(const void* p) {
  float f[kLanes / 2];
  std::memcpy(f, p, sizeof f);
  return {{f[0], f[1]}};
}
inline VecD FmaD(VecD a, VecD b, VecD c) {
  return {{a.v[0] * b.v[0] + c.v[0], a.v[1] * b.v[1] + c.v[1]}};
}
inline void StoreD(double* p, VecD a) { std::memcpy(p, a.v, sizeof a.v); }

#endif

// The first n elements of 16 bits, n in [0, kLanes); the others are 0.
inline Vec LoadF16N(const void* p, int n) {
  uint16_t h[kLanes] = {};
  std::memcpy(h, p, static_cast<size_t>(n) * 2);
  return LoadF16(h);
}
inline Vec LoadBf16N(const void* p, int n) {
  uint16_t h[kLanes] = {};
  std::memcpy(h, p, static_cast<size_t>(n) * 2);
  return LoadBf16(h);
}
inline VecD LoadAsDN(const void* p, int n) {  // n < kLanes / 2 floats
  float f[kLanes / 2] = {};
  std::memcpy(f, p, static_cast<size_t>(n) * 4);
  return LoadAsD(f);
}

// Sums and maxima over the lanes by halving: lane i with lane i + half.
inline float ReduceAdd(Vec a) {
  float f[kLanes];
  Store(f, a);
  for (int half = kLanes / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) f[i] += f[i + half];
  return f[0];
}
inline float ReduceMax(Vec a) {
  float f[kLanes];
  Store(f, a);
  for (int half = kLanes / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) f[i] = f[i] > f[i + half] ? f[i] : f[i + half];
  return f[0];
}
inline double ReduceAddD(VecD a) {
  double f[kLanes / 2];
  StoreD(f, a);
  for (int half = kLanes / 4; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) f[i] += f[i + half];
  return f[0];
}

}  // namespace
}  // namespace carat
