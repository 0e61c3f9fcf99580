// SPDX-License-Identifier: Apache-2.0
// A model's weights prepared for one numeric mode: what the forward pass multiplies with.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "kernels/mode_kernels.h"
#include "model/config.h"
#include "model/tensors.h"
#include "ops/linear.h"

namespace carat {

struct LayerWeights : LayerVectors {
  Linear q, k, v, o, gate, up, down;
  Linear ple_gate, ple_out;
  Linear router;
  std::vector<float> router_norm;  // router_scale * D^-1/2: the weight of the router's norm
  std::vector<Linear> expert_gate, expert_up, expert_down;
};

// Immutable once made; shared by all contexts of a model.
struct Weights {
  Config config;
  NumericMode mode = NumericMode::kFast;
  const ModeKernels* kernels = nullptr;
  float embedding_scale = 1;  // rounded to bfloat16 on request
  RowTable embedding, ple_table;
  Linear output;
  std::vector<float> output_norm, ple_norm;
  // Per-layer inputs of the layers that own caches, and of the others: a prefill needs the second
  // part only for rows whose logits are wanted (text-model.md 8.1).
  Linear ple_projection_own, ple_projection_rest;
  std::vector<LayerWeights> layers;
  std::vector<std::shared_ptr<const MappedFile>> files;  // what was not packed is read from them
};

struct PrepareOptions {
  NumericMode mode = NumericMode::kFast;
  bool bf16_embedding_scale = false;
  std::function<bool(double)> progress = {};  // fraction of bytes done; false cancels
};

// Packs what the mode packs, giving source pages back as it goes, so that memory never holds both.
// Errors: kCancelled.
Result<std::shared_ptr<const Weights>> PrepareWeights(const Config& config, ModelTensors tensors,
                                                      const PrepareOptions& options,
                                                      ThreadPool& pool);

// Bytes that PrepareWeights will hold, for the memory plan: anonymous memory, and file bytes read
// in place by the forward pass.
struct WeightBytes {
  uint64_t anonymous = 0, mapped = 0;
  uint64_t largest_source = 0;  // biggest matrix that is packed: resident beside its panels
  uint64_t parameters = 0;      // elements in use, tables included
};
WeightBytes CountWeights(const Config& config, const ModelTensors& tensors, NumericMode mode);

}  // namespace carat
