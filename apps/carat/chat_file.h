// SPDX-License-Identifier: Apache-2.0
// Conversations on disk, one JSON object:
//   {"format": "carat-chat", "version": 1, "model": "gemma-4-E2B-it", "system": "Be brief.",
//    "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
// or, of a model without a chat format, {"format": "carat-text", "version": 1, "model": ...,
// "text": "Once upon a time ..."}.
#pragma once

#include <string>
#include <vector>

#include "carat/carat.h"

namespace carat {

struct Conversation {
  std::string model;  // for people
  bool chat = true;
  std::string system;                 // chat only; "": none
  std::vector<ChatMessage> messages;  // chat only; "user" and "assistant" in turn
  std::string text;                   // without a chat format
};

// Errors: kInternal (I/O). An existing file is replaced once the new one is complete.
Status SaveConversation(const Conversation& conversation, const std::string& path);
// Errors: kNotFound, kBadFile.
Result<Conversation> LoadConversation(const std::string& path);

}  // namespace carat
