// SPDX-License-Identifier: Apache-2.0
// Attention of the fast set over a cache of IEEE halves; included after mode_kernels.inl.h, in the
// unnamed namespace of an ISA file.
//
// Three passes over the blocks that some row of the tile sees: scores = q k with one lane per
// position, softmax per row, out = scores * v with one lane per element. Each score is summed over
// d in order and each output over positions in order, whatever the rows beside it; a row ignores
// the blocks outside its range by giving them the weight zero, which changes no sum of finite
// values. How many rows, blocks and vectors are held in registers at a time is therefore free:
//
//   kRowGroup             rows held at a time
//   BlocksHeld(rows)      blocks whose scores are held at a time
//   VectorsHeld(rows)     vectors of the output held at a time

// Scores of R rows against B blocks; row r, block b goes to scores[r * stride + 16 b].
template <int R, int B>
void ScoreBlocks(const float* const* q, int dh, const std::byte* const* blocks, float* scores,
                 int64_t stride) {
  const uint16_t* k[B];
  const float* qr[R];
  Vec acc[R][B];
  for (int b = 0; b < B; ++b) k[b] = reinterpret_cast<const uint16_t*>(blocks[b]);
  for (int r = 0; r < R; ++r) {
    qr[r] = q[r];
    for (int b = 0; b < B; ++b) acc[r][b] = Set(0.0f);
  }
  for (int64_t d = 0; d < dh; ++d) {
    Vec kd[B];
    for (int b = 0; b < B; ++b) kd[b] = LoadHalf(k[b] + d * kKvBlock);
    for (int r = 0; r < R; ++r) {
      const Vec qd = Set(qr[r][d]);
      for (int b = 0; b < B; ++b) acc[r][b] = Fma(qd, kd[b], acc[r][b]);
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int b = 0; b < B; ++b) Store(scores + r * stride + b * kKvBlock, acc[r][b]);
  }
}

// Consecutive blocks and the weights of some rows for them.
struct Weighted {
  const std::byte* const* blocks;
  int64_t count;
  const float* weights;  // row r, block b at weights[r * stride + 16 b]
  int64_t stride;
  int dh;
  bool fresh;  // the first blocks of the rows: out is not read
};

// Adds the weighted values to elements d .. d + 16 C of R rows.
template <int R, int C, class L>
inline void MixVectors(const Weighted& w, float* const* out, int64_t d, L lanes) {
  Vec acc[R][C];
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c)
      acc[r][c] = w.fresh ? Set(0.0f) : Load(out[r] + d + c * kVec, lanes);
  }
  for (int64_t b = 0; b < w.count; ++b) {
    const uint16_t* v = reinterpret_cast<const uint16_t*>(w.blocks[b]) + w.dh * kKvBlock + d;
    const float* weights = w.weights + b * kKvBlock;
    for (int64_t j = 0; j < kKvBlock; ++j, v += w.dh) {
      Vec vj[C];
      for (int c = 0; c < C; ++c) vj[c] = LoadHalf(v + c * kVec, lanes);
      for (int r = 0; r < R; ++r) {
        const Vec p = Set(weights[r * w.stride + j]);
        for (int c = 0; c < C; ++c) acc[r][c] = Fma(p, vj[c], acc[r][c]);
      }
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) Store(out[r] + d + c * kVec, acc[r][c], lanes);
  }
}

template <int R>
void ScoreRows(const float* const* q, int dh, const std::byte* const* blocks, int64_t count,
               float* scores, int64_t stride) {
  constexpr int kHeld = BlocksHeld(R);
  int64_t b = 0;
  for (; b + kHeld <= count; b += kHeld)
    ScoreBlocks<R, kHeld>(q, dh, blocks + b, scores + b * kKvBlock, stride);
  for (; b < count; ++b) ScoreBlocks<R, 1>(q, dh, blocks + b, scores + b * kKvBlock, stride);
}

template <int R>
void MixRows(const Weighted& w, float* const* out) {
  constexpr int kHeld = VectorsHeld(R);
  int64_t d = 0;
  for (; d + kHeld * kVec <= w.dh; d += kHeld * kVec) MixVectors<R, kHeld>(w, out, d, All{});
  ForVectors(w.dh - d, [&](int64_t i, auto lanes) { MixVectors<R, 1>(w, out, d + i, lanes); });
}

using ScoreFn = void (*)(const float* const*, int, const std::byte* const*, int64_t, float*,
                         int64_t);
using MixFn = void (*)(const Weighted&, float* const*);
constexpr ScoreFn kScoreRows[kAttentionRows] = {
    ScoreRows<1>,
    ScoreRows<kRowGroup < 2 ? kRowGroup : 2>,
    ScoreRows<kRowGroup < 3 ? kRowGroup : 3>,
    ScoreRows<kRowGroup < 4 ? kRowGroup : 4>,
    ScoreRows<kRowGroup < 5 ? kRowGroup : 5>,
    ScoreRows<kRowGroup < 6 ? kRowGroup : 6>,
    ScoreRows<kRowGroup < 7 ? kRowGroup : 7>,
    ScoreRows<kRowGroup < 8 ? kRowGroup : 8>,
};
