// SPDX-License-Identifier: Apache-2.0
#include "runtime/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>

#include "base/check.h"
#include "base/rng.h"

namespace carat {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

}  // namespace

int32_t ArgMax(std::span<const float> logits) {
  CARAT_CHECK(!logits.empty());
  size_t best = 0;
  for (size_t i = 1; i < logits.size(); ++i)
    if (logits[i] > logits[best]) best = i;
  return static_cast<int32_t>(best);
}

double LogSumExp(std::span<const float> logits) {
  const double most = logits[static_cast<size_t>(ArgMax(logits))];
  double sum = 0;
  for (float x : logits) sum += std::exp(x - most);
  return most + std::log(sum);
}

float TopLogprobs(std::span<const float> logits, int32_t id, int n,
                  std::vector<TokenLogprob>* top) {
  const double lse = LogSumExp(logits);
  top->clear();
  const size_t most = static_cast<size_t>(std::max(n, 0));
  for (size_t i = 0; i < logits.size() && most > 0; ++i) {
    if (top->size() == most) {
      if (!(logits[i] > top->back().logprob)) continue;
      top->pop_back();
    }
    // Behind its equals, whose ids are lower.
    const auto place =
        std::upper_bound(top->begin(), top->end(), logits[i],
                         [](float x, const TokenLogprob& other) { return x > other.logprob; });
    top->insert(place, {static_cast<int32_t>(i), logits[i]});
  }
  for (TokenLogprob& token : *top) token.logprob = static_cast<float>(token.logprob - lse);
  return static_cast<float>(logits[id] - lse);
}

Sampler::Sampler(const SamplingOptions& options) : options_(options) {}

void Sampler::Adjust(std::span<float> logits, std::span<const int32_t> history) const {
  const auto valid = [&](int32_t id) { return id >= 0 && static_cast<size_t>(id) < logits.size(); };
  for (const auto& [id, bias] : options_.logit_bias)
    if (valid(id)) logits[id] += bias;
  if (options_.repeat_penalty != 1 || options_.frequency_penalty != 0 ||
      options_.presence_penalty != 0) {
    const size_t window =
        options_.repeat_window > 0 ? static_cast<size_t>(options_.repeat_window) : history.size();
    std::unordered_map<int32_t, int> counts;
    for (int32_t id : history.last(std::min(window, history.size())))
      if (valid(id)) ++counts[id];
    for (const auto& [id, count] : counts) {
      float& x = logits[id];
      x = x > 0 ? x / options_.repeat_penalty : x * options_.repeat_penalty;
      x -= static_cast<float>(count) * options_.frequency_penalty + options_.presence_penalty;
    }
  }
  for (int32_t id : options_.suppress)
    if (valid(id)) logits[id] = kNever;
}

int32_t Sampler::Sample(std::span<float> logits, std::span<const int32_t> history, int64_t index) {
  Adjust(logits, history);
  const int32_t best = ArgMax(logits);
  if (!(logits[best] > kNever)) return -1;
  // An infinite logit (a bias) wins whatever the temperature, and has no finite weight.
  if (options_.temperature <= 0 || options_.top_k == 1 || std::isinf(logits[best])) return best;

  // Tokens less likely than the best by e^-80 could not be drawn with a 53-bit uniform anyway.
  const double inverse_t = 1.0 / options_.temperature;
  const float floor = static_cast<float>(logits[best] - 80.0 * options_.temperature);
  candidates_.clear();
  for (size_t i = 0; i < logits.size(); ++i)
    if (logits[i] >= floor) candidates_.push_back({logits[i], static_cast<int32_t>(i)});
  const auto better = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  };
  if (options_.top_k > 0 && static_cast<size_t>(options_.top_k) < candidates_.size()) {
    std::nth_element(candidates_.begin(), candidates_.begin() + options_.top_k, candidates_.end(),
                     better);
    candidates_.resize(static_cast<size_t>(options_.top_k));
  }
  std::sort(candidates_.begin(), candidates_.end(), better);

  weights_.clear();
  double sum = 0;
  for (const Candidate& c : candidates_) {
    weights_.push_back(std::exp((static_cast<double>(c.logit) - candidates_[0].logit) * inverse_t));
    sum += weights_.back();
  }
  // The smallest set whose probability reaches top_p; the best token always stays.
  size_t kept = candidates_.size();
  if (options_.top_p < 1) {
    double mass = 0;
    for (size_t i = 0; i < candidates_.size(); ++i) {
      mass += weights_[i];
      if (mass >= options_.top_p * sum) {
        kept = i + 1;
        break;
      }
    }
  }
  if (options_.min_p > 0)
    while (kept > 1 && weights_[kept - 1] < options_.min_p) --kept;

  double mass = 0;
  for (size_t i = 0; i < kept; ++i) mass += weights_[i];
  double u = CounterUniform(options_.seed, 0, static_cast<uint64_t>(index)) * mass;
  for (size_t i = 0; i < kept; ++i) {
    u -= weights_[i];
    if (u < 0) return candidates_[i].id;
  }
  return candidates_[kept - 1].id;
}

}  // namespace carat
