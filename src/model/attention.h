// SPDX-License-Identifier: Apache-2.0
// Attention of a step: tiles of query rows over the caches of their sequences.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "model/scratch.h"
#include "model/weights.h"

namespace carat {

struct StepSpan;

// One row of a step as attention sees it. Visible positions are [first, last], for [0] sliding and
// [1] global layers (text-model.md 2.13).
struct AttentionRow {
  int span = 0;
  int64_t position = 0;
  int64_t first[2] = {0, 0};
  int64_t last[2] = {0, 0};
};

// out[r] = attention of q[r], both [rows, Hq * Dh], over the cache that layer `layer` reads. Rows
// of one span are neighbours. Keys and values of all rows are already stored.
void Attend(const Weights& weights, ThreadPool& pool, Scratch& scratch,
            std::span<const StepSpan> spans, const std::vector<AttentionRow>& rows, int layer,
            const float* q, float* out);

}  // namespace carat
