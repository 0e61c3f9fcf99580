// SPDX-License-Identifier: Apache-2.0
#include "model/attention.h"

#include <algorithm>

#include "kernels/mode_kernels.h"
#include "model/decoder.h"

namespace carat {
namespace {

// Rows [row, row + rows) of one span times query heads [head, head + heads) of one KV head.
struct Tile {
  int64_t row = 0;
  int rows = 0;
  int kv_head = 0;
  int head = 0, heads = 0;
};

// Query heads that share a KV head read the same keys, so a tile takes as many of them as fit, then
// several tokens. With too few tiles for the threads the heads are divided further: how rows are
// grouped never changes a result.
std::vector<Tile> MakeTiles(const std::vector<AttentionRow>& rows, int kv_heads, int group,
                            int threads) {
  int heads = std::min(group, kAttentionRows);
  const int64_t n = static_cast<int64_t>(rows.size());
  while (heads > 1 && n * kv_heads * ((group + heads - 1) / heads) < threads)
    heads = (heads + 1) / 2;
  const int tokens = n * kv_heads >= 4 * threads ? std::max(1, kAttentionRows / heads) : 1;
  std::vector<Tile> tiles;
  for (int64_t row = 0; row < n;) {
    int count = 1;
    while (count < tokens && row + count < n && rows[row + count].span == rows[row].span) ++count;
    for (int kv = 0; kv < kv_heads; ++kv)
      for (int g = 0; g < group; g += heads)
        tiles.push_back({row, count, kv, kv * group + g, std::min(heads, group - g)});
    row += count;
  }
  return tiles;
}

}  // namespace

void Attend(const Weights& weights, ThreadPool& pool, Scratch& scratch,
            std::span<const StepSpan> spans, const std::vector<AttentionRow>& rows, int layer,
            const float* q, float* out) {
  const Config& c = weights.config;
  const LayerPlan& plan = c.plan[layer];
  const int kind = plan.sliding ? 0 : 1;
  const int64_t d = plan.head_dim, width = d * c.heads;
  const std::vector<Tile> tiles =
      MakeTiles(rows, plan.kv_heads, c.heads / plan.kv_heads, pool.threads());

  int64_t most_blocks = 0;
  for (const AttentionRow& r : rows)
    most_blocks = std::max(most_blocks, r.last[kind] / kKvBlock - r.first[kind] / kKvBlock + 1);
  // A tile's rows may begin and end in different blocks.
  most_blocks += kAttentionRows / kKvBlock + 2;
  for (const AttentionRow& r : rows) {
    const int64_t reach = (r.last[kind] - r.position) / kKvBlock;
    most_blocks =
        std::max(most_blocks, r.last[kind] / kKvBlock - r.first[kind] / kKvBlock + 3 + reach);
  }
  const int64_t scores_stride = kAttentionRows * most_blocks * kKvBlock;
  float* scores = scratch.Get(Scratch::kScores, scores_stride * pool.threads());
  scratch.BlockList(pool.threads() - 1);

  pool.ParallelFor(static_cast<int64_t>(tiles.size()), 1, [&](int64_t b, int64_t e, int thread) {
    auto& blocks = scratch.BlockList(thread);
    for (int64_t i = b; i < e; ++i) {
      const Tile& tile = tiles[i];
      const float* q_rows[kAttentionRows];
      float* out_rows[kAttentionRows];
      int64_t first[kAttentionRows], last[kAttentionRows];
      int n = 0;
      int64_t lowest = rows[tile.row].first[kind], highest = 0;
      for (int t = 0; t < tile.rows; ++t) {
        const AttentionRow& r = rows[tile.row + t];
        lowest = std::min(lowest, r.first[kind]);
        highest = std::max(highest, r.last[kind]);
        for (int h = 0; h < tile.heads; ++h, ++n) {
          const int64_t at = (tile.row + t) * width + (tile.head + h) * d;
          q_rows[n] = q + at;
          out_rows[n] = out + at;
          first[n] = r.first[kind];
          last[n] = r.last[kind];
        }
      }
      const KvCache& cache = *spans[rows[tile.row].span].cache;
      AttentionTile a;
      a.rows = n;
      a.dh = static_cast<int>(d);
      a.q = q_rows;
      a.out = out_rows;
      a.first = first;
      a.last = last;
      a.first_block = lowest / kKvBlock;
      a.block_count = highest / kKvBlock - a.first_block + 1;
      blocks.clear();
      for (int64_t block = 0; block < a.block_count; ++block)
        blocks.push_back(cache.Block(plan.kv_layer, tile.kv_head, a.first_block + block));
      a.blocks = blocks.data();
      a.scores = scores + thread * scores_stride;
      weights.kernels->attention(a);
    }
  });
}

}  // namespace carat
