// SPDX-License-Identifier: Apache-2.0
// The one description of a decoder, whatever file it came from, checked in one place. Nothing
// below asks which model this is: the forward pass is a loop over LayerPlan[].
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/checkpoint.h"

namespace carat {

enum class Family { kGemma4, kGemma3 };

// One of the model's two rotations (text-model.md 2.6): pair i of a head turns by
// float(position) * inv_freq[i]; pairs from inv_freq.size() on stand still.
struct RopePlan {
  std::vector<float> inv_freq;  // rotating pairs only, at most head_dim / 2
};

struct LayerPlan {
  bool sliding = false;  // window or global
  int head_dim = 0;      // Dh of this layer
  int kv_heads = 0;      // Hkv
  bool owns_kv = true;   // computes and stores K and V
  int kv_layer = 0;      // layer whose cache it reads: itself, or the donor (2.7)
  bool k_eq_v = false;   // V is the raw K projection (2.5)
  int ff_width = 0;      // F of the dense MLP
  int rope = 0;          // index into Config::rope
};

struct Config {
  Family family = Family::kGemma4;
  std::string file;       // for messages
  std::string name;       // general.name, or the directory's name; for people
  int layers = 0;         // L
  int width = 0;          // D
  int heads = 0;          // Hq, the same in all layers
  int64_t vocab = 0;      // V: rows of the embedding (may exceed the tokenizer's size)
  int64_t ple_vocab = 0;  // rows of the per-layer-embedding table
  int window = 0;         // W: the query and W - 1 earlier positions (2.13)
  int64_t context = 0;    // trained context length
  float eps = 1e-6f;
  float softcap = 0;  // 0: none
  int ple_width = 0;  // P; 0: no per-layer inputs
  int experts = 0;    // E; 0: dense
  int experts_used = 0;
  int expert_ff = 0;
  float attention_scale = 1;   // multiplies the scores
  bool norms_add_one = false;  // stored norm weights w mean 1 + w (Gemma 3 in safetensors, 2.15)
  bool value_norm = true;      // weightless norm of V (Gemma 4)
  bool vision_blocks = false;  // image and video soft tokens attend to their whole block (2.13)
  bool vision_blocks_global = false;  // ... on global layers too (Gemma 3)
  double embedding_scale = 1;         // sqrt(D), unrounded
  RopePlan rope[2];                   // [0] sliding, [1] global
  std::vector<LayerPlan> plan;        // L entries
  // Soft-token ids, whose rows come from media; -1 where the model has none. In PLE they use the
  // row of id 0 (2.3).
  int32_t image_token = -1, audio_token = -1, video_token = -1;
  std::vector<std::string> warnings;

  // Index of the first layer without own K and V, or L: only the last layers share.
  int first_shared() const;
};

// Defaults of generation (generation_config.json, or the file's general.sampling.* keys).
struct GenerationDefaults {
  float temperature = 1;
  int top_k = 64;
  float top_p = 0.95f;
  std::vector<int32_t> stop_ids;
  std::vector<int32_t> suppress;
};

// Reads and checks the configuration: file-formats.md 2 and 1.10.15-19 for GGUF, text-model.md 1.3
// and 2.15 for Hugging Face. Errors: kBadFile naming file, key, expected and found.
Result<Config> ReadConfig(const Checkpoint& checkpoint);
// `config` must come from the same checkpoint. Ids are range-checked (1.10.23).
Result<GenerationDefaults> ReadGenerationDefaults(const Checkpoint& checkpoint,
                                                  const Config& config);

}  // namespace carat
