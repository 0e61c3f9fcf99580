// SPDX-License-Identifier: Apache-2.0
// Random models of every family, made in memory, for tests of the decoder.
#pragma once

#include <memory>
#include <vector>

#include "model/config.h"
#include "model/tensors.h"

namespace carat {

struct TinyOptions {
  enum Kind { kE2b, kMoe, kDense, kGemma3 } kind = kE2b;
  DType dtype = DType::kF32;  // of the matrices: F32, BF16, Q4_0, Q8_0, Q4_K or Q6_K
  int window = 24;
  int64_t vocab = 320;
};

// `storage` owns the weights' bytes and must outlive what is made from the tensors.
struct TinyModel {
  Config config;
  ModelTensors tensors;
  std::vector<std::shared_ptr<std::vector<std::byte>>> storage;
};

TinyModel MakeTinyModel(const TinyOptions& options);

}  // namespace carat
