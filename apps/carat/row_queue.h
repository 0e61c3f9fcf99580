// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <utility>
#include <vector>

namespace carat {

// Hands rows of logits from one thread to another. A row of a real model is a megabyte: only a few
// may wait.
class RowQueue {
 public:
  // Waits for room. False once the queue is closed: the row is dropped.
  bool Push(std::vector<float> row) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return closed_ || rows_.size() < kCapacity; });
    if (closed_) return false;
    rows_.push_back(std::move(row));
    changed_.notify_all();
    return true;
  }
  // Waits for a row. False once the queue is closed and empty.
  bool Pop(std::vector<float>* row) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return closed_ || !rows_.empty(); });
    if (rows_.empty()) return false;
    *row = std::move(rows_.front());
    rows_.pop_front();
    changed_.notify_all();
    return true;
  }
  // Both ends may close it.
  void Close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }

 private:
  static constexpr size_t kCapacity = 8;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::vector<float>> rows_;
  bool closed_ = false;
};

}  // namespace carat
