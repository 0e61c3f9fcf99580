// SPDX-License-Identifier: Apache-2.0
// From logits to the next token (prompting.md section 8).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "carat/carat.h"

namespace carat {

// One sequence's sampler. The n-th draw depends on the options, the logits and n only.
class Sampler {
 public:
  explicit Sampler(const SamplingOptions& options);

  // Picks the next token from logits [V], which it may change (bias, penalties, suppression).
  // `history` are the tokens so far, prompt included; `index` counts the generated tokens. Order:
  // bias, penalties, suppression, then temperature, top-k, top-p, min-p. Greedy (temperature 0 or
  // top-k 1) takes the largest logit, ties to the lowest id. -1: there is nothing to choose from,
  // because all logits are -infinity or they are not numbers.
  int32_t Sample(std::span<float> logits, std::span<const int32_t> history, int64_t index);

 private:
  struct Candidate {
    float logit;
    int32_t id;
  };
  void Adjust(std::span<float> logits, std::span<const int32_t> history) const;

  SamplingOptions options_;
  std::vector<Candidate> candidates_;
  std::vector<double> weights_;
};

// Index of the largest value, the first of equals. Requires a non-empty span.
int32_t ArgMax(std::span<const float> logits);

// Natural log-probability of `id` and, best first, of the n best tokens (ties to the lowest id).
float TopLogprobs(std::span<const float> logits, int32_t id, int n, std::vector<TokenLogprob>* top);

// log(sum(exp(logits))) in double.
double LogSumExp(std::span<const float> logits);

}  // namespace carat
