// SPDX-License-Identifier: Apache-2.0
// Matrix kernels for AVX-512 with VNNI. The 16 lanes are the 16 rows of a panel. An activation
// q = 128 * hi + lo is stored as two int8 planes, hi[32] then lo[32], so that one instruction
// multiplies 64 unsigned codes with 4 broadcast signed bytes.
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
      const __m512 x0 = _mm512_loadu_ps(x), x1 = _mm512_loadu_ps(x + 16);
      const float max = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(x0), _mm512_abs_ps(x1)));
      const bool zero = max < 0x1p-100f;
      const float s = zero ? 0 : max / 16256, inverse = zero ? 0 : 16256 / max;
      const __m512i q0 = _mm512_cvtps_epi32(_mm512_mul_ps(x0, _mm512_set1_ps(inverse)));
      const __m512i q1 = _mm512_cvtps_epi32(_mm512_mul_ps(x1, _mm512_set1_ps(inverse)));
      const __m512i half = _mm512_set1_epi32(64);
      const __m512i h0 = _mm512_srai_epi32(_mm512_add_epi32(q0, half), 7);
      const __m512i h1 = _mm512_srai_epi32(_mm512_add_epi32(q1, half), 7);
      const __m512i l0 = _mm512_sub_epi32(q0, _mm512_slli_epi32(h0, 7));
      const __m512i l1 = _mm512_sub_epi32(q1, _mm512_slli_epi32(h1, 7));
      auto* codes = reinterpret_cast<__m128i*>(block + t * 64);
      _mm_storeu_si128(codes + 0, _mm512_cvtepi32_epi8(h0));
      _mm_storeu_si128(codes + 1, _mm512_cvtepi32_epi8(h1));
      _mm_storeu_si128(codes + 2, _mm512_cvtepi32_epi8(l0));
      _mm_storeu_si128(codes + 3, _mm512_cvtepi32_epi8(l1));
      const int32_t sum0 = _mm512_reduce_add_epi32(q0), sum1 = _mm512_reduce_add_epi32(q1);
      const int32_t total = sum0 + sum1, neg_sums[3] = {-total, -sum0, -sum1};
      const float scales[2] = {s, s / 16};
      const float offsets[3] = {s * static_cast<float>(total), s * static_cast<float>(sum0),
                                s * static_cast<float>(sum1)};
      std::byte* meta = block + a.nt * 64 + t * 4 * kActMetaWords;
      std::memcpy(meta + 4 * kActScale, scales, 8);
      std::memcpy(meta + 4 * kActNegSum, neg_sums, 4);
      std::memcpy(meta + 4 * kActOffset, offsets, 4);
      std::memcpy(meta + 4 * kActNegSum0, neg_sums + 1, 8);
      std::memcpy(meta + 4 * kActOffset0, offsets + 1, 8);
    }
  }
}

enum class CodeKind { kNibbles, kBiasedNibbles, kBytes };

inline __m512 LoadScales(const std::byte* p, bool f16) { return f16 ? LoadF16(p).v : Load(p).v; }
inline __m512i Broadcast(const std::byte* p) {
  int32_t word;
  std::memcpy(&word, p, 4);
  return _mm512_set1_epi32(word);
}
inline __m512 BroadcastFloat(const std::byte* p) { return _mm512_castsi512_ps(Broadcast(p)); }

// Code vectors [first, last) of a block with both planes. `negative_sum` makes the codes signed:
// 128 * -sum(q) is what their bias of 128 added.
template <int kFirst, int kLast, bool kBiased>
inline __m512i DotCodes(const __m512i* w, const std::byte* q, const std::byte* negative_sum) {
  __m512i acc = kBiased ? Broadcast(negative_sum) : _mm512_setzero_si512();
  for (int g = kFirst; g < kLast; ++g) acc = _mm512_dpbusd_epi32(acc, w[g], Broadcast(q + 4 * g));
  acc = _mm512_slli_epi32(acc, 7);
  for (int g = kFirst; g < kLast; ++g)
    acc = _mm512_dpbusd_epi32(acc, w[g], Broadcast(q + 32 + 4 * g));
  return acc;
}

template <CodeKind kKind, bool kHalves, int kTokens>
struct PanelTile {
  static constexpr bool kNibbles = kKind != CodeKind::kBytes;
  static constexpr bool kBiased = kKind != CodeKind::kNibbles;
  static constexpr int kCodeBytes = kNibbles ? 256 : 512;

  static inline void Block(const PanelFormat& f, const std::byte* pair, int parity,
                           const std::byte* act, __m512* y) {
    const std::byte* codes = pair + f.codes_at + parity * kCodeBytes;
    __m512i w[8];
    if constexpr (kNibbles) {
      // Times 16, which the scale takes back: the high nibble then needs no shift.
      const __m512i high = _mm512_set1_epi8(static_cast<char>(0xF0));
      for (int g = 0; g < 4; ++g) {
        const __m512i c = _mm512_loadu_si512(codes + 64 * g);
        w[g] = _mm512_and_si512(_mm512_slli_epi16(c, 4), high);
        w[4 + g] = _mm512_and_si512(c, high);
      }
    } else {
      for (int g = 0; g < 8; ++g) w[g] = _mm512_loadu_si512(codes + 64 * g);
    }
    const std::byte* meta = act + kTokens * 64;
    constexpr int kMeta = 4 * kActMetaWords;
    constexpr int kScaleAt = 4 * (kNibbles ? kActScale16 : kActScale);
    const int size = f.f16_scales ? 2 : 4;
    if constexpr (kHalves) {
      const int half_bytes = kPanelRows * size;
      const std::byte* scales = pair + parity * 2 * half_bytes;
      const __m512 scale0 = LoadScales(scales, f.f16_scales);
      const __m512 scale1 = LoadScales(scales + half_bytes, f.f16_scales);
      __m512 offset0 = _mm512_setzero_ps(), offset1 = offset0;
      if (f.has_offset) {
        offset0 = LoadScales(scales + 4 * half_bytes, f.f16_scales);
        offset1 = LoadScales(scales + 5 * half_bytes, f.f16_scales);
      }
      for (int t = 0; t < kTokens; ++t) {
        const std::byte *q = act + t * 64, *m = meta + t * kMeta;
        const __m512 s = BroadcastFloat(m + kScaleAt);
        const __m512i acc0 = DotCodes<0, 4, kBiased>(w, q, m + 4 * kActNegSum0);
        const __m512i acc1 = DotCodes<4, 8, kBiased>(w, q, m + 4 * kActNegSum1);
        y[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc0), _mm512_mul_ps(scale0, s), y[t]);
        if (f.has_offset)
          y[t] = _mm512_fmadd_ps(offset0, BroadcastFloat(m + 4 * kActOffset0), y[t]);
        y[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc1), _mm512_mul_ps(scale1, s), y[t]);
        if (f.has_offset)
          y[t] = _mm512_fmadd_ps(offset1, BroadcastFloat(m + 4 * kActOffset1), y[t]);
      }
    } else {
      const std::byte* scales = pair + parity * kPanelRows * size;
      const __m512 scale = LoadScales(scales, f.f16_scales);
      for (int t = 0; t < kTokens; ++t) {
        const std::byte *q = act + t * 64, *m = meta + t * kMeta;
        const __m512i acc = DotCodes<0, 8, kBiased>(w, q, m + 4 * kActNegSum);
        y[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc),
                               _mm512_mul_ps(scale, BroadcastFloat(m + kScaleAt)), y[t]);
      }
      if (f.has_offset) {
        const __m512 offset = LoadScales(scales + 2 * kPanelRows * size, f.f16_scales);
        for (int t = 0; t < kTokens; ++t)
          y[t] = _mm512_fmadd_ps(offset, BroadcastFloat(meta + t * kMeta + 4 * kActOffset), y[t]);
      }
    }
  }

  static void Run(const PanelDotArgs& a) {
    const PanelFormat f = *a.format;
    constexpr int64_t kActStep = kTokens * kActBlockBytes;
    __m512 y[kTokens];
    for (int t = 0; t < kTokens; ++t) y[t] = _mm512_setzero_ps();
    const std::byte *pair = a.panel, *act = a.tile;
    for (int64_t b = 0; b + 2 <= a.blocks; b += 2) {
      Block(f, pair, 0, act, y);
      Block(f, pair, 1, act + kActStep, y);
      pair += f.pair_bytes;
      act += 2 * kActStep;
    }
    if (a.blocks % 2 != 0) Block(f, pair, 0, act, y);
    for (int t = 0; t < kTokens; ++t)
      StoreN(a.y + t * a.y_stride, Mul({y[t]}, Set1(a.scale)), a.rows);
  }
};

template <CodeKind kKind, bool kHalves, int kTokens = kTokenTile>
void RunTokens(const PanelDotArgs& a) {
  if constexpr (kTokens > 1) {
    if (a.nt < kTokens) return RunTokens<kKind, kHalves, kTokens - 1>(a);
  }
  PanelTile<kKind, kHalves, kTokens>::Run(a);
}

void PanelDot(const PanelDotArgs& a) {
  const PanelFormat& f = *a.format;
  if (!f.nibbles) {
    f.half_groups ? RunTokens<CodeKind::kBytes, true>(a) : RunTokens<CodeKind::kBytes, false>(a);
  } else if (f.half_groups) {
    RunTokens<CodeKind::kBiasedNibbles, true>(a);
  } else if (f.biased) {
    RunTokens<CodeKind::kBiasedNibbles, false>(a);
  } else {
    RunTokens<CodeKind::kNibbles, false>(a);
  }
}

}  // namespace

void FillLinearAvx512Vnni(LinearKernels* k) {
  k->token_tile = kTokenTile;
  k->quantize = Quantize;
  k->panel_dot = PanelDot;
  FillDots(k);
}

}  // namespace carat
