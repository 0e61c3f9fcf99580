// SPDX-License-Identifier: Apache-2.0
// The forward pass (text-model.md section 2) over one step: rows of many sequences together.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/cancel.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "model/kv_cache.h"
#include "model/scratch.h"
#include "model/weights.h"

namespace carat {

// The next rows of one sequence. Positions follow from cache->length(). A bidirectional block
// must not be divided between two steps.
struct StepSpan {
  KvCache* cache = nullptr;
  std::span<const int32_t> ids;  // one per row; soft positions hold any id of the vocabulary
  // Per row: a soft row [D] that replaces the embedding as it is, or null. Empty: none.
  std::span<const float* const> soft;
  // Per row: number of its bidirectional block, or -1. Runs of equal numbers are one block.
  // Ignored by models without vision_blocks. Empty: none.
  std::span<const int32_t> blocks;
  // Rows from here on want their final hidden state (== ids.size(): none does).
  int64_t wants_from = 0;
};

// Where a trace records what normally stays inside. All rows go through all layers then.
struct StepTrace {
  std::vector<std::vector<float>> hidden;          // L + 1 of [T, D]
  std::vector<float> ple;                          // [T, L, P]
  std::vector<std::vector<int32_t>> experts;       // per layer [T, k]
  std::vector<std::vector<float>> expert_weights;  // per layer [T, k]
};

struct StepOptions {
  const CancelToken* cancel = nullptr;  // polled at every layer
  StepTrace* trace = nullptr;
};

// Feeds the spans' rows, writes their keys and values and advances the caches. Returns the wanted
// rows' hidden states after the final norm, [n, D], spans in order, in memory of `scratch` that
// stays valid until its next use. Errors: kCancelled and kBadFile (a table row cannot be read):
// the caches keep their lengths then. Requires valid ids, distinct caches, at least one row.
//
// A row's result depends on its own sequence only: not on the other spans, on how a sequence is
// cut into steps, or on the thread count (design: every operation fixes its order of sums).
Result<std::span<const float>> Forward(const Weights& weights, ThreadPool& pool, Scratch& scratch,
                                       std::span<const StepSpan> spans,
                                       const StepOptions& options = {});

// Logits [n, V] of n hidden rows, soft-capped (text-model.md 2.12). Same rule of bits.
void Logits(const Weights& weights, ThreadPool& pool, Scratch& scratch,
            std::span<const float> hidden, float* logits);

}  // namespace carat
