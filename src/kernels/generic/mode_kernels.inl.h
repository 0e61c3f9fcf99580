// SPDX-License-Identifier: Apache-2.0
// The fast set, written once over vectors of 16 floats. Every sum runs in lanes that depend on the
// length of the row alone. The including file adds only its Fill function.
#pragma once

#include "kernels/generic/wide.h"
#include "kernels/mode_kernels.h"

namespace carat {
namespace {

struct ExpParts {
  Wide scale;  // 2^n
  Wide m1;     // e^r - 1
};

// x = n ln 2 + r with |r| <= ln 2 / 2, so e^x = scale (1 + m1), for x in [-87, 88]. The Taylor
// series up to r^7 is within 2e-8 of m1, relatively.
inline ExpParts SplitExp(const Wide& x) {
  const Wide n = Round(Mul(x, SetW(1.44269504f)));
  // ln 2 in two parts; n times the first is exact.
  Wide r = Fma(n, SetW(-0.693359375f), x);
  r = Fma(n, SetW(2.12194440e-4f), r);
  Wide q = SetW(1.0f / 5040);
  q = Fma(q, r, SetW(1.0f / 720));
  q = Fma(q, r, SetW(1.0f / 120));
  q = Fma(q, r, SetW(1.0f / 24));
  q = Fma(q, r, SetW(1.0f / 6));
  q = Fma(q, r, SetW(0.5f));
  return {Exp2Int(n), Fma(Mul(r, r), q, r)};
}

// Below this e^x counts as 0. With it a non-zero weight times a non-zero half never underflows, so
// adding positions of weight zero to a sum cannot even change the sign of a zero.
constexpr float kExpFloor = -69.0f;

// e^x for x <= 88; -infinity gives 0. Here and below the bound comes first in Max and Min: NaN
// stays.
inline Wide ExpUpTo88(const Wide& x) {
  const Wide floor = SetW(kExpFloor);
  const ExpParts e = SplitExp(Max(floor, x));
  return IfLess(x, floor, SetW(0), Fma(e.scale, e.m1, e.scale));
}

inline Wide Exp(const Wide& x) {
  const Wide top = SetW(88);
  return IfLess(top, x, SetW(__builtin_inff()), ExpUpTo88(Min(top, x)));
}

// With e = e^(-2|x|) - 1, free of cancellation: tanh |x| = -e / (e + 2).
inline Wide Tanh(const Wide& x) {
  const ExpParts p = SplitExp(Max(SetW(kExpFloor), Mul(Abs(x), SetW(-2))));
  const Wide e = Fma(p.scale, p.m1, Sub(p.scale, SetW(1)));
  return CopySign(Div(e, Add(e, SetW(2))), x);
}

// Calls f(i, All{}) for every full vector of n elements and f(i, First{rest}) for what is left.
template <class F>
inline void ForVectors(int64_t n, F f) {
  int64_t i = 0;
  for (; i + kWide <= n; i += kWide) f(i, All{});
  if (i < n) f(i, First{static_cast<int>(n - i)});
}

// Four accumulators take the vectors in turn as long as there are four.
float SumOfSquares(const float* x, int64_t n) {
  Wide a[4] = {SetW(0), SetW(0), SetW(0), SetW(0)};
  int64_t i = 0;
  for (; i + 4 * kWide <= n; i += 4 * kWide) {
    for (int j = 0; j < 4; ++j) {
      const Wide v = LoadW(x + i + j * kWide);
      a[j] = Fma(v, v, a[j]);
    }
  }
  ForVectors(n - i, [&](int64_t k, auto lanes) {
    const Wide v = LoadW(x + i + k, lanes);
    a[0] = Fma(v, v, a[0]);
  });
  return ReduceAddW(Add(Add(a[0], a[1]), Add(a[2], a[3])));
}

float InverseRms(const float* x, int64_t n, float eps) {
  return 1.0f / __builtin_sqrtf(SumOfSquares(x, n) / static_cast<float>(n) + eps);
}

// x[i..] * inv * w[i..], where w may be null.
template <class L>
inline Wide Normed(const float* x, const float* w, int64_t i, const Wide& inv, L lanes) {
  const Wide v = Mul(LoadW(x + i, lanes), inv);
  return w ? Mul(v, LoadW(w + i, lanes)) : v;
}

void RmsNorm(const float* x, const float* w, float* y, int64_t n, float eps) {
  const Wide inv = SetW(InverseRms(x, n, eps));
  ForVectors(n, [&](int64_t i, auto lanes) { StoreW(y + i, Normed(x, w, i, inv, lanes), lanes); });
}

void AddNorm(float* x, const float* a, const float* w, int64_t n, float eps, float scale) {
  const Wide inv = SetW(InverseRms(a, n, eps));
  ForVectors(n, [&](int64_t i, auto lanes) {
    const Wide sum = Add(LoadW(x + i, lanes), Normed(a, w, i, inv, lanes));
    StoreW(x + i, Mul(sum, SetW(scale)), lanes);
  });
}

// gelu(v) = v / (1 + e^(-2 u)), u = sqrt(2 / pi) (v + 0.044715 v^3): the tanh form without its
// cancellation at negative v. Overflow of v^3 and of the exponential ends in v and in 0.
void GeluMul(const float* gate, const float* up, float* y, int64_t n) {
  const Wide a = SetW(-2 * 0.79788456f), b = SetW(-2 * 0.79788456f * 0.044715f);
  ForVectors(n, [&](int64_t i, auto lanes) {
    const Wide v = LoadW(gate + i, lanes);
    const Wide t = Mul(v, Fma(Mul(v, v), b, a));
    const Wide gelu = Div(v, Add(SetW(1), Exp(t)));
    StoreW(y + i, Mul(gelu, LoadW(up + i, lanes)), lanes);
  });
}

void NormRope(float* head, const float* w, int64_t d, float eps, const float* cos, const float* sin,
              int64_t pairs, float scale) {
  const Wide inv = SetW(InverseRms(head, d, eps)), s = SetW(scale);
  const int64_t half = d / 2;
  ForVectors(pairs, [&](int64_t i, auto lanes) {
    const Wide x = Mul(Normed(head, w, i, inv, lanes), s);
    const Wide y = Mul(Normed(head, w, half + i, inv, lanes), s);
    const Wide c = LoadW(cos + i, lanes), sn = LoadW(sin + i, lanes);
    StoreW(head + i, Sub(Mul(x, c), Mul(y, sn)), lanes);
    StoreW(head + half + i, Add(Mul(y, c), Mul(x, sn)), lanes);
  });
  const auto keep = [&](int64_t i, auto lanes) {
    StoreW(head + i, Mul(Normed(head, w, i, inv, lanes), s), lanes);
  };
  ForVectors(half - pairs, [&](int64_t i, auto lanes) { keep(pairs + i, lanes); });
  ForVectors(half - pairs, [&](int64_t i, auto lanes) { keep(half + pairs + i, lanes); });
}

void Softcap(float* x, int64_t n, float cap) {
  const Wide c = SetW(cap);
  ForVectors(n, [&](int64_t i, auto lanes) {
    StoreW(x + i, Mul(c, Tanh(Div(LoadW(x + i, lanes), c))), lanes);
  });
}

// Clamped to the largest finite half, where NaN ends too: a block never holds anything infinite.
inline void StoreClamped(uint16_t* p, const Wide& v) {
  StoreHalfW(p, Max(Min(v, SetW(65504)), SetW(-65504)));
}

void StoreKv(const float* k, const float* v, int64_t dh, int lane, std::byte* block) {
  uint16_t* column = reinterpret_cast<uint16_t*>(block) + lane;
  uint16_t* row = reinterpret_cast<uint16_t*>(block) + dh * kKvBlock + lane * dh;
  ForVectors(dh, [&](int64_t i, auto lanes) {
    uint16_t half[kWide];
    const int64_t count = i + kWide <= dh ? kWide : dh - i;
    StoreClamped(half, LoadW(k + i, lanes));
    for (int64_t j = 0; j < count; ++j) column[(i + j) * kKvBlock] = half[j];
    StoreClamped(half, LoadW(v + i, lanes));
    std::memcpy(row + i, half, static_cast<size_t>(count) * sizeof(uint16_t));
  });
}

}  // namespace
}  // namespace carat
