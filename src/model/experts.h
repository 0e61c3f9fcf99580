// SPDX-License-Identifier: Apache-2.0
// The mixture of experts of one layer (text-model.md 2.9).
#pragma once

#include <cstdint>
#include <vector>

#include "base/thread_pool.h"
#include "model/scratch.h"
#include "model/weights.h"

namespace carat {

struct ExpertRouting {
  std::vector<int32_t> experts;  // [rows, k], by falling probability
  std::vector<float> weights;    // [rows, k], renormalised, times the expert's scale
};

// Returns [rows, D]: for each row of the residual stream x [rows, D] the weighted sum of its
// experts, before any post norm; in scratch until the next call. A row's sum runs over its experts
// by falling probability, whatever the other rows chose. `routing` may be null.
const float* RunExperts(const Weights& weights, ThreadPool& pool, Scratch& scratch, int layer,
                        const float* x, int64_t rows, ExpertRouting* routing);

}  // namespace carat
