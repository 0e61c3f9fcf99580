// SPDX-License-Identifier: Apache-2.0
// Products with float weights, lanes along the columns, for the instruction set of the including
// file. See DotArgs in kernels/linear_kernels.h for the contract.
#pragma once

#include "kernels/generic/vec.h"
#include "kernels/linear_kernels.h"

namespace carat {
namespace {

// Weight rows x tokens of a register tile: as many sums as leave registers for the operands.
#if defined(__AVX512F__)
constexpr int kDotRows = 4, kDotTokens = 6, kExactRows = 4, kExactTokens = 5;
#elif defined(__AVX2__)
constexpr int kDotRows = 3, kDotTokens = 4, kExactRows = 3, kExactTokens = 3;
#else
constexpr int kDotRows = 2, kDotTokens = 4, kExactRows = 2, kExactTokens = 4;
#endif

struct F32Weights {
  static constexpr int kBytes = 4;
  static Vec Get(const std::byte* p) { return Load(p); }
  static Vec GetN(const std::byte* p, int n) { return LoadN(p, n); }
};
struct F16Weights {
  static constexpr int kBytes = 2;
  static Vec Get(const std::byte* p) { return LoadF16(p); }
  static Vec GetN(const std::byte* p, int n) { return LoadF16N(p, n); }
};
struct Bf16Weights {
  static constexpr int kBytes = 2;
  static Vec Get(const std::byte* p) { return LoadBf16(p); }
  static Vec GetN(const std::byte* p, int n) { return LoadBf16N(p, n); }
};

// Sums in float32 of weights W.
template <class W>
struct FloatDot {
  static constexpr int kRows = kDotRows, kTokens = kDotTokens;

  template <int R, int T>
  static void Tile(const DotArgs& a, int64_t row, int64_t token) {
    Vec sum[R][T];
    for (int r = 0; r < R; ++r)
      for (int t = 0; t < T; ++t) sum[r][t] = Zero();
    const std::byte* w = a.w + row * a.w_stride;
    const float* x = a.x + token * a.x_stride;
    const int64_t whole = a.cols - a.cols % kLanes;
    for (int64_t k = 0; k < whole; k += kLanes) {
      Vec xv[T];
      for (int t = 0; t < T; ++t) xv[t] = Load(x + t * a.x_stride + k);
      for (int r = 0; r < R; ++r) {
        const Vec wv = W::Get(w + r * a.w_stride + k * W::kBytes);
        for (int t = 0; t < T; ++t) sum[r][t] = Fma(wv, xv[t], sum[r][t]);
      }
    }
    if (const int rest = static_cast<int>(a.cols - whole); rest > 0) {
      Vec xv[T];
      for (int t = 0; t < T; ++t) xv[t] = LoadN(x + t * a.x_stride + whole, rest);
      for (int r = 0; r < R; ++r) {
        const Vec wv = W::GetN(w + r * a.w_stride + whole * W::kBytes, rest);
        for (int t = 0; t < T; ++t) sum[r][t] = Fma(wv, xv[t], sum[r][t]);
      }
    }
    for (int r = 0; r < R; ++r)
      for (int t = 0; t < T; ++t)
        a.y[(token + t) * a.y_stride + row + r] = ReduceAdd(sum[r][t]) * a.scale;
  }
};

// Sums in double of float32 weights; a product of two floats is exact in double, so whether the
// multiply-add rounds once or twice makes no difference.
struct ExactDot {
  static constexpr int kRows = kExactRows, kTokens = kExactTokens;
  static constexpr int kStep = kLanes / 2;

  template <int R, int T>
  static void Tile(const DotArgs& a, int64_t row, int64_t token) {
    VecD sum[R][T];
    for (int r = 0; r < R; ++r)
      for (int t = 0; t < T; ++t) sum[r][t] = ZeroD();
    const std::byte* w = a.w + row * a.w_stride;
    const float* x = a.x + token * a.x_stride;
    const int64_t whole = a.cols - a.cols % kStep;
    for (int64_t k = 0; k < whole; k += kStep) {
      VecD xv[T];
      for (int t = 0; t < T; ++t) xv[t] = LoadAsD(x + t * a.x_stride + k);
      for (int r = 0; r < R; ++r) {
        const VecD wv = LoadAsD(w + r * a.w_stride + k * 4);
        for (int t = 0; t < T; ++t) sum[r][t] = FmaD(wv, xv[t], sum[r][t]);
      }
    }
    if (const int rest = static_cast<int>(a.cols - whole); rest > 0) {
      VecD xv[T];
      for (int t = 0; t < T; ++t) xv[t] = LoadAsDN(x + t * a.x_stride + whole, rest);
      for (int r = 0; r < R; ++r) {
        const VecD wv = LoadAsDN(w + r * a.w_stride + whole * 4, rest);
        for (int t = 0; t < T; ++t) sum[r][t] = FmaD(wv, xv[t], sum[r][t]);
      }
    }
    for (int r = 0; r < R; ++r)
      for (int t = 0; t < T; ++t)
        a.y[(token + t) * a.y_stride + row + r] =
            static_cast<float>(ReduceAddD(sum[r][t]) * double{a.scale});
  }
};

// The tile with n <= T tokens.
template <class D, int R, int T>
void DotTokens(const DotArgs& a, int64_t row, int64_t token, int64_t n) {
  if constexpr (T > 1) {
    if (n < T) return DotTokens<D, R, T - 1>(a, row, token, n);
  }
  D::template Tile<R, T>(a, row, token);
}

// Tokens outside, so that their tile stays in the first-level cache while the rows, which the
// caller keeps few, come from the second.
template <class D>
void DotAll(const DotArgs& a) {
  for (int64_t token = 0; token < a.tokens; token += D::kTokens) {
    const int64_t n = a.tokens - token;
    int64_t row = 0;
    for (; row + D::kRows <= a.rows; row += D::kRows)
      DotTokens<D, D::kRows, D::kTokens>(a, row, token, n);
    for (; row < a.rows; ++row) DotTokens<D, 1, D::kTokens>(a, row, token, n);
  }
}

inline void FillDots(LinearKernels* k) {
  k->dot_f32 = DotAll<FloatDot<F32Weights>>;
  k->dot_f16 = DotAll<FloatDot<F16Weights>>;
  k->dot_bf16 = DotAll<FloatDot<Bf16Weights>>;
  k->dot_f32_exact = DotAll<ExactDot>;
}

}  // namespace
}  // namespace carat
