// SPDX-License-Identifier: Apache-2.0
#include "scoring.h"

#include <algorithm>
#include <cmath>
#include <iterator>

namespace carat {
namespace {

// Sum of exp(x - max). A quarter of a million terms: one running sum would wait for itself.
double SumExp(std::span<const float> x, double max) {
  double sums[4] = {};
  size_t i = 0;
  for (; i + 4 <= x.size(); i += 4) {
    for (size_t k = 0; k < 4; ++k) sums[k] += std::exp(x[i + k] - max);
  }
  for (; i < x.size(); ++i) sums[0] += std::exp(x[i] - max);
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

}  // namespace

double NegativeLogLikelihood(std::span<const float> logits, int32_t target) {
  const double max = *std::max_element(logits.begin(), logits.end());
  return max + std::log(SumExp(logits, max)) - logits[static_cast<size_t>(target)];
}

RowComparison CompareRows(std::span<const float> exact, std::span<const float> other) {
  const auto best_exact = std::max_element(exact.begin(), exact.end());
  const auto best_other = std::max_element(other.begin(), other.end());
  const double max_exact = *best_exact, max_other = *best_other;
  // KL = sum p (log p - log q), with p = exp(x - max) / sum and so on.
  double sum = 0, weighted = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    const double log_p = exact[i] - max_exact;
    const double p = std::exp(log_p);
    sum += p;
    weighted += p * (log_p - (other[i] - max_other));
  }
  const double kl = weighted / sum - std::log(sum) + std::log(SumExp(other, max_other));
  // Rounding can leave -1e-17 where the rows are equal.
  return {.kl = kl < 0 ? 0.0 : kl,
          .same_best =
              std::distance(exact.begin(), best_exact) == std::distance(other.begin(), best_other)};
}

}  // namespace carat
