// SPDX-License-Identifier: Apache-2.0
#include "base/thread_pool.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <numeric>

namespace carat {
namespace {

TEST(ThreadPool, RunsEveryIndexOnceWhateverTheThreadsAndGrain) {
  for (int threads : {1, 2, 4}) {
    ThreadPool pool(threads);
    for (int64_t n : {0, 1, 7, 1000}) {
      for (int64_t grain : {1, 3, 64}) {
        std::vector<int> hits(n, 0);
        pool.ParallelFor(n, grain, [&](int64_t b, int64_t e, int t) {
          EXPECT_LT(t, threads);
          for (int64_t i = b; i < e; ++i) ++hits[i];
        });
        EXPECT_EQ(std::accumulate(hits.begin(), hits.end(), 0), n);
        for (int h : hits) EXPECT_EQ(h, 1);
      }
    }
  }
}

TEST(ThreadPool, WakesWorkersThatFellAsleep) {
  ThreadPool pool(3);
  std::atomic<int> sum{0};
  for (int i = 0; i < 20; ++i) {
    pool.ParallelFor(64, 1, [&](int64_t b, int64_t, int) { sum += static_cast<int>(b); });
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(sum, 20 * 64 * 63 / 2);
}

TEST(ThreadPool, MakesDoWithTheThreadsThatTheSystemGives) {
  pthread_attr_t usual, huge;
  ASSERT_EQ(pthread_getattr_default_np(&usual), 0);
  ASSERT_EQ(pthread_getattr_default_np(&huge), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&huge, size_t{1} << 47), 0);  // no address space has that
  ASSERT_EQ(pthread_setattr_default_np(&huge), 0);
  ThreadPool pool(4);
  ASSERT_EQ(pthread_setattr_default_np(&usual), 0);
  EXPECT_EQ(pool.threads(), 1);
  int64_t done = 0;
  pool.ParallelFor(10, 3, [&](int64_t b, int64_t e, int) { done += e - b; });
  EXPECT_EQ(done, 10);
}

}  // namespace
}  // namespace carat
