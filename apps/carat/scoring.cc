// SPDX-License-Identifier: Apache-2.0
#include "scoring.h"

#include <algorithm>
#include <cmath>
#include <iterator>

namespace carat {
namespace {

// A quarter of a million terms: one running sum would wait for itself, and rows that are equal must
// get equal sums.
struct Lanes {
  double lane[4] = {};
  double Sum() const { return (lane[0] + lane[1]) + (lane[2] + lane[3]); }
};

double SumExp(std::span<const float> x, double max) {
  Lanes sum;
  for (size_t i = 0; i < x.size(); ++i) sum.lane[i % 4] += std::exp(x[i] - max);
  return sum.Sum();
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
  Lanes sum, weighted;
  for (size_t i = 0; i < exact.size(); ++i) {
    const double log_p = exact[i] - max_exact;
    const double p = std::exp(log_p);
    sum.lane[i % 4] += p;
    weighted.lane[i % 4] += p * (log_p - (other[i] - max_other));
  }
  const double kl =
      weighted.Sum() / sum.Sum() - std::log(sum.Sum()) + std::log(SumExp(other, max_other));
  // Rounding can leave -1e-17 where the rows are nearly equal.
  return {.kl = kl < 0 ? 0.0 : kl,
          .same_best =
              std::distance(exact.begin(), best_exact) == std::distance(other.begin(), best_other)};
}

}  // namespace carat
