// SPDX-License-Identifier: Apache-2.0
// The one pool of an engine. Passed in explicitly, so two engines can live in one process.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace carat {

// Work is divided by index, never by time: which thread runs which index is undefined, so a task
// must write only what belongs to its own indices. One ParallelFor at a time, not nested; call it
// from one thread. Workers spin briefly after each job and then sleep.
class ThreadPool {
 public:
  // `threads` counts the calling thread; 1 runs everything in it. There are fewer where the system
  // refuses to start more. Requires threads >= 1.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls fn(begin, end, thread) over [0, n) in pieces of `grain` indices (the last may be
  // shorter); `thread` is in [0, threads()). Returns when all pieces are done.
  template <class F>
  void ParallelFor(int64_t n, int64_t grain, F&& fn) {
    using Fn = std::remove_reference_t<F>;
    Run(
        n, grain, [](void* f, int64_t b, int64_t e, int t) { (*static_cast<Fn*>(f))(b, e, t); },
        const_cast<void*>(static_cast<const void*>(&fn)));
  }

 private:
  using Call = void (*)(void*, int64_t, int64_t, int);
  void Run(int64_t n, int64_t grain, Call call, void* fn);
  void Work(int thread);
  void Pieces(int thread);

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<uint64_t> job_{0};  // number of the current job; workers wait for it to change
  std::atomic<int> sleepers_{0};
  std::atomic<bool> stop_{false};
  std::atomic<int> busy_{0};      // workers that have not finished the current job
  std::atomic<int64_t> next_{0};  // first index not yet taken
  int64_t n_ = 0, grain_ = 1;
  Call call_ = nullptr;
  void* fn_ = nullptr;
};

}  // namespace carat
