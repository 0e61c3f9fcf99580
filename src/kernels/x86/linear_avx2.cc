// SPDX-License-Identifier: Apache-2.0
// Matrix kernels for AVX2. Activation codes are int16 q[32] and weight codes are widened to 16
// bits: the 8-bit multiply-add of this instruction set saturates, and two int8 planes would take
// as many instructions as one int16 product. A vector holds 4 columns of 8 rows.
#include "kernels/fill.h"
#include "kernels/generic/float_dot.inl.h"
#include "kernels/generic/quantize.inl.h"
#include "kernels/x86/panel_prefetch.h"

namespace carat {
namespace {

constexpr int kTokenTile = 4;

inline int32_t HorizontalMax(__m256i a) {
  __m128i m = _mm_max_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4E));
  return _mm_cvtsi128_si32(_mm_max_epi32(m, _mm_shuffle_epi32(m, 0xB1)));
}

inline int32_t HorizontalSum(__m256i a) {
  __m128i s = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xB1)));
}

class ActBlock {
 public:
  explicit ActBlock(const float* x) {
    for (int i = 0; i < 4; ++i) x_[i] = _mm256_loadu_ps(x + 8 * i);
  }
  float MaxAbs() const {
    const __m256i magnitude = _mm256_set1_epi32(INT32_MAX);
    __m256i max = _mm256_setzero_si256();
    for (int i = 0; i < 4; ++i)
      max = _mm256_max_epi32(max, _mm256_and_si256(_mm256_castps_si256(x_[i]), magnitude));
    const int32_t bits = HorizontalMax(max);
    float f;
    std::memcpy(&f, &bits, 4);
    return f;
  }
  HalfSums Store(float inverse, std::byte* codes) const {
    __m256i q[4];
    for (int i = 0; i < 4; ++i)
      q[i] = _mm256_cvtps_epi32(_mm256_mul_ps(x_[i], _mm256_set1_ps(inverse)));
    for (int i = 0; i < 2; ++i)
      _mm256_storeu_si256(
          reinterpret_cast<__m256i*>(codes) + i,
          _mm256_permute4x64_epi64(_mm256_packs_epi32(q[2 * i], q[2 * i + 1]), 0xD8));
    return {HorizontalSum(_mm256_add_epi32(q[0], q[1])),
            HorizontalSum(_mm256_add_epi32(q[2], q[3]))};
  }

 private:
  __m256 x_[4];
};

inline __m256 LoadScales(const std::byte* p, bool f16) { return f16 ? LoadF16(p).v : Load(p).v; }
inline __m256 BroadcastFloat(const std::byte* p) {
  float f;
  std::memcpy(&f, p, 4);
  return _mm256_set1_ps(f);
}
inline __m256i Broadcast4Codes(const std::byte* p) {
  int64_t word;
  std::memcpy(&word, p, 8);
  return _mm256_set1_epi64x(word);
}

// Four columns of eight rows in 16 bits: rows 0, 1, 4, 5 and rows 2, 3, 6, 7.
struct WideCodes {
  __m256i a, b;
};

// Column group g (0..7) of a block, of the 8 rows that start at `codes`; nibbles times 16.
template <bool kNibbles>
inline WideCodes LoadCodes(const std::byte* codes, int g) {
  __m256i c =
      _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes + 64 * (kNibbles ? g % 4 : g)));
  if constexpr (kNibbles) {
    if (g < 4) c = _mm256_slli_epi16(c, 4);
    c = _mm256_and_si256(c, _mm256_set1_epi8(static_cast<char>(0xF0)));
  }
  const __m256i zero = _mm256_setzero_si256();
  return {_mm256_unpacklo_epi8(c, zero), _mm256_unpackhi_epi8(c, zero)};
}

template <bool kNibbles, bool kHalves, int kTokens>
struct PanelTile {
  static constexpr int kCodeBytes = kNibbles ? 256 : 512;
  static constexpr int kMeta = 4 * kActMetaWords;

  // sum += column groups [kFirst, kFirst + 4) of one block. Unrolled further, GCC 12 keeps the sums
  // in memory and loses a fifth of the speed.
  template <int kFirst>
  static inline void AddGroups(const std::byte* codes, const std::byte* act, __m256i (*sum)[2]) {
#pragma GCC unroll 1
    for (int g = kFirst; g < kFirst + 4; ++g) {
      const WideCodes w = LoadCodes<kNibbles>(codes, g);
      for (int t = 0; t < kTokens; ++t) {
        const __m256i q = Broadcast4Codes(act + t * 64 + 8 * g);
        sum[t][0] = _mm256_add_epi32(sum[t][0], _mm256_madd_epi16(w.a, q));
        sum[t][1] = _mm256_add_epi32(sum[t][1], _mm256_madd_epi16(w.b, q));
      }
    }
  }

  // y += a block (kHalf -1) or one half of it, for 8 rows.
  template <int kHalf>
  static inline void Add(const PanelFormat& f, const std::byte* codes, const std::byte* scales,
                         const std::byte* offsets, const std::byte* act, float (*y)[8]) {
    __m256i sum[kTokens][2];
    for (int t = 0; t < kTokens; ++t) sum[t][0] = sum[t][1] = _mm256_setzero_si256();
    if (kHalf != 1) AddGroups<0>(codes, act, sum);
    if (kHalf != 0) AddGroups<4>(codes, act, sum);
    const __m256 scale = LoadScales(scales, f.f16_scales);
    const std::byte* meta = act + kTokens * 64;
    for (int t = 0; t < kTokens; ++t) {
      const std::byte* m = meta + t * kMeta;
      __m256i acc = _mm256_hadd_epi32(sum[t][0], sum[t][1]);
      if (f.biased) {
        int32_t neg_sum;
        std::memcpy(&neg_sum, m + 4 * (kHalf >= 0 ? kActNegSum0 + kHalf : kActNegSum), 4);
        acc = _mm256_add_epi32(acc, _mm256_set1_epi32(neg_sum * 128));
      }
      const __m256 s = BroadcastFloat(m + 4 * (kNibbles ? kActScale16 : kActScale));
      _mm256_store_ps(y[t], _mm256_fmadd_ps(_mm256_cvtepi32_ps(acc), _mm256_mul_ps(scale, s),
                                            _mm256_load_ps(y[t])));
    }
    if (f.has_offset) {
      const __m256 offset = LoadScales(offsets, f.f16_scales);
      for (int t = 0; t < kTokens; ++t) {
        const int at = 4 * (kHalf >= 0 ? kActOffset0 + kHalf : kActOffset);
        _mm256_store_ps(y[t], _mm256_fmadd_ps(offset, BroadcastFloat(meta + t * kMeta + at),
                                              _mm256_load_ps(y[t])));
      }
    }
  }

  static void Run(const PanelDotArgs& a) {
    constexpr int kHalfCount = kHalves ? 2 : 1;
    const PanelFormat f = *a.format;
    const int size = f.f16_scales ? 2 : 4;
    // In memory, because the integer sums need the registers. First rows 0..7, then 8..15.
    alignas(32) float y[2][kTokens][8] = {};
    for (int t = 0; t < kTokens && a.resume; ++t)
      for (int r = 0; r < a.rows; ++r) y[r / 8][t][r % 8] = a.y[t * a.y_stride + r];
    const std::byte* act = a.tile;
    for (int64_t b = 0; b < a.blocks; ++b, act += kTokens * kActBlockBytes) {
      if (kTokens <= 2) PrefetchPanel(a.panel + b * (f.pair_bytes / 2), f.pair_bytes / 2);
      const std::byte* pair = a.panel + b / 2 * f.pair_bytes;
      const int parity = static_cast<int>(b % 2);
      const std::byte* codes = pair + f.codes_at + parity * kCodeBytes;
      const std::byte* scales = pair + parity * kHalfCount * kPanelRows * size;
      const std::byte* offsets = scales + 2 * kHalfCount * kPanelRows * size;
#pragma GCC unroll 1
      for (int i = 0; i < 2; ++i) {
        if constexpr (kHalves) {
          Add<0>(f, codes, scales, offsets, act, y[i]);
          Add<1>(f, codes, scales + kPanelRows * size, offsets + kPanelRows * size, act, y[i]);
        } else {
          Add<-1>(f, codes, scales, offsets, act, y[i]);
        }
        codes += 32;
        scales += 8 * size;
        offsets += 8 * size;
      }
    }
    for (int t = 0; t < kTokens; ++t)
      for (int r = 0; r < a.rows; r += 8)
        StoreN(a.y + t * a.y_stride + r, Mul(Load(y[r / 8][t]), Set1(a.scale)),
               a.rows - r < 8 ? a.rows - r : 8);
  }
};

template <bool kNibbles, bool kHalves, int kTokens = kTokenTile>
void RunTokens(const PanelDotArgs& a) {
  if constexpr (kTokens > 1) {
    if (a.nt < kTokens) return RunTokens<kNibbles, kHalves, kTokens - 1>(a);
  }
  PanelTile<kNibbles, kHalves, kTokens>::Run(a);
}

void PanelDot(const PanelDotArgs& a) {
  const PanelFormat& f = *a.format;
  if (f.nibbles) {
    f.half_groups ? RunTokens<true, true>(a) : RunTokens<true, false>(a);
  } else {
    f.half_groups ? RunTokens<false, true>(a) : RunTokens<false, false>(a);
  }
}

}  // namespace

void FillLinearAvx2(LinearKernels* k) {
  k->token_tile = kTokenTile;
  k->quantize = QuantizeTile<ActBlock>;
  k->panel_dot = PanelDot;
  FillDots(k);
}

}  // namespace carat
