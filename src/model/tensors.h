// SPDX-License-Identifier: Apache-2.0
// The table of tensors: every role of the decoder with its shape as a function of Config, its
// Hugging Face and GGUF names, and whether a layer has it. Resolving a checkpoint against the
// table checks all shapes and types (file-formats.md 1.10.20-21, section 3; text-model.md section
// 3).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "base/result.h"
#include "io/checkpoint.h"
#include "model/config.h"
#include "ops/linear.h"

namespace carat {

// A table of which single rows are read (token and per-layer embeddings). Rows come through
// pread, so that a look-up never maps the neighbourhood of a row into memory.
struct RowTable {
  std::shared_ptr<const MappedFile> file;
  uint64_t offset = 0;
  DType dtype = DType::kF32;
  int64_t rows = 0, cols = 0;
  float scale = 1;  // multiplies every value (NVFP4 in GGUF)
  // Dequantises row r into out [cols]. Requires 0 <= r < rows. Thread-safe. Errors: kBadFile.
  Status Read(int64_t r, float* out) const;
};

// Norm weights are float32, with Gemma 3's +1 already applied: every norm multiplies by what
// stands here. Empty vectors and views with data == nullptr: the layer has no such tensor.
struct LayerVectors {
  std::vector<float> attn_norm, q_norm, k_norm, post_attn_norm, ffn_norm, post_ffn_norm;
  float layer_scale = 1;
  std::vector<float> ple_post_norm;
  std::vector<float> router_scale;  // [D]
  std::vector<float> expert_scale;  // [E]
  std::vector<float> post_ffn_norm_1, pre_ffn_norm_2, post_ffn_norm_2;
};

struct LayerTensors : LayerVectors {
  MatrixView q, k, v, o;  // k, v empty on sharing layers; v empty on K=V layers
  MatrixView gate, up, down;
  MatrixView ple_gate, ple_out;
  MatrixView router;                                            // [E, D]
  std::vector<MatrixView> expert_gate, expert_up, expert_down;  // E each: [F, D], [F, D], [D, F]
};

struct ModelTensors {
  RowTable embedding;  // [V, D]
  MatrixView output;   // [V, D]: output.weight, else the embedding
  std::vector<float> output_norm;
  RowTable ple_table;           // [ple_vocab, L * P]
  MatrixView ple_projection;    // [L * P, D]
  std::vector<float> ple_norm;  // [P]
  std::vector<LayerTensors> layers;
  std::vector<std::shared_ptr<const MappedFile>> files;  // keeps every view valid
  std::vector<std::string> warnings;                     // unknown tensors and the like
};

// Errors: kBadFile naming file, tensor, expected and found.
Result<ModelTensors> ResolveTensors(const Checkpoint& checkpoint, const Config& config);

}  // namespace carat
