// SPDX-License-Identifier: Apache-2.0
#include "model/scratch.h"

#include <algorithm>

#include "kernels/mode_kernels.h"

namespace carat {

float* Scratch::Get(Buffer buffer, int64_t n) {
  const size_t bytes = static_cast<size_t>(n) * sizeof(float);
  if (buffers_[buffer].size() < bytes) {
    buffers_[buffer] = PageBuffer();  // give back first: contents are not kept
    buffers_[buffer] = PageBuffer(bytes);
  }
  return buffers_[buffer].as<float>();
}

std::vector<const std::byte*>& Scratch::BlockList(int thread) {
  if (block_lists_.size() <= static_cast<size_t>(thread))
    block_lists_.resize(static_cast<size_t>(thread) + 1);
  return block_lists_[static_cast<size_t>(thread)];
}

uint64_t Scratch::bytes() const {
  uint64_t sum = linear_.bytes();
  for (const PageBuffer& b : buffers_) sum += b.size();
  for (const auto& list : block_lists_) sum += list.capacity() * sizeof(void*);
  return sum;
}

uint64_t ScratchBytes(const Config& c, NumericMode mode, int64_t rows, int64_t wanted,
                      int64_t context, int threads) {
  int64_t q = 0, kv = 0, ff_all = 0, ff_wanted = 0;
  int last_owner = 0;
  for (int i = 0; i < c.layers; ++i)
    if (c.plan[i].owns_kv) last_owner = i;
  for (int i = 0; i < c.layers; ++i) {
    const LayerPlan& p = c.plan[i];
    q = std::max<int64_t>(q, int64_t{p.head_dim} * c.heads);
    kv = std::max<int64_t>(kv, int64_t{p.head_dim} * p.kv_heads);
    int64_t& ff = i < last_owner ? ff_all : ff_wanted;
    ff = std::max<int64_t>(ff, p.ff_width);
  }
  const int64_t ff = std::max({rows * ff_all, std::max<int64_t>(wanted, 1) * ff_wanted,
                               rows * c.experts_used * c.expert_ff});
  const int64_t half0 = static_cast<int64_t>(c.rope[0].inv_freq.size());
  const int64_t half1 = static_cast<int64_t>(c.rope[1].inv_freq.size());
  int64_t floats = rows * (3 * int64_t{c.width} + 2 * q + 2 * kv + 2 * half0 + 2 * half1) + 2 * ff +
                   wanted * c.width;
  if (c.ple_width > 0)
    floats += rows * c.ple_width * (c.layers + 1) + int64_t{threads} * c.layers * c.ple_width;
  if (c.experts > 0) floats += rows * (c.experts + c.width + 2 * int64_t{c.experts_used} * c.width);
  floats += int64_t{threads} * kAttentionRows * (context + 2 * kKvBlock);
  const int64_t widest = std::max({static_cast<int64_t>(c.width), q, ff_all, ff_wanted});
  return static_cast<uint64_t>(floats) * sizeof(float) +
         LinearScratchBytes(rows, widest, threads, mode);
}

}  // namespace carat
