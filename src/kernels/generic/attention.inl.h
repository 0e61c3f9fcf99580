// SPDX-License-Identifier: Apache-2.0
// Attention of the fast set over a cache of IEEE halves.
//
// Three passes over the blocks that some row of the tile sees: scores = q k with one lane per
// position, softmax per row, out = weights v with one lane per element. Each score is summed over
// d in order and each output over positions in order, whatever the rows beside it; blocks outside
// a row's range get the weight zero, which changes no sum of finite values. How many rows, blocks
// and vectors are held in registers at a time is therefore free.
#pragma once

#include "kernels/generic/mode_kernels.inl.h"

namespace carat {
namespace {

#if defined(__AVX512F__)
constexpr int kRowsHeld = 8;
constexpr int kAccumulators = 16;  // registers for sums, of 32
#else
constexpr int kRowsHeld = 4;
constexpr int kAccumulators = 4;  // pairs of AVX2 registers, 8 of 16
#endif
// Blocks (of scores) or vectors (of output) held at a time with `rows` rows.
constexpr int Held(int rows) {
  const int n = kAccumulators / rows;
  return n >= 8 ? 8 : n >= 4 ? 4 : n >= 2 ? 2 : 1;
}
// Values are mixed in groups of blocks that stay in the nearest caches while the output's vectors
// walk over them one after the other.
constexpr int64_t kGroup = 8;
constexpr int kLine = 2;  // vectors of halves in a cache line

// Pointers to consecutive blocks, and the scores or weights of some rows for them: row r, block b
// at row[r * stride + 16 b].
struct Blocks {
  const std::byte* const* data;
  int64_t count;
  int64_t ahead;  // blocks that follow these in `data`
  float* row;
  int64_t stride;
  int dh;
};

inline const uint16_t* Halves(const std::byte* block) {
  return reinterpret_cast<const uint16_t*>(block);
}

// Scores of R rows against blocks b .. b + N.
template <int R, int N>
inline void ScoreBlocks(const float* const* q, const Blocks& g, int64_t b) {
  const uint16_t* k[N];
  const float* qr[R];
  Wide acc[R][N];
  for (int n = 0; n < N; ++n) k[n] = Halves(g.data[b + n]);
  for (int r = 0; r < R; ++r) {
    qr[r] = q[r];
    for (int n = 0; n < N; ++n) acc[r][n] = SetW(0);
  }
  for (int64_t d = 0; d < g.dh; ++d) {
    Wide kd[N];
    for (int n = 0; n < N; ++n) kd[n] = LoadHalfW(k[n] + d * kKvBlock);
    for (int r = 0; r < R; ++r) {
      const Wide qd = SetW(qr[r][d]);
      for (int n = 0; n < N; ++n) acc[r][n] = Fma(qd, kd[n], acc[r][n]);
    }
  }
  for (int r = 0; r < R; ++r)
    for (int n = 0; n < N; ++n) StoreW(g.row + r * g.stride + (b + n) * kKvBlock, acc[r][n]);
}

template <int R>
__attribute__((noinline)) void ScoreRows(const float* const* q, const Blocks& g) {
  constexpr int kHeld = Held(R);
  int64_t b = 0;
  for (; b + kHeld <= g.count; b += kHeld) ScoreBlocks<R, kHeld>(q, g, b);
  for (; b < g.count; ++b) ScoreBlocks<R, 1>(q, g, b);
}

// Adds the weighted values to N vectors, from element d on, of R rows.
template <int R, int N, class L>
inline void MixVectors(const Blocks& g, float* const* out, int64_t d, L lanes) {
  Wide acc[R][N];
  for (int r = 0; r < R; ++r)
    for (int n = 0; n < N; ++n) acc[r][n] = LoadW(out[r] + d + n * kWide, lanes);
  for (int64_t b = 0; b < g.count; ++b) {
    const int64_t offset = g.dh * kKvBlock + d;
    const uint16_t* v = Halves(g.data[b]) + offset;
    // Walking down a column of values is not a pattern that processors foresee.
    const uint16_t* next = Halves(g.data[b + kGroup < g.count + g.ahead ? b + kGroup : b]) + offset;
    const float* weight = g.row + b * kKvBlock;
    for (int j = 0; j < kKvBlock; ++j, v += g.dh, next += g.dh) {
      Wide vj[N];
      for (int n = 0; n < N; ++n) vj[n] = LoadHalfW(v + n * kWide, lanes);
      for (int n = 0; n < N; n += kLine) __builtin_prefetch(next + n * kWide, 0, 2);
      for (int r = 0; r < R; ++r) {
        const Wide p = SetW(weight[r * g.stride + j]);
        for (int n = 0; n < N; ++n) acc[r][n] = Fma(p, vj[n], acc[r][n]);
      }
    }
  }
  for (int r = 0; r < R; ++r)
    for (int n = 0; n < N; ++n) StoreW(out[r] + d + n * kWide, acc[r][n], lanes);
}

template <int R>
__attribute__((noinline)) void MixRows(const Blocks& g, float* const* out) {
  constexpr int kHeld = Held(R);
  int64_t d = 0;
  for (; d + kHeld * kWide <= g.dh; d += kHeld * kWide) MixVectors<R, kHeld>(g, out, d, All{});
  ForVectors(g.dh - d, [&](int64_t i, auto lanes) { MixVectors<R, 1>(g, out, d + i, lanes); });
}

// Turns the scores of `count` blocks into weights e^(score - max), with zeros outside positions
// [first, last], which are relative to s. Returns the sum of the weights.
float Softmax(float* s, int64_t count, int64_t first, int64_t last) {
  const int64_t begin = first / kKvBlock, end = last / kKvBlock + 1;
  for (int64_t i = begin * kKvBlock; i < first; ++i) s[i] = -__builtin_inff();
  for (int64_t i = last + 1; i < end * kKvBlock; ++i) s[i] = -__builtin_inff();
  Wide m = SetW(-__builtin_inff());
  for (int64_t b = begin; b < end; ++b) m = Max(m, LoadW(s + b * kKvBlock));
  m = SetW(ReduceMaxW(m));
  Wide sum = SetW(0);
  for (int64_t b = 0; b < count; ++b) {
    Wide p = SetW(0);
    if (b >= begin && b < end) {
      p = ExpUpTo88(Sub(LoadW(s + b * kKvBlock), m));
      sum = Add(sum, p);
    }
    StoreW(s + b * kKvBlock, p);
  }
  return ReduceAddW(sum);
}

// f<R>(...) for R = rows <= kRowsHeld.
#define CARAT_CALL_ROWS(F, ROWS, ...)        \
  switch (ROWS) {                            \
    case 1:                                  \
      F<1>(__VA_ARGS__);                     \
      break;                                 \
    case 2:                                  \
      F<2>(__VA_ARGS__);                     \
      break;                                 \
    case 3:                                  \
      F<3>(__VA_ARGS__);                     \
      break;                                 \
    case 4:                                  \
      F<4>(__VA_ARGS__);                     \
      break;                                 \
    case 5:                                  \
      F < kRowsHeld<5 ? 4 : 5>(__VA_ARGS__); \
      break;                                 \
    case 6:                                  \
      F < kRowsHeld<6 ? 4 : 6>(__VA_ARGS__); \
      break;                                 \
    case 7:                                  \
      F < kRowsHeld<7 ? 4 : 7>(__VA_ARGS__); \
      break;                                 \
    default:                                 \
      F<kRowsHeld>(__VA_ARGS__);             \
      break;                                 \
  }

void Attention(const AttentionTile& t) {
  int64_t first = t.first[0], last = t.last[0];
  for (int r = 1; r < t.rows; ++r) {
    if (t.first[r] < first) first = t.first[r];
    if (t.last[r] > last) last = t.last[r];
  }
  const int64_t block0 = first / kKvBlock, position0 = block0 * kKvBlock;
  const int64_t count = last / kKvBlock + 1 - block0;
  const std::byte* const* blocks = t.blocks + (block0 - t.first_block);
  const int64_t stride = t.block_count * kKvBlock;

  for (int64_t b = 0; b < count; b += kGroup) {
    for (int r = 0; r < t.rows; r += kRowsHeld) {
      const int rows = t.rows - r < kRowsHeld ? t.rows - r : kRowsHeld;
      const Blocks g = {blocks + b,
                        count - b < kGroup ? count - b : kGroup,
                        count - b < kGroup ? 0 : count - b - kGroup,
                        t.scores + r * stride + b * kKvBlock,
                        stride,
                        t.dh};
      CARAT_CALL_ROWS(ScoreRows, rows, t.q + r, g);
    }
  }
  float inverse[kAttentionRows];
  for (int r = 0; r < t.rows; ++r) {
    inverse[r] =
        1.0f / Softmax(t.scores + r * stride, count, t.first[r] - position0, t.last[r] - position0);
    ForVectors(t.dh, [&](int64_t i, auto lanes) { StoreW(t.out[r] + i, SetW(0), lanes); });
  }
  for (int64_t b = 0; b < count; b += kGroup) {
    for (int r = 0; r < t.rows; r += kRowsHeld) {
      const int rows = t.rows - r < kRowsHeld ? t.rows - r : kRowsHeld;
      const Blocks g = {blocks + b,
                        count - b < kGroup ? count - b : kGroup,
                        count - b < kGroup ? 0 : count - b - kGroup,
                        t.scores + r * stride + b * kKvBlock,
                        stride,
                        t.dh};
      CARAT_CALL_ROWS(MixRows, rows, g, t.out + r);
    }
  }
  for (int r = 0; r < t.rows; ++r) {
    ForVectors(t.dh, [&](int64_t i, auto lanes) {
      StoreW(t.out[r] + i, Mul(LoadW(t.out[r] + i, lanes), SetW(inverse[r])), lanes);
    });
  }
}
#undef CARAT_CALL_ROWS

// The finished set.
constexpr ModeKernels kModeKernels = {
    .rms_norm = RmsNorm,
    .add_norm = AddNorm,
    .gelu_mul = GeluMul,
    .norm_rope = NormRope,
    .softcap = Softcap,
    .attention = Attention,
    .store_kv = StoreKv,
    .kv_element_bytes = sizeof(uint16_t),
};

}  // namespace
}  // namespace carat
