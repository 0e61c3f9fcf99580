// SPDX-License-Identifier: Apache-2.0
// The plainest form of every matrix kernel: what runs where nothing better does, and the
// definition of the integer arithmetic for the tests. Activation codes are int16 q[32].
#include <cmath>
#include <cstring>

#include "kernels/fill.h"
#include "kernels/generic/float_dot.inl.h"
#include "kernels/generic/quantize.inl.h"
#include "tensor/half.h"

namespace carat {
namespace {

constexpr int kTokenTile = 8;

class ActBlock {
 public:
  explicit ActBlock(const float* x) : x_(x) {}
  float MaxAbs() const {
    uint32_t max = 0;
    for (int k = 0; k < kBlockCols; ++k) {
      const uint32_t bits = FloatToBits(x_[k]) & 0x7FFFFFFF;
      max = bits > max ? bits : max;
    }
    return BitsToFloat(max);
  }
  HalfSums Store(float inverse, std::byte* codes) const {
    int16_t q[kBlockCols];
    int32_t sum[2] = {0, 0};
    for (int k = 0; k < kBlockCols; ++k) {
      q[k] = static_cast<int16_t>(std::nearbyint(x_[k] * inverse));
      sum[k / 16] += q[k];
    }
    std::memcpy(codes, q, 64);
    return {sum[0], sum[1]};
  }

 private:
  const float* x_;
};

// One block of a panel, unpacked: code16 of the contract.
struct Block {
  int16_t codes[kPanelRows][kBlockCols];
  float scales[2][kPanelRows];
  float offsets[2][kPanelRows];
};

void UnpackFloats(const PanelFormat& f, const std::byte* from, int halves,
                  float (*to)[kPanelRows]) {
  for (int h = 0; h < halves; ++h) {
    for (int r = 0; r < kPanelRows; r += kLanes) {
      const int i = h * kPanelRows + r;
      Store(&to[h][r], f.f16_scales ? LoadF16(from + i * 2) : Load(from + i * 4));
    }
  }
}

void Unpack(const PanelFormat& f, const std::byte* pair, int parity, Block* block) {
  const int halves = f.half_groups ? 2 : 1;
  const int floats_bytes = halves * kPanelRows * (f.f16_scales ? 2 : 4);
  UnpackFloats(f, pair + parity * floats_bytes, halves, block->scales);
  if (f.has_offset) UnpackFloats(f, pair + (2 + parity) * floats_bytes, halves, block->offsets);
  const int bias = f.biased ? 128 : 0;
  const auto* codes = reinterpret_cast<const uint8_t*>(pair + f.codes_at);
  codes += parity * kPanelRows * (f.nibbles ? 16 : 32);
  for (int g = 0; g < (f.nibbles ? 4 : 8); ++g) {
    for (int r = 0; r < kPanelRows; ++r) {
      int16_t* row = block->codes[r];
      for (int j = 0; j < 4; ++j) {
        const int byte = *codes++, k = 4 * g + j;
        if (f.nibbles) {
          row[k] = static_cast<int16_t>((byte & 15) * 16 - bias);
          row[16 + k] = static_cast<int16_t>((byte & 0xF0) - bias);
        } else {
          row[k] = static_cast<int16_t>(byte - bias);
        }
      }
    }
  }
}

template <int kCount>
int32_t Dot(const int16_t* a, const int16_t* b) {
  int32_t sum = 0;
  for (int k = 0; k < kCount; ++k) sum += a[k] * b[k];
  return sum;
}

void PanelDot(const PanelDotArgs& a) {
  const PanelFormat& f = *a.format;
  float y[kTokenTile][kPanelRows] = {};
  for (int t = 0; t < a.nt && a.resume; ++t)
    for (int r = 0; r < a.rows; ++r) y[t][r] = a.y[t * a.y_stride + r];
  for (int64_t b = 0; b < a.blocks; ++b) {
    Block w;
    Unpack(f, a.panel + b / 2 * f.pair_bytes, static_cast<int>(b % 2), &w);
    const std::byte* act = a.tile + b * a.nt * kActBlockBytes;
    for (int t = 0; t < a.nt; ++t) {
      int16_t q[kBlockCols];
      float meta[kActMetaWords];
      std::memcpy(q, act + t * 64, 64);
      std::memcpy(meta, act + a.nt * 64 + t * 4 * kActMetaWords, sizeof meta);
      const float s = meta[f.nibbles ? kActScale16 : kActScale];
      for (int h = 0; h < (f.half_groups ? 2 : 1); ++h) {
        const float offset = meta[f.half_groups ? kActOffset0 + h : kActOffset];
        for (int r = 0; r < kPanelRows; ++r) {
          const int32_t acc = f.half_groups ? Dot<16>(w.codes[r] + 16 * h, q + 16 * h)
                                            : Dot<kBlockCols>(w.codes[r], q);
          y[t][r] = std::fma(static_cast<float>(acc), w.scales[h][r] * s, y[t][r]);
          if (f.has_offset) y[t][r] = std::fma(w.offsets[h][r], offset, y[t][r]);
        }
      }
    }
  }
  for (int t = 0; t < a.nt; ++t)
    for (int r = 0; r < a.rows; ++r) a.y[t * a.y_stride + r] = y[t][r] * a.scale;
}

}  // namespace

void FillLinearScalar(LinearKernels* k) {
  k->token_tile = kTokenTile;
  k->quantize = QuantizeTile<ActBlock>;
  k->panel_dot = PanelDot;
  FillDots(k);
}

}  // namespace carat
