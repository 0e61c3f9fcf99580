// SPDX-License-Identifier: Apache-2.0
// Matrix kernels for AVX-512 with VNNI. The 16 lanes are the 16 rows of a panel. An activation
// q = 128 * hi + lo is stored as two int8 planes, hi[32] then lo[32], so that one instruction
// multiplies 64 unsigned codes with 4 broadcast signed bytes.
#include "kernels/fill.h"
#include "kernels/generic/float_dot.inl.h"
#include "kernels/generic/quantize.inl.h"
#include "kernels/x86/panel_prefetch.h"

namespace carat {
namespace {

constexpr int kTokenTile = 8;

class ActBlock {
 public:
  explicit ActBlock(const float* x) : x0_(_mm512_loadu_ps(x)), x1_(_mm512_loadu_ps(x + 16)) {}
  float MaxAbs() const {
    const __m512i b0 = _mm512_castps_si512(_mm512_abs_ps(x0_));
    const __m512i b1 = _mm512_castps_si512(_mm512_abs_ps(x1_));
    const int32_t bits = _mm512_reduce_max_epi32(_mm512_max_epi32(b0, b1));
    float f;
    std::memcpy(&f, &bits, 4);
    return f;
  }
  // In 16 bits; packing leaves 4 of the first 16 columns beside 4 of the others in each lane.
  HalfSums Store(float inverse, std::byte* codes) const {
    const __m512i q0 = _mm512_cvtps_epi32(_mm512_mul_ps(x0_, _mm512_set1_ps(inverse)));
    const __m512i q1 = _mm512_cvtps_epi32(_mm512_mul_ps(x1_, _mm512_set1_ps(inverse)));
    const __m512i q = _mm512_packs_epi32(q0, q1);
    const __m512i hi = _mm512_srai_epi16(_mm512_add_epi16(q, _mm512_set1_epi16(64)), 7);
    const __m512i lo = _mm512_sub_epi16(q, _mm512_slli_epi16(hi, 7));
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    _mm512_storeu_si512(codes, _mm512_permutexvar_epi32(order, _mm512_packs_epi16(hi, lo)));
    // Sums of pairs, then of the lanes: of the first columns in elements 0 and 1, else in 2 and 3.
    const __m512i pairs = _mm512_madd_epi16(q, _mm512_set1_epi16(1));
    const __m256i s8 =
        _mm256_add_epi32(_mm512_castsi512_si256(pairs), _mm512_extracti64x4_epi64(pairs, 1));
    const __m128i s4 = _mm_add_epi32(_mm256_castsi256_si128(s8), _mm256_extracti128_si256(s8, 1));
    const __m128i s = _mm_add_epi32(s4, _mm_shuffle_epi32(s4, 0xB1));
    return {_mm_cvtsi128_si32(s), _mm_extract_epi32(s, 2)};
  }

 private:
  __m512 x0_, x1_;
};

enum class CodeKind { kNibbles, kBiasedNibbles, kBytes };

inline __m512 LoadScales(const std::byte* p, bool f16) { return f16 ? LoadF16(p).v : Load(p).v; }
inline __m512i Broadcast(const std::byte* p) {
  int32_t word;
  std::memcpy(&word, p, 4);
  return _mm512_set1_epi32(word);
}
inline __m512 BroadcastFloat(const std::byte* p) { return _mm512_castsi512_ps(Broadcast(p)); }

// acc + the dot products of 4 unsigned codes in each lane of w with the 4 signed bytes at p.
inline __m512i DotBroadcast(__m512i acc, __m512i w, const std::byte* p) {
#if defined(__GNUC__) && !defined(__clang__)
  // GCC 12 loads the broadcast with an instruction of its own, which costs a fifth of the speed.
  using Word [[gnu::may_alias]] = int32_t;
  __asm__("vpdpbusd %2%{1to16%}, %1, %0"
          : "+v"(acc)
          : "v"(w), "m"(*reinterpret_cast<const Word*>(p)));
  return acc;
#else
  return _mm512_dpbusd_epi32(acc, w, Broadcast(p));
#endif
}

// acc[t] = the sum over code vectors [kFirst, kLast) of a block, for the tokens whose codes are 64
// bytes apart. The negative sum at `negative_sums` makes the codes signed: 128 * -sum(q) is what
// their bias of 128 added. Integer sums are exact in any order, so with few tokens each has
// several chains of dependent instructions: at least 4, better 8, hide their latency.
template <int kFirst, int kLast, bool kBiased, int kTokens>
inline void DotCodes(const __m512i* w, const std::byte* q, const std::byte* negative_sums,
                     __m512i* acc) {
  constexpr int kChains = kTokens <= 2 ? 2 : 1;  // of each plane
  constexpr bool kOwnChains = kTokens <= 4;      // of the low plane
  __m512i high[kTokens][kChains], low[kTokens][kChains];
  for (int t = 0; t < kTokens; ++t) {
    for (int c = 0; c < kChains; ++c) high[t][c] = low[t][c] = _mm512_setzero_si512();
    if (kBiased) high[t][0] = Broadcast(negative_sums + t * 4 * kActMetaWords);
  }
  for (int g = kFirst; g < kLast; ++g) {
    for (int t = 0; t < kTokens; ++t) {
      __m512i& h = high[t][g % kChains];
      h = DotBroadcast(h, w[g], q + t * 64 + 4 * g);
      if (kOwnChains) {
        __m512i& l = low[t][g % kChains];
        l = DotBroadcast(l, w[g], q + t * 64 + 32 + 4 * g);
      }
    }
  }
  for (int t = 0; t < kTokens; ++t) {
    for (int c = 1; c < kChains; ++c) high[t][0] = _mm512_add_epi32(high[t][0], high[t][c]);
    acc[t] = _mm512_slli_epi32(high[t][0], 7);
    for (int c = 0; c < kChains && kOwnChains; ++c) acc[t] = _mm512_add_epi32(acc[t], low[t][c]);
  }
  if (kOwnChains) return;
  for (int g = kFirst; g < kLast; ++g)
    for (int t = 0; t < kTokens; ++t) acc[t] = DotBroadcast(acc[t], w[g], q + t * 64 + 32 + 4 * g);
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
      __m512i acc[kTokens];
      DotCodes<0, 4, kBiased, kTokens>(w, act, meta + 4 * kActNegSum0, acc);
      for (int t = 0; t < kTokens; ++t)
        y[t] = Accumulate(acc[t], scale0, meta + t * kMeta + kScaleAt, y[t]);
      if (f.has_offset) AddOffset(offset0, meta + 4 * kActOffset0, y);
      DotCodes<4, 8, kBiased, kTokens>(w, act, meta + 4 * kActNegSum1, acc);
      for (int t = 0; t < kTokens; ++t)
        y[t] = Accumulate(acc[t], scale1, meta + t * kMeta + kScaleAt, y[t]);
      if (f.has_offset) AddOffset(offset1, meta + 4 * kActOffset1, y);
    } else {
      const std::byte* scales = pair + parity * kPanelRows * size;
      const __m512 scale = LoadScales(scales, f.f16_scales);
      __m512i acc[kTokens];
      DotCodes<0, 8, kBiased, kTokens>(w, act, meta + 4 * kActNegSum, acc);
      for (int t = 0; t < kTokens; ++t)
        y[t] = Accumulate(acc[t], scale, meta + t * kMeta + kScaleAt, y[t]);
      if (f.has_offset)
        AddOffset(LoadScales(scales + 2 * kPanelRows * size, f.f16_scales), meta + 4 * kActOffset,
                  y);
    }
  }

  static inline __m512 Accumulate(__m512i acc, __m512 scale, const std::byte* act_scale, __m512 y) {
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc), _mm512_mul_ps(scale, BroadcastFloat(act_scale)),
                           y);
  }

  static inline void AddOffset(__m512 offset, const std::byte* act_offsets, __m512* y) {
    for (int t = 0; t < kTokens; ++t)
      y[t] = _mm512_fmadd_ps(offset, BroadcastFloat(act_offsets + t * 4 * kActMetaWords), y[t]);
  }

  static void Run(const PanelDotArgs& a) {
    const PanelFormat f = *a.format;
    constexpr int64_t kActStep = kTokens * kActBlockBytes;
    __m512 y[kTokens];
    for (int t = 0; t < kTokens; ++t)
      y[t] = a.resume ? LoadN(a.y + t * a.y_stride, a.rows).v : _mm512_setzero_ps();
    const std::byte* act = a.tile;
    for (int64_t b = 0; b < a.blocks; ++b, act += kActStep) {
      const std::byte* pair = a.panel + (b >> 1) * f.pair_bytes;
      if (kTokens <= 4) PrefetchPanel(a.panel + b * (f.pair_bytes / 2), f.pair_bytes / 2);
      Block(f, pair, static_cast<int>(b & 1), act, y);
    }
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
  k->quantize = QuantizeTile<ActBlock>;
  k->panel_dot = PanelDot;
  FillDots(k);
}

}  // namespace carat
