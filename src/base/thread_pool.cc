// SPDX-License-Identifier: Apache-2.0
#include "base/thread_pool.h"

#include <chrono>
#include <system_error>

#include "base/check.h"

namespace carat {
namespace {

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Long enough to bridge the serial parts between two jobs of a decode step, short enough not to
// burn a core while the program waits for a user.
constexpr auto kSpin = std::chrono::microseconds(200);

}  // namespace

ThreadPool::ThreadPool(int threads) {
  CARAT_CHECK(threads >= 1);
  workers_.reserve(static_cast<size_t>(threads) - 1);
  try {
    for (int t = 1; t < threads; ++t) workers_.emplace_back([this, t] { Work(t); });
  } catch (const std::system_error&) {
    // A limit on processes or address space. Results don't depend on how many threads there are.
  }
}

ThreadPool::~ThreadPool() {
  stop_ = true;
  job_.fetch_add(1);
  { std::lock_guard<std::mutex> lock(mutex_); }
  wake_.notify_all();
  for (auto& w : workers_) w.join();
}

void ThreadPool::Pieces(int thread) {
  for (;;) {
    const int64_t begin = next_.fetch_add(grain_, std::memory_order_relaxed);
    if (begin >= n_) return;
    const int64_t end = begin + grain_ < n_ ? begin + grain_ : n_;
    call_(fn_, begin, end, thread);
  }
}

void ThreadPool::Run(int64_t n, int64_t grain, Call call, void* fn) {
  if (n <= 0) return;
  if (grain < 1) grain = 1;
  if (workers_.empty() || n <= grain) {
    for (int64_t b = 0; b < n; b += grain) call(fn, b, b + grain < n ? b + grain : n, 0);
    return;
  }
  n_ = n;
  grain_ = grain;
  call_ = call;
  fn_ = fn;
  next_.store(0, std::memory_order_relaxed);
  busy_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
  job_.fetch_add(1);  // publishes the fields above
  if (sleepers_.load() > 0) {
    { std::lock_guard<std::mutex> lock(mutex_); }
    wake_.notify_all();
  }
  Pieces(0);
  // With more threads than free processors a worker may need ours to finish.
  for (int spins = 0; busy_.load(std::memory_order_acquire) > 0;) {
    if (spins < 500) {
      ++spins;
      Pause();
    } else {
      std::this_thread::yield();
    }
  }
}

void ThreadPool::Work(int thread) {
  uint64_t seen = 0;
  for (;;) {
    const auto start = std::chrono::steady_clock::now();
    int spins = 0;
    while (job_.load() == seen) {
      Pause();
      if (++spins % 64 == 0 && std::chrono::steady_clock::now() - start > kSpin) {
        std::unique_lock<std::mutex> lock(mutex_);
        sleepers_.fetch_add(1);
        wake_.wait(lock, [&] { return job_.load() != seen; });
        sleepers_.fetch_sub(1);
        break;
      }
    }
    // Every job waits for every worker, so no job can be missed.
    seen = job_.load();
    if (stop_) return;
    Pieces(thread);
    busy_.fetch_sub(1, std::memory_order_release);
  }
}

}  // namespace carat
