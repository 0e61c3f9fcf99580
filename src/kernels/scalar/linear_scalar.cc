// SPDX-License-Identifier: Apache-2.0
// The plainest form of every matrix kernel: what runs where nothing better does, and the
// definition of the integer arithmetic for the tests. Activation codes are int16 q[32].
#include <cmath>
#include <cstring>

#include "kernels/fill.h"
#include "kernels/generic/float_dot.inl.h"

namespace carat {
namespace {

constexpr int kTokenTile = 8;

void Quantize(const QuantizeArgs& a) {
  for (int64_t b = 0; b < a.blocks; ++b) {
    std::byte* block = a.tile + b * a.nt * kActBlockBytes;
    for (int t = 0; t < a.nt; ++t) {
      const float* x = a.x + t * a.x_stride + b * kBlockCols;
      float max = 0;
      for (int k = 0; k < kBlockCols; ++k) max = std::fabs(x[k]) > max ? std::fabs(x[k]) : max;
      const bool zero = max < 0x1p-100f;
      const float s = zero ? 0 : max / 16256, inverse = zero ? 0 : 16256 / max;
      int16_t q[kBlockCols];
      int32_t sum[2] = {0, 0};
      for (int k = 0; k < kBlockCols; ++k) {
        q[k] = static_cast<int16_t>(std::nearbyint(x[k] * inverse));
        sum[k / 16] += q[k];
      }
      std::memcpy(block + t * 64, q, 64);
      const float scales[2] = {s, s / 16};
      const int32_t total = sum[0] + sum[1], neg_sums[3] = {-total, -sum[0], -sum[1]};
      const float offsets[3] = {s * static_cast<float>(total), s * static_cast<float>(sum[0]),
                                s * static_cast<float>(sum[1])};
      std::byte* meta = block + a.nt * 64 + t * 4 * kActMetaWords;
      std::memcpy(meta + 4 * kActScale, scales, 8);
      std::memcpy(meta + 4 * kActNegSum, neg_sums, 4);
      std::memcpy(meta + 4 * kActOffset, offsets, 4);
      std::memcpy(meta + 4 * kActNegSum0, neg_sums + 1, 8);
      std::memcpy(meta + 4 * kActOffset0, offsets + 1, 8);
    }
  }
}

float ScaleAt(const PanelFormat& f, const std::byte* scales, int i) {
  float s;
  if (f.f16_scales) {
    std::byte four[8] = {};
    std::memcpy(four, scales + i * 2, 2);
    s = LoadF16(four).v[0];
  } else {
    std::memcpy(&s, scales + i * 4, 4);
  }
  return s;
}

void PanelDot(const PanelDotArgs& a) {
  const PanelFormat& f = *a.format;
  const int halves = f.half_groups ? 2 : 1, cols = kBlockCols / halves;
  const int scale_bytes = f.f16_scales ? 2 : 4, code_bytes = kPanelRows * (f.nibbles ? 16 : 32);
  for (int t = 0; t < a.nt; ++t) {
    float y[kPanelRows] = {};
    for (int64_t b = 0; b < a.blocks; ++b) {
      const std::byte* pair = a.panel + b / 2 * f.pair_bytes;
      const auto* codes = reinterpret_cast<const uint8_t*>(pair + f.codes_at + b % 2 * code_bytes);
      const std::byte* scales = pair + b % 2 * halves * kPanelRows * scale_bytes;
      const std::byte* offsets = scales + 2 * halves * kPanelRows * scale_bytes;
      const std::byte* act = a.tile + b * a.nt * kActBlockBytes;
      int16_t q[kBlockCols];
      float meta[kActMetaWords];
      std::memcpy(q, act + t * 64, 64);
      std::memcpy(meta, act + a.nt * 64 + t * 4 * kActMetaWords, sizeof meta);
      for (int h = 0; h < halves; ++h) {
        const float s = meta[f.nibbles ? kActScale16 : kActScale];
        const float m = meta[f.half_groups ? kActOffset0 + h : kActOffset];
        for (int r = 0; r < kPanelRows; ++r) {
          int32_t acc = 0;
          for (int k = h * cols; k < (h + 1) * cols; ++k) {
            const int j = k % (f.nibbles ? 16 : 32);
            const int byte = codes[(j / 4 * kPanelRows + r) * 4 + j % 4];
            const int code =
                f.nibbles ? (k < 16 ? (byte & 15) * 16 : (byte & 0xF0)) - (f.biased ? 128 : 0)
                          : byte - (f.biased ? 128 : 0);
            acc += code * q[k];
          }
          const int i = h * kPanelRows + r;
          y[r] = std::fma(static_cast<float>(acc), ScaleAt(f, scales, i) * s, y[r]);
          if (f.has_offset) y[r] = std::fma(ScaleAt(f, offsets, i), m, y[r]);
        }
      }
    }
    for (int r = 0; r < a.rows; ++r) a.y[t * a.y_stride + r] = y[r] * a.scale;
  }
}

}  // namespace

void FillLinearScalar(LinearKernels* k) {
  k->token_tile = kTokenTile;
  k->quantize = Quantize;
  k->panel_dot = PanelDot;
  FillDots(k);
}

}  // namespace carat
