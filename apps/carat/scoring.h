// SPDX-License-Identifier: Apache-2.0
// How good rows of logits are, in double.
#pragma once

#include <cstdint>
#include <span>

namespace carat {

// -log softmax(logits)[target], natural logarithm. Not finite when a logit is not.
// Requires 0 <= target < logits.size().
double NegativeLogLikelihood(std::span<const float> logits, int32_t target);

struct RowComparison {
  double kl = 0;           // KL(softmax(exact) || softmax(other)) in nats
  bool same_best = false;  // both have their largest logit (the first of equals) at the same place
};
// Requires rows of the same size, at least 1.
RowComparison CompareRows(std::span<const float> exact, std::span<const float> other);

}  // namespace carat
