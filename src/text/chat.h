// SPDX-License-Identifier: Apache-2.0
// Conversations as the prompts that Gemma's chat templates print (prompting.md 2.2 - 2.5), rendered
// natively: text turns only so far.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/tokenizer.h"

namespace carat {

enum class ChatDialect {
  kNone,         // a base model: it continues text
  kGemma3,       // <start_of_turn>
  kGemma4Small,  // <|turn>: E2B, E4B
  kGemma4Large,  // and an empty thought in front of the answer when thinking is off: 12B and up
};

// "none", "gemma3", "gemma4-small", "gemma4-large".
const char* ChatDialectName(ChatDialect dialect);

// The dialect of a checkpoint's chat template ("" when it has none). The published templates are
// known by their digests; any other Gemma 4 template goes by the model: the small ones have
// per-layer embeddings. The template itself is never run.
ChatDialect ChooseChatDialect(std::string_view chat_template, bool has_per_layer_embeddings);

struct ChatTurn {
  std::string role;  // "system" or "developer", "user", "assistant" or "model"
  std::string content;
};

struct ChatRenderOptions {
  bool enable_thinking = false;       // Gemma 4
  bool add_generation_prompt = true;  // open the model's turn at the end
};

// A part of a prompt: one control string, or text in which nothing is one, whatever it looks like.
struct ChatSegment {
  std::string text;
  bool control = false;
};

// Begins with <bos>. Errors: kInvalidArgument (dialect kNone, an unknown role, Gemma 3 turns that
// don't alternate).
Result<std::vector<ChatSegment>> RenderChat(ChatDialect dialect, std::span<const ChatTurn> turns,
                                            const ChatRenderOptions& options = {});

// The prompt in one string. Tokenised with control strings recognised it gives what the reference
// gives, control strings in the content included; EncodeChat is the safe way.
std::string ChatText(std::span<const ChatSegment> segments);

// The ids of a prompt, in which content can't introduce control tokens (prompting.md 1.9). Equal to
// the reference where content holds no control string: text is merged across segments.
// Errors: kInvalidArgument (the vocabulary lacks a control string).
Result<std::vector<int32_t>> EncodeChat(const Tokenizer& tokenizer,
                                        std::span<const ChatSegment> segments);

}  // namespace carat
