// SPDX-License-Identifier: Apache-2.0
// Keys and values of one sequence: rings of the window on sliding layers, growing pages on global
// layers, nothing for layers that share (text-model.md section 4).
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include "base/aligned.h"
#include "model/config.h"

namespace carat {

// Sizes that depend on the model only. One block holds kKvBlock positions of one KV head
// (kernels/mode_kernels.h has its layout); blocks are aligned to absolute positions.
struct KvGeometry {
  KvGeometry(const Config& config, int element_bytes);

  struct Layer {
    bool owns = false, sliding = false;
    int heads = 0;
    int64_t block_bytes = 0;  // of one KV head
  };
  std::vector<Layer> layers;
  int window = 0;

  // Blocks that a ring needs so that a chunk of `chunk` positions and the window before it fit.
  int64_t RingBlocks(int64_t chunk) const;
  // Bytes of a sequence of `context` positions that is fed in chunks of at most `chunk`.
  uint64_t Bytes(int64_t context, int64_t chunk) const;
};

constexpr int64_t kKvPageBlocks = 16;  // blocks of one page: 256 positions

// Pages that sequences give back are kept for the next one. Thread-safe: a session may be cleared
// or destroyed while another one runs.
class KvPool {
 public:
  PageBuffer Take(size_t bytes);
  void Give(PageBuffer page);

 private:
  std::mutex mutex_;
  std::vector<PageBuffer> free_;
};

class KvCache {
 public:
  // `pool` and `geometry` must outlive the cache.
  KvCache(const KvGeometry& geometry, KvPool& pool, int64_t chunk);
  ~KvCache();
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  int64_t length() const { return length_; }  // positions stored: 0 .. length - 1

  // Makes room for n positions behind length(): pages are added, rings grow (keeping their
  // window) when n exceeds every earlier chunk.
  void Reserve(int64_t n);
  // After the n reserved positions were written in every owning layer.
  void Advance(int64_t n) { length_ += n; }

  // The block that holds position 16 * block. Requires that the layer owns its cache and that the
  // position is reserved and, on a sliding layer, not yet overwritten.
  std::byte* Block(int layer, int head, int64_t block) const;

  // First position to which the cache can be cut: every window before it is still complete.
  int64_t OldestCut() const;
  // Forgets the positions from `length` on. Requires OldestCut() <= length <= length().
  void Truncate(int64_t length) { length_ = length; }
  void Clear();

  uint64_t bytes() const;  // held now

 private:
  struct Ring {
    PageBuffer data;  // [head][slot]
    int64_t blocks = 0;
  };
  void GrowRings(int64_t blocks);

  const KvGeometry& geometry_;
  KvPool& pool_;
  int64_t length_ = 0;
  int64_t high_ = 0;  // largest length since the last Clear: what the rings have seen
  int64_t kept_ = 0;  // first position that every growth of the rings has kept
  int64_t ring_blocks_ = 0;
  std::vector<Ring> rings_;                     // by layer
  std::vector<std::vector<PageBuffer>> pages_;  // by layer, [head][block in page]
};

}  // namespace carat
