// SPDX-License-Identifier: Apache-2.0
// From a checkpoint to its tokenizer.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.h"
#include "io/checkpoint.h"
#include "model/config.h"
#include "text/tokenizer.h"

namespace carat {

// GGUF: the tokenizer.ggml.* keys (file-formats.md 2.4, 2.5, 1.10.22). Hugging Face:
// tokenizer.json. `config` must come from the same checkpoint. Errors: kBadFile naming file, key,
// expected, found.
Result<std::shared_ptr<const Tokenizer>> LoadTokenizer(const Checkpoint& checkpoint,
                                                       const Config& config);

// Adds the ids on which generation must stop whatever the file says, found by their text
// (prompting.md 8.3): Gemma 4 <eos>, <turn|>, <|tool_response>; Gemma 3 <eos>, <end_of_turn>.
// Never </s>, which is ordinary text in both. Ids that are there already stay where they are.
void AddStopIds(const Tokenizer& tokenizer, Family family, std::vector<int32_t>* ids);

}  // namespace carat
