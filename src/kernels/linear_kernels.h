// SPDX-License-Identifier: Apache-2.0
// Matrix kernels: one call computes a small piece of y = x W^T, single-threaded and unchecked.
// No function here is inline: this header is compiled into files of several instruction sets.
#pragma once

#include <cstddef>
#include <cstdint>

namespace carat {

constexpr int kPanelRows = 16;  // output rows of a panel
constexpr int kBlockCols = 32;  // columns that are dotted in integers before a float is touched

// How a quantised matrix is packed. A panel holds 16 rows as consecutive pairs of blocks of 32
// columns; a pair is
//   scales  [2 blocks][halves][16 rows]   f16 or f32, halves = half_groups ? 2 : 1
//   offsets [2 blocks][halves][16 rows]   likewise, only if has_offset
//   codes   [2 blocks][code bytes]        u = code + (biased ? (nibbles ? 8 : 128) : 0)
// The codes of a block are ordered for 4-byte integer dot products:
//   8 bits, 512 bytes: [8 column groups][16 rows][4]; byte j of group g is column 4g + j
//   4 bits, 256 bytes: [4 column groups][16 rows][4]; byte j of group g has column 4g + j in the
//                      low nibble and column 16 + 4g + j in the high one
// Scale 0 belongs to columns 0..15 of the block and scale 1 to 16..31 if half_groups. Rows and
// blocks that do not exist (rows % 16, an odd number of blocks) are all zero. Every field starts on
// a multiple of 64 bytes except the f16 scales of one block.
struct PanelFormat {
  bool nibbles = false;
  bool half_groups = false;
  bool f16_scales = false;
  bool has_offset = false;
  bool biased = false;
  int32_t codes_at = 0;    // bytes from the start of a pair to its codes
  int32_t pair_bytes = 0;  // bytes of a pair, a multiple of 64
};

// Activations in 15-bit integers, x[k] ~ s * q[k] with one s per block of 32 and
// q in [-16256, 16256]. A tile holds nt <= token_tile rows as consecutive blocks of
//   codes [nt][64 bytes]      in whatever form the instruction set multiplies best
//   meta  [nt][kActMetaWords] 32-bit words, below
// s = max|x| / 16256 and q = nearest even integer to x * (16256 / max|x|); a block whose maximum is
// below 2^-100 counts as zero, because the quotient would overflow. A block with an infinity or a
// NaN has q = 0 and s = NaN, so that all products with it are NaN.
enum ActMeta {
  kActScale = 0,    // float: s
  kActScale16 = 1,  // float: s / 16
  kActNegSum = 2,   // int32: -(q[0] + ... + q[31])
  kActOffset = 3,   // float: s * (q[0] + ... + q[31])
  kActNegSum0 = 4,  // int32: the same for columns 0..15
  kActNegSum1 = 5,  // int32: and 16..31
  kActOffset0 = 6,  // float
  kActOffset1 = 7,  // float
  kActMetaWords = 8,
};
constexpr int kActBlockBytes = 64 + 4 * kActMetaWords;  // per row and block

struct QuantizeArgs {
  const float* x = nullptr;  // [nt, 32 * blocks]
  int64_t x_stride = 0;      // floats between rows
  int nt = 0;                // rows of this tile
  int64_t blocks = 0;
  std::byte* tile = nullptr;  // nt * blocks * kActBlockBytes bytes
};

// y[t * y_stride + r] for t in [0, nt), r in [0, rows): for each block (and half) in column order
//   acc  = sum of code16 * q, exact, code16 = code * (nibbles ? 16 : 1)
//   y    = fma(float(acc), scale * (nibbles ? s / 16 : s), y)
//   y    = fma(offset, kActOffset of the block or half, y)     if has_offset
// starting from 0, and times `scale` at the end. The same operations in every instruction set and
// for every nt, so the same bits. With half groups: first half 0, then half 1, each with both
// lines. A sum may be cut into calls over consecutive blocks: an even number of them in all but the
// last, `resume` in all but the first, scale 1 in all but the last.
struct PanelDotArgs {
  const PanelFormat* format = nullptr;
  const std::byte* panel = nullptr;  // first pair
  const std::byte* tile = nullptr;   // first block, of the same table's quantize
  int nt = 0;                        // 1..token_tile
  int64_t blocks = 0;
  float* y = nullptr;
  int64_t y_stride = 0;
  int rows = 0;         // 1..16, rows of the panel that exist
  bool resume = false;  // starts from what y holds
  float scale = 1;
};

// y[t * y_stride + r] = scale * sum_k w[r, k] * x[t, k]. Each sum has its own lanes and one fixed
// reduction, so no result depends on `rows`, `tokens` or its place among them.
struct DotArgs {
  const std::byte* w = nullptr;  // row r at w + r * w_stride, no alignment needed
  int64_t w_stride = 0;          // bytes
  int64_t rows = 0;
  const float* x = nullptr;
  int64_t x_stride = 0;  // floats
  int64_t tokens = 0;
  int64_t cols = 0;
  float* y = nullptr;
  int64_t y_stride = 0;
  float scale = 1;
};

struct LinearKernels {
  int token_tile = 1;  // most rows of an activation tile
  void (*quantize)(const QuantizeArgs& a) = nullptr;
  void (*panel_dot)(const PanelDotArgs& a) = nullptr;
  // Sums in float32.
  void (*dot_f32)(const DotArgs& a) = nullptr;
  void (*dot_f16)(const DotArgs& a) = nullptr;
  void (*dot_bf16)(const DotArgs& a) = nullptr;
  // float32 weights, sums in double: the exact mode.
  void (*dot_f32_exact)(const DotArgs& a) = nullptr;
};

}  // namespace carat
