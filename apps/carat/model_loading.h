// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "carat/carat.h"
#include "commands.h"

namespace carat {

// What a user named, or the default model for "": $CARAT_MODEL, else gemma3-270m from the cache.
// Errors: kNotFound (with advice).
Result<std::filesystem::path> FindModel(const std::string& name);

// Finds and loads, with a progress bar where that takes long. Ctrl-C gives kCancelled.
// `options` is taken as it is but for mode, threads and context, which come from `flags`.
Result<std::shared_ptr<Model>> LoadModel(const ModelFlags& flags, LoadOptions options = {});

// The id of a special token ("bos"), or -1.
int32_t SpecialToken(const ModelInfo& info, std::string_view name);

const char* ModeName(Mode mode);

// The memory plan for people, one line a region.
std::string DescribePlan(const MemoryPlan& plan);

// "253.1 MB": decimal units, as file managers and shops use them.
std::string HumanBytes(uint64_t bytes);

}  // namespace carat
