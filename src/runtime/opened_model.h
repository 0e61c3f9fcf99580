// SPDX-License-Identifier: Apache-2.0
// A model whose headers were read and checked, and no weights yet: what loading, planning and
// inspecting begin with.
#pragma once

#include <filesystem>
#include <memory>

#include "carat/carat.h"
#include "io/checkpoint.h"
#include "model/config.h"
#include "model/tensors.h"
#include "runtime/chat_format.h"
#include "text/tokenizer.h"

namespace carat {

struct OpenedModel {
  Checkpoint checkpoint;
  Config config;
  ModelTensors tensors;
  std::shared_ptr<const Tokenizer> tokenizer;
  GenerationDefaults defaults;
  ChatFormat chat;
};

// Errors: kNotFound, kBadFile.
Result<OpenedModel> OpenModel(const std::filesystem::path& path);

ModelInfo MakeInfo(const OpenedModel& opened);

}  // namespace carat
