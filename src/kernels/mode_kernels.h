// SPDX-License-Identifier: Apache-2.0
// The operations between matrix products: norms, rotation, activation, attention. There are two
// sets behind this one interface: the exact one (float32 in and out, everything inside in double,
// the same on every machine) and the fast one of each instruction set. All work on rows of one
// token or one head; how rows are divided among calls never changes a bit.
#pragma once

#include <cstddef>
#include <cstdint>

namespace carat {

constexpr int kKvBlock = 16;       // positions in one block of the KV cache
constexpr int kAttentionRows = 8;  // most query rows of one attention tile

// Query rows that read the same KV head. Blocks are aligned to absolute positions: block b holds
// positions 16 b .. 16 b + 15, first the keys as [dh][16], then the values as [16][dh], in the
// element type of the cache (exact: float, fast: IEEE half). All block contents are finite.
struct AttentionTile {
  int rows = 0;                     // 1..kAttentionRows
  int dh = 0;                       // a multiple of 8
  const float* const* q = nullptr;  // rows x [dh], score scale already applied
  float* const* out = nullptr;      // rows x [dh], written
  const int64_t* first = nullptr;   // per row: first and last visible position, inclusive
  const int64_t* last = nullptr;
  const std::byte* const* blocks = nullptr;  // block_count pointers, starting at block first_block
  int64_t first_block = 0;                   // covers every row's range
  int64_t block_count = 0;
  float* scores = nullptr;  // scratch, rows * block_count * 16 floats, 64-byte aligned
};

struct ModeKernels {
  // y = x / sqrt(mean(x^2) + eps) * w; w may be null (all ones); y may be x. text-model.md 2.1
  void (*rms_norm)(const float* x, const float* w, float* y, int64_t n, float eps);
  // x = (x + rms_norm(a, w)) * scale: a branch joins the residual stream. text-model.md 2.4, 2.11
  void (*add_norm)(float* x, const float* a, const float* w, int64_t n, float eps, float scale);
  // y = gelu_tanh(gate) * up; y may be gate or up. text-model.md 2.8
  void (*gelu_mul)(const float* gate, const float* up, float* y, int64_t n);
  // In place on one head: rms_norm with w (null: none), then the pairs (i, i + d/2), i < pairs,
  // rotate by (cos[i], sin[i]), then everything is multiplied by `scale`. text-model.md 2.6
  void (*norm_rope)(float* head, const float* w, int64_t d, float eps, const float* cos,
                    const float* sin, int64_t pairs, float scale);
  // x = cap * tanh(x / cap). text-model.md 2.12
  void (*softcap)(float* x, int64_t n, float cap);
  // out = softmax(q k over the visible positions) v. A row's result depends on its q, its range and
  // the blocks only: sums run over positions in order within fixed lanes (position mod 16), and
  // other rows of the tile, first_block and block_count never matter. text-model.md 2.5
  void (*attention)(const AttentionTile& tile);
  // Writes one position's key [dh] and value [dh] into lane `lane` (position mod 16) of a block.
  void (*store_kv)(const float* k, const float* v, int64_t dh, int lane, std::byte* block);
  int kv_element_bytes;  // 4 or 2
};

// The exact set; independent of the instruction set.
const ModeKernels& ExactKernels();

}  // namespace carat
