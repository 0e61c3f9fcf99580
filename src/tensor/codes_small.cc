// SPDX-License-Identifier: Apache-2.0
// Blocks of up to 128 elements and the ternary types (file-formats.md 5.1, 5.3 and 5.4).
#include "tensor/block_decoder.h"

namespace carat {
namespace {

// The low nibbles of 16 bytes are elements 0..15, the high ones 16..31.
inline void SplitNibbles(const uint8_t* qs, int bias, int8_t* codes) {
  for (int j = 0; j < 16; ++j) codes[j] = static_cast<int8_t>((qs[j] & 15) - bias);
  for (int j = 0; j < 16; ++j) codes[j + 16] = static_cast<int8_t>((qs[j] >> 4) - bias);
}

// As SplitNibbles, with bit j of `qh` worth 16 in element j.
inline void SplitNibblesPlusBit(const uint8_t* qs, const uint8_t* qh, int bias, int8_t* codes) {
  uint64_t bits[4];
  for (int i = 0; i < 4; ++i) bits[i] = SpreadBits(qh[i]) << 4;
  uint8_t fifth[32];
  std::memcpy(fifth, bits, sizeof(fifth));
  for (int j = 0; j < 16; ++j) codes[j] = static_cast<int8_t>((qs[j] & 15) + fifth[j] - bias);
  for (int j = 0; j < 16; ++j) {
    codes[j + 16] = static_cast<int8_t>((qs[j] >> 4) + fifth[j + 16] - bias);
  }
}

struct Q4_0Block {
  static constexpr int kElems = 32;
  static constexpr CodeFormat kFormat{32, false, -8, 7};
  uint8_t d[2], qs[16];

  void Decode(int8_t* codes, float* scales) const {
    SplitNibbles(qs, 8, codes);
    scales[0] = LoadF16(d);
  }
};

struct Q4_1Block {
  static constexpr int kElems = 32;
  static constexpr CodeFormat kFormat{32, true, 0, 15};
  uint8_t d[2], m[2], qs[16];

  void Decode(int8_t* codes, float* scales, float* offsets) const {
    SplitNibbles(qs, 0, codes);
    scales[0] = LoadF16(d);
    offsets[0] = LoadF16(m);
  }
};

struct Q5_0Block {
  static constexpr int kElems = 32;
  static constexpr CodeFormat kFormat{32, false, -16, 15};
  uint8_t d[2], qh[4], qs[16];

  void Decode(int8_t* codes, float* scales) const {
    SplitNibblesPlusBit(qs, qh, 16, codes);
    scales[0] = LoadF16(d);
  }
};

struct Q5_1Block {
  static constexpr int kElems = 32;
  static constexpr CodeFormat kFormat{32, true, 0, 31};
  uint8_t d[2], m[2], qh[4], qs[16];

  void Decode(int8_t* codes, float* scales, float* offsets) const {
    SplitNibblesPlusBit(qs, qh, 0, codes);
    scales[0] = LoadF16(d);
    offsets[0] = LoadF16(m);
  }
};

struct Q8_0Block {
  static constexpr int kElems = 32;
  static constexpr CodeFormat kFormat{32, false, -128, 127};
  uint8_t d[2];
  int8_t qs[32];

  void Decode(int8_t* codes, float* scales) const {
    std::memcpy(codes, qs, sizeof(qs));
    scales[0] = LoadF16(d);
  }
};

// E2M1 values times two, so that they are integers.
constexpr int8_t kE2M1Doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

struct MXFP4Block {
  static constexpr int kElems = 32;
  static constexpr CodeFormat kFormat{32, false, -12, 12};
  uint8_t e, qs[16];

  void Decode(int8_t* codes, float* scales) const {
    for (int j = 0; j < 16; ++j) {
      codes[j] = kE2M1Doubled[qs[j] & 15];
      codes[j + 16] = kE2M1Doubled[qs[j] >> 4];
    }
    // 2^(e - 128): the codes are doubled. The two smallest are subnormal.
    scales[0] = BitsToFloat(e < 2 ? 0x00200000u << e : (e - 1u) << 23);
  }
};

struct NVFP4Block {
  static constexpr int kElems = 64;
  static constexpr CodeFormat kFormat{16, false, -12, 12};
  uint8_t sc[4], qs[32];

  // Half of an unsigned E4M3 (bias 7): the codes are doubled. 0x7F, a NaN elsewhere, means 0 here.
  static float HalfE4M3(uint8_t byte) {
    if (byte == 0x7F) return 0;
    const uint32_t exponent = byte >> 3 & 15;
    const auto mantissa = static_cast<float>(byte & 7);
    if (exponent == 0) return mantissa * 0x1p-10f;
    return (mantissa + 8) * BitsToFloat((exponent + 116) << 23);  // times 2^(exponent - 11)
  }

  void Decode(int8_t* codes, float* scales) const {
    for (int s = 0; s < 4; ++s) {
      for (int j = 0; j < 8; ++j) {
        codes[16 * s + j] = kE2M1Doubled[qs[8 * s + j] & 15];
        codes[16 * s + j + 8] = kE2M1Doubled[qs[8 * s + j] >> 4];
      }
      scales[s] = HalfE4M3(sc[s]);
    }
  }
};

struct Q1_0Block {
  static constexpr int kElems = 128;
  static constexpr CodeFormat kFormat{32, false, -1, 1};
  uint8_t d[2], bits[16];

  void Decode(int8_t* codes, float* scales) const {
    for (int i = 0; i < 16; ++i) {
      const uint64_t ones = SpreadBits(bits[i]);
      int8_t set[8];
      std::memcpy(set, &ones, sizeof(set));
      for (int j = 0; j < 8; ++j) codes[8 * i + j] = static_cast<int8_t>(2 * set[j] - 1);
    }
    for (int g = 0; g < 4; ++g) scales[g] = LoadF16(d);
  }
};

struct Q2_0Block {
  static constexpr int kElems = 64;
  static constexpr CodeFormat kFormat{32, false, -1, 2};
  uint8_t d[2], qs[16];

  void Decode(int8_t* codes, float* scales) const {
    for (int i = 0; i < 16; ++i) {
      for (int k = 0; k < 4; ++k) {
        codes[4 * i + k] = static_cast<int8_t>((qs[i] >> (2 * k) & 3) - 1);
      }
    }
    for (int g = 0; g < 2; ++g) scales[g] = LoadF16(d);
  }
};

struct TQ2_0Block {
  static constexpr int kElems = 256;
  static constexpr CodeFormat kFormat{32, false, -1, 2};
  uint8_t qs[64], d[2];

  void Decode(int8_t* codes, float* scales) const {
    for (int h = 0; h < 2; ++h) {
      for (int k = 0; k < 4; ++k) {
        int8_t* const out = codes + 128 * h + 32 * k;
        for (int l = 0; l < 32; ++l) {
          out[l] = static_cast<int8_t>((qs[32 * h + l] >> (2 * k) & 3) - 1);
        }
      }
    }
    for (int g = 0; g < 8; ++g) scales[g] = LoadF16(d);
  }
};

struct TQ1_0Block {
  static constexpr int kElems = 256;
  static constexpr CodeFormat kFormat{32, false, -1, 1};
  uint8_t qs[48], qh[4], d[2];

  // `digits` base-3 digits of each of `count` bytes, the first digit of all bytes first. A byte
  // holds a fraction of 256: multiplying by 3 brings the next digit above the point.
  static int8_t* DecodeDigits(const uint8_t* bytes, int count, int digits, int8_t* codes) {
    uint8_t power = 1;
    for (int t = 0; t < digits; ++t) {
      for (int l = 0; l < count; ++l) {
        const auto fraction = static_cast<uint8_t>(bytes[l] * power);
        codes[l] = static_cast<int8_t>((fraction * 3 >> 8) - 1);
      }
      codes += count;
      power = static_cast<uint8_t>(power * 3);
    }
    return codes;
  }

  void Decode(int8_t* codes, float* scales) const {
    codes = DecodeDigits(qs, 32, 5, codes);
    codes = DecodeDigits(qs + 32, 16, 5, codes);
    DecodeDigits(qh, 4, 4, codes);
    for (int g = 0; g < 8; ++g) scales[g] = LoadF16(d);
  }
};

}  // namespace

constinit const BlockDecoder kQ4_0Decoder = MakeDecoder<Q4_0Block>();
constinit const BlockDecoder kQ4_1Decoder = MakeDecoder<Q4_1Block>();
constinit const BlockDecoder kQ5_0Decoder = MakeDecoder<Q5_0Block>();
constinit const BlockDecoder kQ5_1Decoder = MakeDecoder<Q5_1Block>();
constinit const BlockDecoder kQ8_0Decoder = MakeDecoder<Q8_0Block>();
constinit const BlockDecoder kTQ1_0Decoder = MakeDecoder<TQ1_0Block>();
constinit const BlockDecoder kTQ2_0Decoder = MakeDecoder<TQ2_0Block>();
constinit const BlockDecoder kQ1_0Decoder = MakeDecoder<Q1_0Block>();
constinit const BlockDecoder kQ2_0Decoder = MakeDecoder<Q2_0Block>();
constinit const BlockDecoder kMXFP4Decoder = MakeDecoder<MXFP4Block>();
constinit const BlockDecoder kNVFP4Decoder = MakeDecoder<NVFP4Block>();

}  // namespace carat
