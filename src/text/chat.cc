// SPDX-License-Identifier: Apache-2.0
#include "text/chat.h"

#include "base/printable.h"
#include "text/code_points.h"
#include "text/sha256.h"

namespace carat {
namespace {

// prompting.md 2.1.
constexpr std::string_view kLargeTemplate =
    "ae53464bf3be25802b3a5b37def7fd89667067d7577049b3b2d74c4d8de4c6d4";
constexpr std::string_view kSmallTemplate =
    "0a2c8073c878ab1da004bee933a998606537bbb62016310352c7285c3f01c5b5";

// What Python's str.strip() removes, which the templates use.
bool IsSpace(uint32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

std::string_view Trim(std::string_view s) {
  while (!s.empty()) {
    const CodePoint c = CodePointAt(s, 0);
    if (!IsSpace(c.value)) break;
    s.remove_prefix(c.length);
  }
  while (!s.empty()) {
    size_t last = s.size() - 1;
    while (last > 0 && s.size() - last < 4 && (static_cast<uint8_t>(s[last]) & 0xC0) == 0x80) {
      --last;
    }
    const CodePoint c = CodePointAt(s, last);
    if (last + c.length != s.size() || !IsSpace(c.value)) break;
    s.remove_suffix(c.length);
  }
  return s;
}

// The model's text without its thoughts, also those that were never opened or never closed.
std::string StripThinking(std::string_view s) {
  constexpr std::string_view kOpen = "<|channel>", kClose = "<channel|>";
  std::string out;
  while (true) {
    const size_t close = s.find(kClose);
    const std::string_view part = s.substr(0, close);
    out.append(part.substr(0, part.find(kOpen)));
    if (close == std::string_view::npos) break;
    s.remove_prefix(close + kClose.size());
  }
  return std::string(Trim(out));
}

class Prompt {
 public:
  Prompt& Control(std::string_view text) {
    segments_.push_back({std::string(text), true});
    return *this;
  }
  Prompt& Text(std::string_view text) {
    if (segments_.empty() || segments_.back().control) segments_.push_back({"", false});
    segments_.back().text.append(text);
    return *this;
  }
  std::vector<ChatSegment> Take() { return std::move(segments_); }

 private:
  std::vector<ChatSegment> segments_;
};

bool IsSystem(const ChatTurn& turn) { return turn.role == "system" || turn.role == "developer"; }
bool IsModel(const ChatTurn& turn) { return turn.role == "assistant" || turn.role == "model"; }

Status CheckRoles(std::span<const ChatTurn> turns) {
  for (size_t i = 0; i < turns.size(); ++i) {
    if (!IsSystem(turns[i]) && !IsModel(turns[i]) && turns[i].role != "user") {
      return InvalidArgument(
          "message {}: role \"{}\", expected \"system\", \"user\" or \"assistant\"", i,
          Printable(turns[i].role));
    }
  }
  return {};
}

// prompting.md 2.3 - 2.5.
std::vector<ChatSegment> RenderGemma4(ChatDialect dialect, std::span<const ChatTurn> turns,
                                      const ChatRenderOptions& options) {
  Prompt prompt;
  prompt.Control("<bos>");
  const bool has_system = !turns.empty() && IsSystem(turns[0]);
  if (options.enable_thinking || has_system) {
    prompt.Control("<|turn>").Text("system\n");
    if (options.enable_thinking) prompt.Control("<|think|>").Text("\n");
    if (has_system) prompt.Text(Trim(turns[0].content));
    prompt.Control("<turn|>").Text("\n");
    if (has_system) turns = turns.subspan(1);
  }
  for (size_t i = 0; i < turns.size(); ++i) {
    const ChatTurn& turn = turns[i];
    // Adjacent answers share a turn; the template looks for the word "assistant" on the other side.
    const bool continues = IsModel(turn) && i > 0 && turns[i - 1].role == "assistant";
    const bool goes_on = IsModel(turn) && i + 1 < turns.size() && turns[i + 1].role == "assistant";
    if (!continues) {
      prompt.Control("<|turn>");
      // The word "developer" means nothing to the model.
      prompt.Text(IsModel(turn) ? "model\n" : IsSystem(turn) ? "system\n" : "user\n");
    }
    prompt.Text(IsModel(turn) ? StripThinking(turn.content) : Trim(turn.content));
    if (!goes_on) prompt.Control("<turn|>").Text("\n");
  }
  if (options.add_generation_prompt) {
    prompt.Control("<|turn>").Text("model\n");
    if (dialect == ChatDialect::kGemma4Large && !options.enable_thinking) {
      prompt.Control("<|channel>").Text("thought\n").Control("<channel|>");
    }
  }
  return prompt.Take();
}

Result<std::vector<ChatSegment>> RenderGemma3(std::span<const ChatTurn> turns,
                                              const ChatRenderOptions& options) {
  Prompt prompt;
  prompt.Control("<bos>");
  std::string system;
  if (!turns.empty() && IsSystem(turns[0])) {
    system = turns[0].content + "\n\n";
    turns = turns.subspan(1);
  }
  for (size_t i = 0; i < turns.size(); ++i) {
    const bool from_user = turns[i].role == "user";
    if (from_user != (i % 2 == 0)) {
      return InvalidArgument(
          "message {} is from \"{}\": turns of user and assistant must alternate, the user first",
          i + (system.empty() ? 0 : 1), Printable(turns[i].role));
    }
    prompt.Control("<start_of_turn>").Text(from_user ? "user\n" : "model\n");
    if (i == 0) prompt.Text(system);
    prompt.Text(Trim(turns[i].content)).Control("<end_of_turn>").Text("\n");
  }
  if (options.add_generation_prompt) prompt.Control("<start_of_turn>").Text("model\n");
  return prompt.Take();
}

}  // namespace

const char* ChatDialectName(ChatDialect dialect) {
  switch (dialect) {
    case ChatDialect::kNone:
      return "none";
    case ChatDialect::kGemma3:
      return "gemma3";
    case ChatDialect::kGemma4Small:
      return "gemma4-small";
    case ChatDialect::kGemma4Large:
      return "gemma4-large";
  }
  return "none";
}

ChatDialect ChooseChatDialect(std::string_view chat_template, bool has_per_layer_embeddings) {
  if (chat_template.find("<|turn>") != std::string_view::npos) {
    const std::string digest = Sha256Hex(chat_template);
    if (digest == kLargeTemplate) return ChatDialect::kGemma4Large;
    if (digest == kSmallTemplate) return ChatDialect::kGemma4Small;
    return has_per_layer_embeddings ? ChatDialect::kGemma4Small : ChatDialect::kGemma4Large;
  }
  if (chat_template.find("<start_of_turn>") != std::string_view::npos) return ChatDialect::kGemma3;
  return ChatDialect::kNone;
}

Result<std::vector<ChatSegment>> RenderChat(ChatDialect dialect, std::span<const ChatTurn> turns,
                                            const ChatRenderOptions& options) {
  if (dialect == ChatDialect::kNone) {
    return InvalidArgument("the model has no chat format: it is a base model and continues text");
  }
  CARAT_RETURN_IF_ERROR(CheckRoles(turns));
  if (dialect == ChatDialect::kGemma3) return RenderGemma3(turns, options);
  return RenderGemma4(dialect, turns, options);
}

std::string ChatText(std::span<const ChatSegment> segments) {
  std::string text;
  for (const ChatSegment& segment : segments) text.append(segment.text);
  return text;
}

Result<std::vector<int32_t>> EncodeChat(const Tokenizer& tokenizer,
                                        std::span<const ChatSegment> segments) {
  std::vector<int32_t> ids;
  std::string text;  // of adjacent segments
  for (const ChatSegment& segment : segments) {
    if (!segment.control) {
      text.append(segment.text);
      continue;
    }
    tokenizer.Encode(text, EncodeOptions{}, &ids);
    text.clear();
    const int32_t id = tokenizer.Find(segment.text);
    const PieceKind kind = tokenizer.Kind(id);
    if (kind != PieceKind::kControl && kind != PieceKind::kUserDefined) {
      return InvalidArgument(
          "the vocabulary has no control string \"{}\", which the chat format "
          "needs",
          segment.text);
    }
    ids.push_back(id);
  }
  tokenizer.Encode(text, EncodeOptions{}, &ids);
  return ids;
}

}  // namespace carat
