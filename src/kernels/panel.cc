// SPDX-License-Identifier: Apache-2.0
#include "kernels/panel.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "tensor/half.h"
#include "tensor/quant_codes.h"

namespace carat {
namespace {

// Types whose scales and offsets are half floats in the file, or (NVFP4) fit into one. Those of the
// others are products or powers of two beyond its range.
bool HasF16Scales(DType type) {
  switch (type) {
    case DType::kQ4_0:
    case DType::kQ4_1:
    case DType::kQ5_0:
    case DType::kQ5_1:
    case DType::kQ8_0:
    case DType::kIQ4_NL:
    case DType::kNVFP4:
    case DType::kTQ1_0:
    case DType::kTQ2_0:
    case DType::kQ1_0:
    case DType::kQ2_0:
      return true;
    default:
      return false;
  }
}

// Decoded at a time: a multiple of every type's block, small enough for the first-level cache.
constexpr int kChunk = 256;

void PackScales(const PanelFormat& f, const float* values, int blocks, int row, int64_t pair_at,
                std::byte* panel, int64_t first_block) {
  const int halves = f.half_groups ? 2 : 1, size = f.f16_scales ? 2 : 4;
  for (int b = 0; b < blocks; ++b) {
    const int64_t block = first_block + b;
    std::byte* at =
        panel + block / 2 * f.pair_bytes + pair_at + block % 2 * halves * kPanelRows * size;
    for (int h = 0; h < halves; ++h) {
      const float value = values[b * halves + h];
      if (f.f16_scales) {
        const uint16_t half = FloatToF16(value);
        std::memcpy(at + (h * kPanelRows + row) * 2, &half, 2);
      } else {
        std::memcpy(at + (h * kPanelRows + row) * 4, &value, 4);
      }
    }
  }
}

// One row of one block: 4-byte pieces, a panel row apart.
void PackCodes(const PanelFormat& f, const int8_t* codes, int row, std::byte* at) {
  uint8_t bytes[kBlockCols];
  int n = kBlockCols;
  if (f.nibbles) {
    const int bias = f.biased ? 8 : 0;
    n = 16;
    for (int k = 0; k < 16; ++k)
      bytes[k] = static_cast<uint8_t>((codes[k] + bias) | (codes[16 + k] + bias) << 4);
  } else {
    const int bias = f.biased ? 128 : 0;
    for (int k = 0; k < kBlockCols; ++k) bytes[k] = static_cast<uint8_t>(codes[k] + bias);
  }
  for (int g = 0; g < n / 4; ++g) std::memcpy(at + (g * kPanelRows + row) * 4, bytes + 4 * g, 4);
}

}  // namespace

PanelFormat PanelFormatOf(DType type) {
  const CodeFormat codes = CodesOf(type);
  CARAT_CHECK(codes.group == 16 || codes.group == kBlockCols);
  PanelFormat f;
  f.half_groups = codes.group == 16;
  f.has_offset = codes.has_offset;
  f.f16_scales = HasF16Scales(type);
  const bool centred = codes.min_code >= -8 && codes.max_code <= 7;
  // Kernels have no plain nibbles with half groups, because no type needs them.
  f.nibbles = centred || (codes.min_code >= 0 && codes.max_code <= 15 && !f.half_groups);
  f.biased = centred || !f.nibbles;
  const int values = (f.half_groups ? 2 : 1) * (f.has_offset ? 2 : 1) * kPanelRows;
  f.codes_at = 2 * values * (f.f16_scales ? 2 : 4);
  f.pair_bytes = f.codes_at + 2 * kPanelRows * (f.nibbles ? 16 : 32);
  return f;
}

uint64_t PanelBytes(const PanelFormat& format, int64_t cols) {
  CARAT_CHECK(cols > 0 && cols % kBlockCols == 0);
  const int64_t blocks = cols / kBlockCols;
  return static_cast<uint64_t>((blocks + 1) / 2) * static_cast<uint64_t>(format.pair_bytes);
}

void PackPanel(DType type, const PanelFormat& f, const std::byte* src, int64_t row_bytes, int rows,
               int64_t cols, std::byte* panel) {
  const DTypeInfo& info = Info(type);
  const int code_bytes = kPanelRows * (f.nibbles ? 16 : 32);
  const int64_t offsets_at = f.codes_at / 2;  // only used with offsets: scales take the other half
  int8_t codes[kChunk];
  float scales[kChunk / 16], offsets[kChunk / 16];
  for (int64_t col = 0; col < cols; col += kChunk) {
    const int n = static_cast<int>(std::min<int64_t>(kChunk, cols - col));
    const int64_t first = col / kBlockCols;
    for (int row = 0; row < rows; ++row) {
      DecodeCodes(type, src + row * row_bytes + col / info.block_elems * info.block_bytes, n, codes,
                  scales, offsets);
      PackScales(f, scales, n / kBlockCols, row, 0, panel, first);
      if (f.has_offset) PackScales(f, offsets, n / kBlockCols, row, offsets_at, panel, first);
      for (int b = 0; b < n / kBlockCols; ++b) {
        const int64_t block = first + b;
        PackCodes(f, codes + b * kBlockCols, row,
                  panel + block / 2 * f.pair_bytes + f.codes_at + block % 2 * code_bytes);
      }
    }
  }
}

}  // namespace carat
