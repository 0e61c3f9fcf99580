// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/cancel.h"
#include "carat/carat.h"
#include "model/kv_cache.h"
#include "runtime/engine.h"

namespace carat {

// Runs input.ids through the engine with everything recorded, then continues greedily. `cache` is
// empty. Errors: kInvalidArgument (shapes, positions, ids), kCancelled, kBadFile.
Result<TraceOutput> RunTrace(Engine& engine, KvCache& cache, const TraceInput& input,
                             const CancelToken& cancel);

// The bidirectional block of each token: runs of image and video tokens, -1 elsewhere
// (text-model.md 2.13). `types` per token: 0 text, 1 image, 2 video, 3 audio.
std::vector<int32_t> VisionBlocks(std::span<const int32_t> types);

}  // namespace carat
