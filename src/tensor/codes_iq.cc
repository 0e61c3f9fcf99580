// SPDX-License-Identifier: Apache-2.0
// The types with code books (file-formats.md 5.1, 5.2 and 5.5). Elements come in groups of 8 or 4
// that share a code book entry; t counts the groups of 8 of a block, g = t / 4 its 32-element
// sub-blocks.
#include <bit>

#include "tensor/block_decoder.h"
#include "tensor/iq_grids.h"

namespace carat {
namespace {

// Stores 8 values (one per byte), negated where the bit of `signs` is set.
inline void StoreSigned(uint64_t values, uint8_t signs, int8_t* codes) {
  const uint64_t negative = SpreadBits(signs);
  int8_t value[8], minus[8];
  std::memcpy(value, &values, sizeof(value));
  std::memcpy(minus, &negative, sizeof(minus));
  for (int j = 0; j < 8; ++j) codes[j] = static_cast<int8_t>((value[j] ^ -minus[j]) + minus[j]);
}

// Two entries of 4 elements as one of 8.
inline uint64_t Join(uint32_t first, uint32_t second) { return first | uint64_t{second} << 32; }

// Seven stored sign bits; the eighth makes the number of minus signs even.
inline uint8_t WithParity(uint32_t seven_bits) {
  return static_cast<uint8_t>(seven_bits | (std::popcount(seven_bits) & 1u) << 7);
}

inline int NibbleOf(const uint8_t* bytes, int index) {
  return bytes[index / 2] >> (4 * (index % 2)) & 15;
}

struct IQ2_XXSBlock {
  static constexpr int kElems = 256;
  static constexpr CodeFormat kFormat{32, false, -43, 43};
  uint8_t d[2];
  struct {
    uint8_t index[4], w[4];
  } sub[8];

  void Decode(int8_t* codes, float* scales) const {
    const float super_scale = LoadF16(d);
    for (int g = 0; g < 8; ++g) {
      const uint32_t w = LoadU32(sub[g].w);
      for (int l = 0; l < 4; ++l) {
        StoreSigned(kIq2XxsGrid[sub[g].index[l]], WithParity(w >> (7 * l) & 127),
                    codes + 32 * g + 8 * l);
      }
      scales[g] = super_scale * (0.5f + static_cast<float>(w >> 28)) * 0.25f;
    }
  }
};

struct IQ2_XSBlock {
  static constexpr int kElems = 256;
  static constexpr CodeFormat kFormat{16, false, -43, 43};
  uint8_t d[2], q[64], sc[8];

  void Decode(int8_t* codes, float* scales) const {
    const float super_scale = LoadF16(d);
    for (int t = 0; t < 32; ++t) {
      const uint32_t word = LoadU16(q + 2 * t);
      StoreSigned(kIq2XsGrid[word & 511], WithParity(word >> 9), codes + 8 * t);
    }
    for (int j = 0; j < 16; ++j) {
      scales[j] = super_scale * (0.5f + static_cast<float>(NibbleOf(sc, j))) * 0.25f;
    }
  }
};

struct IQ2_SBlock {
  static constexpr int kElems = 256;
  static constexpr CodeFormat kFormat{16, false, -43, 43};
  uint8_t d[2], qs[32], signs[32], qh[8], sc[8];

  void Decode(int8_t* codes, float* scales) const {
    const float super_scale = LoadF16(d);
    for (int t = 0; t < 32; ++t) {
      const int index = qs[t] | (qh[t / 4] >> (2 * (t % 4)) & 3) << 8;
      StoreSigned(kIq2SGrid[index], signs[t], codes + 8 * t);
    }
    for (int j = 0; j < 16; ++j) {
      scales[j] = super_scale * (0.5f + static_cast<float>(NibbleOf(sc, j))) * 0.25f;
    }
  }
};

struct IQ3_XXSBlock {
  static constexpr int kElems = 256;
  static constexpr CodeFormat kFormat{32, false, -62, 62};
  uint8_t d[2], qs[64], w[8][4];

  void Decode(int8_t* codes, float* scales) const {
    const float super_scale = LoadF16(d);
    for (int g = 0; g < 8; ++g) {
      const uint32_t word = LoadU32(w[g]);
      for (int l = 0; l < 4; ++l) {
        const uint8_t* const pair = qs + 8 * g + 2 * l;
        StoreSigned(Join(kIq3XxsGrid[pair[0]], kIq3XxsGrid[pair[1]]),
                    WithParity(word >> (7 * l) & 127), codes + 32 * g + 8 * l);
      }
      scales[g] = super_scale * (0.5f + static_cast<float>(word >> 28)) * 0.5f;
    }
  }
};

struct IQ3_SBlock {
  static constexpr int kElems = 256;
  static constexpr CodeFormat kFormat{32, false, -15, 15};
  uint8_t d[2], qs[64], qh[8], signs[32], sc[4];

  void Decode(int8_t* codes, float* scales) const {
    const float super_scale = LoadF16(d);
    for (int t = 0; t < 32; ++t) {
      const int high = qh[t / 4] >> (2 * (t % 4));
      const int first = qs[2 * t] | (high & 1) << 8;
      const int second = qs[2 * t + 1] | (high >> 1 & 1) << 8;
      StoreSigned(Join(kIq3SGrid[first], kIq3SGrid[second]), signs[t], codes + 8 * t);
    }
    for (int g = 0; g < 8; ++g) {
      scales[g] = super_scale * static_cast<float>(1 + 2 * NibbleOf(sc, g));
    }
  }
};

// The IQ1 types add +-1/8 to a value of -1, 0 or 1: in eighths, codes are 8 * value +- 1.
inline void StoreIq1(int index, bool minus, int8_t* codes) {
  const uint64_t entry = kIq1GridTimes8[index];
  int8_t value[8];
  std::memcpy(value, &entry, sizeof(value));
  const int delta = minus ? -1 : 1;
  for (int j = 0; j < 8; ++j) codes[j] = static_cast<int8_t>(value[j] + delta);
}

struct IQ1_SBlock {
  static constexpr int kElems = 256;
  static constexpr CodeFormat kFormat{32, false, -9, 9};
  uint8_t d[2], qs[32], qh[8][2];

  void Decode(int8_t* codes, float* scales) const {
    const float super_scale = LoadF16(d);
    for (int g = 0; g < 8; ++g) {
      const int word = LoadU16(qh[g]);
      for (int l = 0; l < 4; ++l) {
        StoreIq1(qs[4 * g + l] | (word >> (3 * l) & 7) << 8, (word & 0x8000) != 0,
                 codes + 32 * g + 8 * l);
      }
      scales[g] = super_scale * static_cast<float>(2 * (word >> 12 & 7) + 1) * 0.125f;
    }
  }
};

struct IQ1_MBlock {
  static constexpr int kElems = 256;
  static constexpr CodeFormat kFormat{16, false, -9, 9};
  uint8_t qs[32], qh[16], sc[4][2];

  void Decode(int8_t* codes, float* scales) const {
    for (int t = 0; t < 32; ++t) {
      const int nibble = NibbleOf(qh, t);
      StoreIq1(qs[t] | (nibble & 7) << 8, (nibble & 8) != 0, codes + 8 * t);
    }
    // The super-scale is spread over the top nibbles of the four words; below, each word has four
    // 3-bit scales.
    uint32_t bits = 0;
    for (int i = 0; i < 4; ++i) bits |= uint32_t{LoadU16(sc[i])} >> 12 << (4 * i);
    const float super_scale = F16ToFloat(static_cast<uint16_t>(bits));
    for (int j = 0; j < 16; ++j) {
      const int scale = LoadU16(sc[j / 4]) >> (3 * (j % 4)) & 7;
      scales[j] = super_scale * static_cast<float>(2 * scale + 1) * 0.125f;
    }
  }
};

constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                   1,    13,   25,  38,  53,  69,  89,  113};

inline void StoreIq4(const uint8_t* qs, int8_t* codes) {
  for (int j = 0; j < 16; ++j) {
    codes[j] = kIq4Values[qs[j] & 15];
    codes[j + 16] = kIq4Values[qs[j] >> 4];
  }
}

struct IQ4_NLBlock {
  static constexpr int kElems = 32;
  static constexpr CodeFormat kFormat{32, false, -127, 113};
  uint8_t d[2], qs[16];

  void Decode(int8_t* codes, float* scales) const {
    StoreIq4(qs, codes);
    scales[0] = LoadF16(d);
  }
};

struct IQ4_XSBlock {
  static constexpr int kElems = 256;
  static constexpr CodeFormat kFormat{32, false, -127, 113};
  uint8_t d[2], sh[2], sl[4], qs[128];

  void Decode(int8_t* codes, float* scales) const {
    const float super_scale = LoadF16(d);
    const int high = LoadU16(sh);
    for (int g = 0; g < 8; ++g) {
      StoreIq4(qs + 16 * g, codes + 32 * g);
      const int scale = NibbleOf(sl, g) | (high >> (2 * g) & 3) << 4;
      scales[g] = super_scale * static_cast<float>(scale - 32);
    }
  }
};

}  // namespace

constinit const BlockDecoder kIQ1_SDecoder = MakeDecoder<IQ1_SBlock>();
constinit const BlockDecoder kIQ1_MDecoder = MakeDecoder<IQ1_MBlock>();
constinit const BlockDecoder kIQ2_XXSDecoder = MakeDecoder<IQ2_XXSBlock>();
constinit const BlockDecoder kIQ2_XSDecoder = MakeDecoder<IQ2_XSBlock>();
constinit const BlockDecoder kIQ2_SDecoder = MakeDecoder<IQ2_SBlock>();
constinit const BlockDecoder kIQ3_XXSDecoder = MakeDecoder<IQ3_XXSBlock>();
constinit const BlockDecoder kIQ3_SDecoder = MakeDecoder<IQ3_SBlock>();
constinit const BlockDecoder kIQ4_NLDecoder = MakeDecoder<IQ4_NLBlock>();
constinit const BlockDecoder kIQ4_XSDecoder = MakeDecoder<IQ4_XSBlock>();

}  // namespace carat
