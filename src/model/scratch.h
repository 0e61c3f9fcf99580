// SPDX-License-Identifier: Apache-2.0
// The activations of one context: allocated once for the largest step, reused by every step.
#pragma once

#include <cstdint>
#include <vector>

#include "base/aligned.h"
#include "model/weights.h"
#include "ops/linear.h"

namespace carat {

// Buffers of floats by purpose; each grows when a step needs more than any before.
class Scratch {
 public:
  enum Buffer {
    kX,  // residual stream [T, D]
    kH,  // normed input [T, D]
    kQ,
    kK,
    kV,       // projections
    kAttn,    // attention output [T, Hq * Dh]
    kBranch,  // output of a branch before its norm [T, D]
    kGate,
    kUp,        // [T, F], or the routed rows' [n, F]
    kPle,       // per-layer inputs [T, L * P]
    kPleTable,  // rows of the table, one layer-row per thread
    kPleGate,   // [T, P]
    kCos0,
    kSin0,
    kCos1,
    kSin1,       // rotations of this step's positions
    kRouter,     // router logits [T, E]
    kExpertIn,   // routed rows, by expert [T * k, D]
    kExpertOut,  // [T * k, D], by row and choice
    kExpertSum,  // [T, D]
    kWanted,     // final hidden states [n, D]
    kScores,     // attention scores, a part per thread
    kBuffers
  };

  // At least n floats, 64-byte aligned; contents are undefined.
  float* Get(Buffer buffer, int64_t n);
  // Per-thread arrays of block pointers for attention.
  std::vector<const std::byte*>& BlockList(int thread);
  LinearScratch& linear() { return linear_; }
  uint64_t bytes() const;

 private:
  PageBuffer buffers_[kBuffers];
  std::vector<std::vector<const std::byte*>> block_lists_;
  LinearScratch linear_;
};

// Upper bound of bytes() after steps of at most `rows` rows of which `wanted` want logits, over
// contexts of at most `context` positions: for the memory plan.
uint64_t ScratchBytes(const Config& config, NumericMode mode, int64_t rows, int64_t wanted,
                      int64_t context, int threads);

}  // namespace carat
