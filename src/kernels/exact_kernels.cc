// SPDX-License-Identifier: Apache-2.0
// The exact set: floats in, floats out, rounded once; everything between in double and in an order
// that no compiler flag or instruction set changes (-ffp-contract=off). Inner loops run over
// independent lanes, so compilers can vectorise them without touching that order.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/mode_kernels.h"

namespace carat {
namespace {

constexpr int kLanes = 8;      // partial sums of a reduction
constexpr int kChunkDh = 512;  // elements of the attention output that are summed at a time

// Element i goes to partial sum i mod 8; the partial sums are added from left to right.
double SumOfSquares(const float* x, int64_t n) {
  double lane[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int j = 0; j < kLanes; ++j) lane[j] += static_cast<double>(x[i + j]) * x[i + j];
  }
  for (int j = 0; i < n; ++i, ++j) lane[j] += static_cast<double>(x[i]) * x[i];
  double sum = 0;
  for (int j = 0; j < kLanes; ++j) sum += lane[j];
  return sum;
}

double InverseRms(const float* x, int64_t n, float eps) {
  return 1 / std::sqrt(SumOfSquares(x, n) / static_cast<double>(n) + eps);
}

void RmsNorm(const float* x, const float* w, float* y, int64_t n, float eps) {
  const double inv = InverseRms(x, n, eps);
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(x[i] * inv * (w ? w[i] : 1.0));
}

void AddNorm(float* x, const float* a, const float* w, int64_t n, float eps, float scale) {
  const double inv = InverseRms(a, n, eps);
  for (int64_t i = 0; i < n; ++i)
    x[i] = static_cast<float>((x[i] + a[i] * inv * (w ? w[i] : 1.0)) * scale);
}

void GeluMul(const float* gate, const float* up, float* y, int64_t n) {
  constexpr double kSqrt2OverPi = 0.79788456080286535588;
  for (int64_t i = 0; i < n; ++i) {
    const double v = gate[i];
    const double gelu = 0.5 * v * (1 + std::tanh(kSqrt2OverPi * (v + 0.044715 * v * v * v)));
    y[i] = static_cast<float>(gelu * up[i]);
  }
}

void NormRope(float* head, const float* w, int64_t d, float eps, const float* cos, const float* sin,
              int64_t pairs, float scale) {
  const double inv = InverseRms(head, d, eps);
  const int64_t half = d / 2;
  for (int64_t i = 0; i < half; ++i) {
    const double a = head[i] * inv * (w ? w[i] : 1.0);
    const double b = head[i + half] * inv * (w ? w[i + half] : 1.0);
    const bool rotates = i < pairs;
    const double c = rotates ? cos[i] : 1.0, s = rotates ? sin[i] : 0.0;
    head[i] = static_cast<float>((a * c - b * s) * scale);
    head[i + half] = static_cast<float>((b * c + a * s) * scale);
  }
}

void Softcap(float* x, int64_t n, float cap) {
  const double c = cap;
  for (int64_t i = 0; i < n; ++i) x[i] = static_cast<float>(c * std::tanh(x[i] / c));
}

// score[j] = sum over d, in order, of q[d] k[d][j].
void BlockScores(const float* q, const float* k, int dh, double* score) {
  double acc[kKvBlock] = {};
  for (int d = 0; d < dh; ++d) {
    const double qd = q[d];
    const float* kd = k + static_cast<int64_t>(d) * kKvBlock;
    for (int j = 0; j < kKvBlock; ++j) acc[j] += qd * kd[j];
  }
  std::memcpy(score, acc, sizeof acc);
}

// Output elements [begin, begin + count) of one row. The softmax is kept up to date block by block:
// whenever a block raises the maximum, what was summed so far is scaled down. Blocks without a
// visible position are not looked at, so the row's range alone decides what happens.
void AttendRow(const AttentionTile& t, int row, int begin, int count) {
  double acc[kChunkDh] = {};
  double sum = 0;
  double max = -std::numeric_limits<double>::infinity();
  const int64_t first = t.first[row], last = t.last[row];
  for (int64_t b = first / kKvBlock; b <= last / kKvBlock; ++b) {
    const float* k = reinterpret_cast<const float*>(t.blocks[b - t.first_block]);
    const float* v = k + static_cast<int64_t>(t.dh) * kKvBlock + begin;
    double p[kKvBlock];
    BlockScores(t.q[row], k, t.dh, p);
    const int j0 = static_cast<int>(std::max<int64_t>(first - b * kKvBlock, 0));
    const int j1 = static_cast<int>(std::min<int64_t>(last - b * kKvBlock, kKvBlock - 1));
    const double block_max = *std::max_element(p + j0, p + j1 + 1);
    if (block_max > max) {
      const double down = std::exp(max - block_max);  // 0 for the first block
      for (int d = 0; d < count; ++d) acc[d] *= down;
      sum *= down;
      max = block_max;
    }
    for (int j = j0; j <= j1; ++j) {
      const double pj = std::exp(p[j] - max);
      const float* vj = v + static_cast<int64_t>(j) * t.dh;
      sum += pj;
      for (int d = 0; d < count; ++d) acc[d] += pj * vj[d];
    }
  }
  for (int d = 0; d < count; ++d) t.out[row][begin + d] = static_cast<float>(acc[d] / sum);
}

void Attention(const AttentionTile& tile) {
  for (int row = 0; row < tile.rows; ++row) {
    for (int begin = 0; begin < tile.dh; begin += kChunkDh)
      AttendRow(tile, row, begin, std::min(kChunkDh, tile.dh - begin));
  }
}

void StoreKv(const float* k, const float* v, int64_t dh, int lane, std::byte* block) {
  float* kb = reinterpret_cast<float*>(block);
  for (int64_t d = 0; d < dh; ++d) kb[d * kKvBlock + lane] = k[d];
  std::memcpy(kb + dh * kKvBlock + lane * dh, v, static_cast<size_t>(dh) * sizeof(float));
}

constexpr ModeKernels kExact = {
    .rms_norm = RmsNorm,
    .add_norm = AddNorm,
    .gelu_mul = GeluMul,
    .norm_rope = NormRope,
    .softcap = Softcap,
    .attention = Attention,
    .store_kv = StoreKv,
    .kv_element_bytes = sizeof(float),
};

}  // namespace

const ModeKernels& ExactKernels() { return kExact; }

}  // namespace carat
