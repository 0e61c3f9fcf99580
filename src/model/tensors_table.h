// SPDX-License-Identifier: Apache-2.0
// The table itself: roles, names in both formats, presence and shapes. A new file format is one
// more column.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "io/checkpoint.h"
#include "model/config.h"

namespace carat {

enum class TensorRole : uint8_t {
  // of the model
  kEmbedding,
  kOutput,
  kOutputNorm,
  kPleTable,
  kPleProjection,
  kPleNorm,
  // of a layer
  kAttnNorm,
  kQ,
  kK,
  kV,
  kQkv,
  kO,
  kQNorm,
  kKNorm,
  kPostAttnNorm,
  kFfnNorm,
  kGate,
  kUp,
  kDown,
  kPostFfnNorm,
  kLayerScale,
  kPleGate,
  kPleOut,
  kPlePostNorm,
  kRouter,
  kRouterScale,
  kExpertScale,
  kExpertGateUp,
  kExpertGate,
  kExpertUp,
  kExpertDown,
  kPostFfnNorm1,
  kPreFfnNorm2,
  kPostFfnNorm2,
};

enum class Presence : uint8_t {
  kAbsent,    // the configuration says that there is none: an error if there is
  kUnused,    // may be in the file, is never read (K and V of sharing layers)
  kOptional,  // has a substitute: another form or a default
  kRequired,
};

struct TensorSpec {
  TensorRole role;
  bool per_layer;
  // Names in order of preference, without prefix ("blk.7.", "model.layers.7."); null: none left.
  std::array<const char*, 2> gguf;
  std::array<const char*, 4> hf;
};

// In the order of TensorRole.
std::span<const TensorSpec> TensorTable();
inline const TensorSpec& Spec(TensorRole role) { return TensorTable()[static_cast<size_t>(role)]; }

// `layer` is ignored for roles of the model.
Presence PresenceOf(TensorRole role, const Config& config, int layer);
// Row-major, exact. Requires that the role's presence is not kAbsent.
std::vector<uint64_t> ShapeOf(TensorRole role, const Config& config, int layer);

// What stands before the decoder's names in a Hugging Face checkpoint ("model.language_model." and
// older forms), found by its embedding; nothing when there is no embedding.
std::optional<std::string> HfTextPrefix(const Checkpoint& checkpoint);

// Full names under which the role may stand in this checkpoint, best first.
std::vector<std::string> NamesOf(TensorRole role, int layer, CheckpointFormat format,
                                 const std::string& hf_prefix);

}  // namespace carat
