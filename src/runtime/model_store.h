// SPDX-License-Identifier: Apache-2.0
// The cache folder: models in models/NAME/. What is public of it stands in carat/carat.h.
#pragma once

#include <filesystem>
#include <string_view>

#include "carat/carat.h"

namespace carat {

// $CARAT_CACHE, else $XDG_CACHE_HOME/carat, else ~/.cache/carat; empty when none is set.
std::filesystem::path CacheFolder();

// Letters, digits, ".", "_" and "-", and no "." in front: nothing that could leave a folder.
bool IsModelName(std::string_view name);

// What in a model's folder is to be opened: its only GGUF file, else the folder itself.
// Errors: kNotFound (no model files).
Result<std::filesystem::path> FindModelFile(const std::filesystem::path& folder);

}  // namespace carat
