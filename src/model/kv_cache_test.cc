// SPDX-License-Identifier: Apache-2.0
#include "model/kv_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <thread>

#include "base/rng.h"
#include "kernels/mode_kernels.h"

namespace carat {
namespace {

constexpr int kWindow = 24;

// A sliding, a global and a sharing layer.
Config SmallConfig() {
  Config config;
  config.layers = 3;
  config.window = kWindow;
  for (int i = 0; i < 3; ++i) {
    LayerPlan plan;
    plan.sliding = i == 0;
    plan.owns_kv = i < 2;
    plan.head_dim = 8;
    plan.kv_heads = 2;
    config.plan.push_back(plan);
  }
  return config;
}

// A cache whose positions hold their own numbers instead of keys.
class NumberedCache {
 public:
  NumberedCache(const KvGeometry& geometry, KvPool& pool, int64_t chunk)
      : cache_(geometry, pool, chunk) {}

  // A step of n positions; one that is cancelled leaves numbers that belong nowhere.
  void Step(int64_t n, bool cancelled) {
    cache_.Reserve(n);
    for (int64_t p = cache_.length(); p < cache_.length() + n; ++p)
      for (int layer : {0, 1})
        for (int head : {0, 1}) *At(layer, head, p) = cancelled ? -1 : Number(layer, head, p);
    if (!cancelled) cache_.Advance(n);
  }

  // Whether a step at `length` would find everything that its first query sees.
  bool CanContinueAt(int64_t length) {
    bool whole = true;
    for (int64_t p = 0; p < length; ++p)
      for (int head : {0, 1}) {
        whole &= *At(1, head, p) == Number(1, head, p);
        if (p > length - kWindow) whole &= *At(0, head, p) == Number(0, head, p);
      }
    return whole;
  }

  KvCache& cache() { return cache_; }

 private:
  static int32_t Number(int layer, int head, int64_t p) {
    return static_cast<int32_t>(4 * p + 2 * layer + head);
  }
  int32_t* At(int layer, int head, int64_t p) {
    auto* block = reinterpret_cast<int32_t*>(cache_.Block(layer, head, p / kKvBlock));
    return block + p % kKvBlock;
  }

  KvCache cache_;
};

TEST(KvCache, CanBeCutWhereItSays) {
  const KvGeometry geometry(SmallConfig(), sizeof(float));
  KvPool pool;
  uint64_t counter = 0;
  const auto below = [&](uint64_t n) {
    return static_cast<int64_t>(CounterRandom(5, 1, counter++) % n);
  };
  int cuts = 0, refused = 0;
  for (int sequence = 0; sequence < 60; ++sequence) {
    NumberedCache numbered(geometry, pool, 1 + below(20));
    KvCache& cache = numbered.cache();
    for (int step = 0; step < 30; ++step) {
      // Mostly small steps, so that a large one makes rings grow that have wrapped.
      const int64_t n = 1 + below(below(8) == 0 ? 150 : 12);
      const int64_t length = cache.length();
      const bool cancelled = below(5) == 0;
      numbered.Step(n, cancelled);
      ASSERT_EQ(cache.length(), cancelled ? length : length + n);
      const int64_t oldest = cache.OldestCut();
      ASSERT_LE(oldest, cache.length());
      refused += oldest > 0;
      for (int64_t cut = oldest; cut <= cache.length(); ++cut)
        ASSERT_TRUE(numbered.CanContinueAt(cut)) << "sequence " << sequence << " step " << step
                                                 << " length " << cache.length() << " cut " << cut;
      if (below(3) == 0) {
        cache.Truncate(oldest + below(static_cast<uint64_t>(cache.length() - oldest) + 1));
        ++cuts;
      }
    }
  }
  EXPECT_GT(cuts, 300);
  EXPECT_GT(refused, 300);
}

TEST(KvCache, TakesWhatTheGeometrySays) {
  const KvGeometry geometry(SmallConfig(), sizeof(float));
  KvPool pool;
  NumberedCache numbered(geometry, pool, 16);
  for (int i = 0; i < 50; ++i) numbered.Step(1 + i % 16, false);
  const int64_t length = numbered.cache().length();
  EXPECT_EQ(numbered.cache().bytes(), geometry.Bytes(length, 16));
  EXPECT_GT(geometry.Bytes(length + 256, 16), geometry.Bytes(length, 16));
}

TEST(KvCache, SequencesOfSeveralThreadsShareAPool) {
  const KvGeometry geometry(SmallConfig(), sizeof(float));
  KvPool pool;
  const auto run = [&] {
    for (int i = 0; i < 200; ++i) {
      NumberedCache numbered(geometry, pool, 16);
      numbered.Step(300, false);
      ASSERT_TRUE(numbered.CanContinueAt(300));
    }
  };
  std::thread other(run);
  run();
  other.join();
}

}  // namespace
}  // namespace carat
