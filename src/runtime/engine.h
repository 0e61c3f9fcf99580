// SPDX-License-Identifier: Apache-2.0
// What all sessions of a model share: weights, the pool, scratch, KV pages. One step at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "carat/carat.h"
#include "model/decoder.h"
#include "model/kv_cache.h"
#include "model/weights.h"

namespace carat {

// Rows of one prefill chunk: what scratch and rings are planned for.
constexpr int64_t kPrefillChunk = 512;
// Rows whose logits are made at a time when all are wanted; bounds their memory.
constexpr int64_t kLogitRows = 16;

class Engine {
 public:
  Engine(std::shared_ptr<const Weights> weights, std::unique_ptr<ThreadPool> pool);

  const Weights& weights() const { return *weights_; }
  const Config& config() const { return weights_->config; }
  const KvGeometry& geometry() const { return geometry_; }
  KvPool& kv_pool() { return kv_pool_; }
  ThreadPool& pool() { return *pool_; }
  Scratch& scratch() { return scratch_; }
  // Held for the length of a step, its logits included: sessions of several threads take turns.
  std::mutex& mutex() { return mutex_; }

 private:
  std::shared_ptr<const Weights> weights_;
  std::unique_ptr<ThreadPool> pool_;
  KvGeometry geometry_;
  KvPool kv_pool_;
  Scratch scratch_;
  std::mutex mutex_;
};

// One per physical core that this process may use, at least 1.
int DefaultThreads();

}  // namespace carat
