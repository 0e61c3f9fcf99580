// SPDX-License-Identifier: Apache-2.0
// LoRA adapters in GGUF form: what `carat inspect --as adapter` checks
// (file-formats.md 1.10.26, 3.10).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/checkpoint.h"
#include "io/gguf.h"

namespace carat {

// One changed matrix: W + scale * B A, scale = user's * alpha / rank (alpha 0: the user's alone).
struct AdapterPair {
  std::string base;   // name of the tensor it changes
  uint64_t in = 0;    // columns of the base tensor
  uint64_t out = 0;   // rows of the base tensor
  uint64_t rank = 0;  // > 0
  uint64_t experts = 1;
};

struct AdapterInfo {
  std::string architecture;
  float alpha = 0;                 // finite
  std::vector<AdapterPair> pairs;  // by name, never empty
  uint64_t parameters = 0;
};

// Checks kind, keys, pairs and shapes of an adapter; with `base`, also that the architecture is the
// same and that every changed tensor exists there and fits. Tensors that end in "_norm.weight" are
// ignored. Errors: kBadFile, kInvalidArgument (base is no GGUF model).
Result<AdapterInfo> CheckAdapter(const GgufFile& adapter, const Checkpoint* base);

}  // namespace carat
