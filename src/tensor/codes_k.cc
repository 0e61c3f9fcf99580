// SPDX-License-Identifier: Apache-2.0
// The 256-element K types (file-formats.md 5.2). Products of a float16 with a small integer scale
// are exact in float32, so scales and offsets carry no rounding beyond the one the format defines.
#include "tensor/block_decoder.h"

namespace carat {
namespace {

// Scales (first 8) and mins (last 8) of Q4_K and Q5_K: 6 bits each, in 12 bytes.
struct ScalesAndMins {
  uint8_t scale[8], min[8];

  explicit ScalesAndMins(const uint8_t* b) {
    for (int j = 0; j < 4; ++j) {
      scale[j] = b[j] & 63;
      min[j] = b[j + 4] & 63;
      scale[j + 4] = static_cast<uint8_t>((b[j + 8] & 15) | (b[j] >> 6) << 4);
      min[j + 4] = static_cast<uint8_t>(b[j + 8] >> 4 | (b[j + 4] >> 6) << 4);
    }
  }

  void Apply(float d, float dmin, float* scales, float* offsets) const {
    for (int j = 0; j < 8; ++j) {
      scales[j] = d * static_cast<float>(scale[j]);
      offsets[j] = -(dmin * static_cast<float>(min[j]));
    }
  }
};

struct Q4_KBlock {
  static constexpr int kElems = 256;
  static constexpr CodeFormat kFormat{32, true, 0, 15};
  uint8_t d[2], dmin[2], sc[12], qs[128];

  void Decode(int8_t* codes, float* scales, float* offsets) const {
    for (int p = 0; p < 4; ++p) {
      const uint8_t* const q = qs + 32 * p;
      int8_t* const out = codes + 64 * p;
      for (int l = 0; l < 32; ++l) out[l] = static_cast<int8_t>(q[l] & 15);
      for (int l = 0; l < 32; ++l) out[l + 32] = static_cast<int8_t>(q[l] >> 4);
    }
    ScalesAndMins(sc).Apply(LoadF16(d), LoadF16(dmin), scales, offsets);
  }
};

struct Q5_KBlock {
  static constexpr int kElems = 256;
  static constexpr CodeFormat kFormat{32, true, 0, 31};
  uint8_t d[2], dmin[2], sc[12], qh[32], qs[128];

  void Decode(int8_t* codes, float* scales, float* offsets) const {
    for (int p = 0; p < 4; ++p) {
      const uint8_t* const q = qs + 32 * p;
      int8_t* const out = codes + 64 * p;
      for (int l = 0; l < 32; ++l) {
        out[l] = static_cast<int8_t>((q[l] & 15) | (qh[l] >> (2 * p) & 1) << 4);
      }
      for (int l = 0; l < 32; ++l) {
        out[l + 32] = static_cast<int8_t>(q[l] >> 4 | (qh[l] >> (2 * p + 1) & 1) << 4);
      }
    }
    ScalesAndMins(sc).Apply(LoadF16(d), LoadF16(dmin), scales, offsets);
  }
};

struct Q6_KBlock {
  static constexpr int kElems = 256;
  static constexpr CodeFormat kFormat{16, false, -32, 31};
  uint8_t ql[128], qh[64];
  int8_t sc[16];
  uint8_t d[2];

  void Decode(int8_t* codes, float* scales) const {
    for (int h = 0; h < 2; ++h) {
      const uint8_t* const low = ql + 64 * h;
      const uint8_t* const high = qh + 32 * h;
      int8_t* const out = codes + 128 * h;
      for (int l = 0; l < 32; ++l) {
        out[l] = static_cast<int8_t>(((low[l] & 15) | (high[l] & 3) << 4) - 32);
        out[l + 32] = static_cast<int8_t>(((low[l + 32] & 15) | (high[l] >> 2 & 3) << 4) - 32);
        out[l + 64] = static_cast<int8_t>((low[l] >> 4 | (high[l] >> 4 & 3) << 4) - 32);
        out[l + 96] = static_cast<int8_t>((low[l + 32] >> 4 | high[l] >> 6 << 4) - 32);
      }
    }
    const float super_scale = LoadF16(d);
    for (int j = 0; j < 16; ++j) scales[j] = super_scale * static_cast<float>(sc[j]);
  }
};

struct Q2_KBlock {
  static constexpr int kElems = 256;
  static constexpr CodeFormat kFormat{16, true, 0, 3};
  uint8_t sc[16], qs[64], d[2], dmin[2];

  void Decode(int8_t* codes, float* scales, float* offsets) const {
    for (int h = 0; h < 2; ++h) {
      for (int k = 0; k < 4; ++k) {
        int8_t* const out = codes + 128 * h + 32 * k;
        for (int l = 0; l < 32; ++l) {
          out[l] = static_cast<int8_t>(qs[32 * h + l] >> (2 * k) & 3);
        }
      }
    }
    const float super_scale = LoadF16(d), super_min = LoadF16(dmin);
    for (int j = 0; j < 16; ++j) {
      scales[j] = super_scale * static_cast<float>(sc[j] & 15);
      offsets[j] = -(super_min * static_cast<float>(sc[j] >> 4));
    }
  }
};

struct Q3_KBlock {
  static constexpr int kElems = 256;
  static constexpr CodeFormat kFormat{16, false, -4, 3};
  uint8_t hmask[32], qs[64], sc[12], d[2];

  void Decode(int8_t* codes, float* scales) const {
    for (int h = 0; h < 2; ++h) {
      for (int k = 0; k < 4; ++k) {
        int8_t* const out = codes + 128 * h + 32 * k;
        for (int l = 0; l < 32; ++l) {
          const int high = hmask[l] >> (4 * h + k) & 1;
          out[l] = static_cast<int8_t>((qs[32 * h + l] >> (2 * k) & 3) + 4 * high - 4);
        }
      }
    }
    const float super_scale = LoadF16(d);
    for (int j = 0; j < 16; ++j) {
      const int low = j < 8 ? sc[j] & 15 : sc[j - 8] >> 4;
      const int high = sc[8 + j % 4] >> (2 * (j / 4)) & 3;
      scales[j] = super_scale * static_cast<float>((low | high << 4) - 32);
    }
  }
};

}  // namespace

constinit const BlockDecoder kQ2_KDecoder = MakeDecoder<Q2_KBlock>();
constinit const BlockDecoder kQ3_KDecoder = MakeDecoder<Q3_KBlock>();
constinit const BlockDecoder kQ4_KDecoder = MakeDecoder<Q4_KBlock>();
constinit const BlockDecoder kQ5_KDecoder = MakeDecoder<Q5_KBlock>();
constinit const BlockDecoder kQ6_KDecoder = MakeDecoder<Q6_KBlock>();

}  // namespace carat
