// SPDX-License-Identifier: Apache-2.0
// Inside of ReadConfig: what the two readers hand to the shared checks. Not for other modules.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "io/checkpoint.h"
#include "model/config.h"

namespace carat {

// Limits on what a file may claim. With them every product of two sizes of a model fits 48 bits,
// and nothing that is allocated from the configuration alone is large.
constexpr int64_t kMaxLayers = 512;
constexpr int64_t kMaxWidth = int64_t{1} << 20;  // D, F, P, Hq * Dh
constexpr int64_t kMaxHeads = 4096;
constexpr int64_t kMaxHeadDim = int64_t{1} << 14;
constexpr int64_t kMaxVocab = int64_t{1} << 24;
constexpr int64_t kMaxPleRow = int64_t{1} << 24;  // L * P
constexpr int64_t kMaxExperts = 1024;
constexpr int64_t kMaxWindow = int64_t{1} << 20;
constexpr int64_t kMaxContext = int64_t{1} << 30;
constexpr double kMinTheta = 1, kMaxTheta = 1e15;

// One rotation as a file describes it: inv_freq[i] = theta^(-2i / head_dim) / factor, for the first
// floor(partial * head_dim / 2) pairs.
struct RopeSource {
  double theta = 10000;
  double factor = 1;
  double partial = 1;
  // GGUF's rope_freqs: a divisor for each of the head_dim / 2 pairs; replaces `partial`.
  std::vector<float> divisors;
};

// `config` holds the scalars, already in range; the vectors have L entries, already in range.
struct ConfigSource {
  Config config;
  std::vector<bool> sliding;
  std::vector<bool> k_eq_v;  // ignored on sliding layers
  std::vector<int64_t> head_dim, kv_heads, ff_width;
  int64_t shared_layers = 0;
  RopeSource rope[2];  // [0] sliding, [1] global
  // What the file calls these, for messages.
  std::string shared_key, kv_heads_key, head_dim_key, ple_key;
};

// Checks what involves several fields and derives the layer plan and the rotations.
Result<Config> FinishConfig(ConfigSource source);

Result<ConfigSource> ReadGgufConfig(const Checkpoint& checkpoint);
Result<ConfigSource> ReadHfConfig(const Checkpoint& checkpoint);

Result<GenerationDefaults> ReadGgufGeneration(const Checkpoint& checkpoint, const Config& config);
Result<GenerationDefaults> ReadHfGeneration(const Checkpoint& checkpoint, const Config& config);

Status CheckRange(std::string_view file, std::string_view key, int64_t value, int64_t min,
                  int64_t max);
// Finite and in [min, max].
Status CheckRange(std::string_view file, std::string_view key, double value, double min,
                  double max);

// Ids of tokens: 0 <= id < vocab (1.10.23).
Result<std::vector<int32_t>> CheckIds(std::string_view file, std::string_view key,
                                      const std::vector<int64_t>& ids, int64_t vocab);

// Appends what is not there yet.
void AddIds(const std::vector<int32_t>& from, std::vector<int32_t>* to);

}  // namespace carat
