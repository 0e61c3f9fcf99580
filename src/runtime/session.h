// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "base/cancel.h"
#include "runtime/engine.h"
#include "text/tokenizer.h"

namespace carat {

// A Session over one engine. `engine` and `tokenizer` are shared with the model.
std::unique_ptr<Session> MakeSession(std::shared_ptr<Engine> engine,
                                     std::shared_ptr<const Tokenizer> tokenizer,
                                     int64_t context_tokens);

}  // namespace carat
