// SPDX-License-Identifier: Apache-2.0
#include "model/kv_cache.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "kernels/mode_kernels.h"

namespace carat {

KvGeometry::KvGeometry(const Config& config, int element_bytes) : window(config.window) {
  for (int i = 0; i < config.layers; ++i) {
    const LayerPlan& plan = config.plan[i];
    Layer layer;
    layer.owns = plan.owns_kv;
    layer.sliding = plan.sliding;
    layer.heads = plan.kv_heads;
    layer.block_bytes = int64_t{2} * kKvBlock * plan.head_dim * element_bytes;
    layers.push_back(layer);
  }
}

int64_t KvGeometry::RingBlocks(int64_t chunk) const {
  // The first query of a chunk sees window - 1 earlier positions; both ends may cut a block.
  return (window + chunk - 2) / kKvBlock + 2;
}

uint64_t KvGeometry::Bytes(int64_t context, int64_t chunk) const {
  const int64_t page = kKvPageBlocks * kKvBlock;
  const int64_t pages = (context + page - 1) / page;
  uint64_t sum = 0;
  for (const Layer& layer : layers) {
    if (!layer.owns) continue;
    const int64_t blocks = layer.sliding ? RingBlocks(chunk) : pages * kKvPageBlocks;
    sum += static_cast<uint64_t>(blocks) * layer.heads * layer.block_bytes;
  }
  return sum;
}

PageBuffer KvPool::Take(size_t bytes) {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (size_t i = 0; i < free_.size(); ++i) {
    if (free_[i].size() != bytes) continue;
    PageBuffer page = std::move(free_[i]);
    free_[i] = std::move(free_.back());
    free_.pop_back();
    return page;
  }
  return PageBuffer(bytes);
}

void KvPool::Give(PageBuffer page) {
  const std::lock_guard<std::mutex> lock(mutex_);
  free_.push_back(std::move(page));
}

KvCache::KvCache(const KvGeometry& geometry, KvPool& pool, int64_t chunk)
    : geometry_(geometry), pool_(pool) {
  rings_.resize(geometry.layers.size());
  pages_.resize(geometry.layers.size());
  ring_blocks_ = geometry.RingBlocks(chunk);
}

KvCache::~KvCache() { Clear(); }

void KvCache::Clear() {
  for (auto& layer : pages_) {
    for (PageBuffer& page : layer) pool_.Give(std::move(page));
    layer.clear();
  }
  length_ = 0;
  high_ = 0;
  kept_ = 0;
}

void KvCache::GrowRings(int64_t blocks) {
  // Blocks that may still be read: the window before length_.
  const int64_t first = std::max<int64_t>(0, length_ - geometry_.window + 1) / kKvBlock;
  const int64_t last = (length_ + kKvBlock - 1) / kKvBlock;
  for (size_t i = 0; i < rings_.size(); ++i) {
    const KvGeometry::Layer& layer = geometry_.layers[i];
    if (!layer.owns || !layer.sliding || rings_[i].blocks == blocks) continue;
    Ring grown;
    grown.blocks = blocks;
    grown.data = PageBuffer(static_cast<size_t>(blocks) * layer.heads * layer.block_bytes);
    if (rings_[i].blocks > 0) {
      for (int h = 0; h < layer.heads; ++h) {
        for (int64_t b = first; b < last; ++b) {
          const std::byte* from = rings_[i].data.data() +
                                  (h * rings_[i].blocks + b % rings_[i].blocks) * layer.block_bytes;
          std::memcpy(grown.data.data() + (h * blocks + b % blocks) * layer.block_bytes, from,
                      static_cast<size_t>(layer.block_bytes));
        }
      }
    }
    rings_[i] = std::move(grown);
  }
  if (blocks > ring_blocks_) kept_ = std::max(kept_, first * kKvBlock);
  ring_blocks_ = blocks;
}

void KvCache::Reserve(int64_t n) {
  GrowRings(std::max(ring_blocks_, geometry_.RingBlocks(n)));
  const int64_t page_positions = kKvPageBlocks * kKvBlock;
  const int64_t pages = (length_ + n + page_positions - 1) / page_positions;
  for (size_t i = 0; i < pages_.size(); ++i) {
    const KvGeometry::Layer& layer = geometry_.layers[i];
    if (!layer.owns || layer.sliding) continue;
    while (static_cast<int64_t>(pages_[i].size()) < pages)
      pages_[i].push_back(
          pool_.Take(static_cast<size_t>(kKvPageBlocks) * layer.heads * layer.block_bytes));
  }
  high_ = std::max(high_, length_ + n);
}

std::byte* KvCache::Block(int layer, int head, int64_t block) const {
  const KvGeometry::Layer& g = geometry_.layers[layer];
  if (g.sliding) {
    const Ring& ring = rings_[layer];
    return ring.data.data() + (head * ring.blocks + block % ring.blocks) * g.block_bytes;
  }
  const PageBuffer& page = pages_[layer][static_cast<size_t>(block / kKvPageBlocks)];
  return page.data() + (head * kKvPageBlocks + block % kKvPageBlocks) * g.block_bytes;
}

int64_t KvCache::OldestCut() const {
  // Slots of the ring hold the newest `ring_blocks_` blocks that were ever reserved; a cut at c
  // needs the window of the next position, c - window + 1 .. c - 1, untouched.
  const int64_t oldest_block = (high_ + kKvBlock - 1) / kKvBlock - ring_blocks_;
  const int64_t oldest = std::max(kept_, oldest_block * kKvBlock);
  return oldest == 0 ? 0 : std::min(length_, oldest + geometry_.window - 1);
}

uint64_t KvCache::bytes() const {
  uint64_t sum = 0;
  for (const Ring& ring : rings_) sum += ring.data.size();
  for (const auto& layer : pages_)
    for (const PageBuffer& page : layer) sum += page.size();
  return sum;
}

}  // namespace carat
