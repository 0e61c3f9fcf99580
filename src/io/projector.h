// SPDX-License-Identifier: Apache-2.0
// Multimodal projector files (mmproj): what `carat inspect --as mmproj` checks (file-formats.md 4).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/gguf.h"

namespace carat {

// One encoder. Numbers come from the metadata and are within the ranges of projector.cc; every
// tensor was compared with them. Without a tower (gemma4uv, gemma4ua) blocks is 0.
struct EncoderInfo {
  std::string projector;  // gemma4v, gemma4uv, gemma3; gemma4a, gemma4ua
  uint32_t blocks = 0;
  uint32_t width = 0;
  uint32_t feed_forward = 0;
  uint32_t heads = 0;           // divides width where blocks > 0
  uint32_t projection_dim = 0;  // width of the text model
  float epsilon = 0;
  // Vision only.
  uint32_t image_size = 0;
  uint32_t patch_size = 0;
  uint32_t scale_factor = 0;
  std::array<float, 3> image_mean{}, image_std{};  // std: none is 0
  // Audio only.
  uint32_t mel_bins = 0;
};

struct ProjectorInfo {
  std::optional<EncoderInfo> vision, audio;  // at least one
  size_t tensors = 0;
  uint64_t parameters = 0;
  std::vector<std::string> warnings;  // tensors that no table names
};

// Checks kind, keys (types and ranges) and the names, shapes and types of all tensors. gemma3 is
// recognised, though nothing computes it. Errors: kBadFile.
Result<ProjectorInfo> CheckProjector(const GgufFile& file);

}  // namespace carat
