// SPDX-License-Identifier: Apache-2.0
#include "model/experts.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace carat {
namespace {

// The k largest logits, ties to the lower index, and the softmax over them times the experts' own
// scales. Equal to a softmax over all experts renormalised over the chosen ones.
void Choose(const float* logits, int experts, int k, const float* expert_scale, int32_t* chosen,
            float* weights) {
  for (int j = 0; j < k; ++j) {
    int best = -1;
    for (int e = 0; e < experts; ++e) {
      bool taken = false;
      for (int i = 0; i < j; ++i) taken |= chosen[i] == e;
      if (!taken && (best < 0 || logits[e] > logits[best])) best = e;
    }
    chosen[j] = best;
  }
  double sum = 0;
  for (int j = 0; j < k; ++j)
    sum += std::exp(static_cast<double>(logits[chosen[j]]) - logits[chosen[0]]);
  for (int j = 0; j < k; ++j) {
    const double p = std::exp(static_cast<double>(logits[chosen[j]]) - logits[chosen[0]]) / sum;
    weights[j] = static_cast<float>(p * expert_scale[chosen[j]]);
  }
}

}  // namespace

const float* RunExperts(const Weights& w, ThreadPool& pool, Scratch& scratch, int layer,
                        const float* x, int64_t rows, ExpertRouting* routing) {
  const Config& c = w.config;
  const LayerWeights& l = w.layers[layer];
  const int64_t d = c.width, k = c.experts_used, f = c.expert_ff;
  const ModeKernels& kernels = *w.kernels;

  // The sum's buffer first serves as the router's input and then as the experts'.
  float* sum = scratch.Get(Scratch::kExpertSum, rows * d);
  float* logits = scratch.Get(Scratch::kRouter, rows * c.experts);
  pool.ParallelFor(rows, 8, [&](int64_t b, int64_t e, int) {
    for (int64_t r = b; r < e; ++r)
      kernels.rms_norm(x + r * d, l.router_norm.data(), sum + r * d, d, c.eps);
  });
  const LinearOutput router{&l.router, logits, c.experts};
  Apply(pool, scratch.linear(), sum, d, rows, {&router, 1});

  ExpertRouting chosen;
  chosen.experts.resize(static_cast<size_t>(rows * k));
  chosen.weights.resize(static_cast<size_t>(rows * k));
  std::vector<int64_t> begin(static_cast<size_t>(c.experts) + 1, 0);
  for (int64_t r = 0; r < rows; ++r) {
    Choose(logits + r * c.experts, c.experts, static_cast<int>(k), l.expert_scale.data(),
           &chosen.experts[r * k], &chosen.weights[r * k]);
    for (int64_t j = 0; j < k; ++j) ++begin[chosen.experts[r * k + j] + 1];
  }
  for (int e = 0; e < c.experts; ++e) begin[e + 1] += begin[e];

  // Rows sorted by expert: `slot` of (row, choice) in the routed buffers.
  std::vector<int64_t> slot(static_cast<size_t>(rows * k));
  std::vector<int64_t> next(begin.begin(), begin.end() - 1);
  float* in = scratch.Get(Scratch::kExpertIn, rows * k * d);
  for (int64_t i = 0; i < rows * k; ++i) slot[i] = next[chosen.experts[i]]++;
  pool.ParallelFor(rows, 4, [&](int64_t b, int64_t e, int) {
    for (int64_t r = b; r < e; ++r) {
      kernels.rms_norm(x + r * d, l.pre_ffn_norm_2.data(), sum + r * d, d, c.eps);
      for (int64_t j = 0; j < k; ++j)
        std::memcpy(in + slot[r * k + j] * d, sum + r * d, static_cast<size_t>(d) * sizeof(float));
    }
  });

  float* out = scratch.Get(Scratch::kExpertOut, rows * k * d);
  float* gate = scratch.Get(Scratch::kGate, rows * k * f);
  float* up = scratch.Get(Scratch::kUp, rows * k * f);
  for (int e = 0; e < c.experts; ++e) {
    const int64_t n = begin[e + 1] - begin[e];
    if (n == 0) continue;
    const float* e_in = in + begin[e] * d;
    const LinearOutput gate_up[] = {{&l.expert_gate[e], gate, f}, {&l.expert_up[e], up, f}};
    Apply(pool, scratch.linear(), e_in, d, n, gate_up);
    pool.ParallelFor(n, std::max<int64_t>(1, 4096 / f), [&](int64_t b, int64_t end, int) {
      kernels.gelu_mul(gate + b * f, up + b * f, gate + b * f, (end - b) * f);
    });
    const LinearOutput down{&l.expert_down[e], out + begin[e] * d, d};
    Apply(pool, scratch.linear(), gate, f, n, {&down, 1});
  }

  pool.ParallelFor(rows, 4, [&](int64_t b, int64_t e, int) {
    for (int64_t r = b; r < e; ++r) {
      float* y = sum + r * d;
      for (int64_t i = 0; i < d; ++i) {
        double s = 0;
        for (int64_t j = 0; j < k; ++j)
          s += static_cast<double>(chosen.weights[r * k + j]) * out[slot[r * k + j] * d + i];
        y[i] = static_cast<float>(s);
      }
    }
  });
  if (routing) *routing = std::move(chosen);
  return sum;
}

}  // namespace carat
