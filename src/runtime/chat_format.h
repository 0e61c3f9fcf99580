// SPDX-License-Identifier: Apache-2.0
// Which chat format a checkpoint speaks, and conversations in it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "carat/carat.h"
#include "io/checkpoint.h"
#include "model/config.h"
#include "text/chat.h"
#include "text/tokenizer.h"

namespace carat {

class ChatFormat {
 public:
  explicit ChatFormat(ChatDialect dialect = ChatDialect::kNone) : dialect_(dialect) {}

  // "none" (a base model), "gemma3", "gemma4-small", "gemma4-large".
  std::string name() const { return ChatDialectName(dialect_); }

  // The prompt's ids, BOS first, the model's turn opened. Errors: kInvalidArgument.
  Result<std::vector<int32_t>> Render(std::span<const ChatMessage> messages,
                                      const Tokenizer& tokenizer) const;

 private:
  ChatDialect dialect_;
};

// From the checkpoint's chat template: tokenizer.chat_template (GGUF), chat_template.jinja, else
// chat_template in tokenizer_config.json (Hugging Face). Errors: kBadFile.
Result<ChatFormat> FindChatFormat(const Checkpoint& checkpoint, const Config& config);

}  // namespace carat
