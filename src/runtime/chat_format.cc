// SPDX-License-Identifier: Apache-2.0
#include "runtime/chat_format.h"

#include <nlohmann/json.hpp>

#include "base/json.h"

namespace carat {
namespace {

// chat_template may be a string or a list of {"name", "template"}, of which "default" counts.
std::string TemplateOf(const nlohmann::ordered_json& config) {
  const auto found = config.find("chat_template");
  if (found == config.end()) return {};
  if (found->is_string()) return found->get_ref<const std::string&>();
  if (!found->is_array()) return {};
  for (const auto& entry : *found) {
    if (!entry.is_object()) continue;
    const auto name = entry.find("name"), text = entry.find("template");
    if (name != entry.end() && name->is_string() && *name == "default" && text != entry.end() &&
        text->is_string())
      return text->get_ref<const std::string&>();
  }
  return {};
}

Result<std::string> FindTemplate(const Checkpoint& checkpoint) {
  if (checkpoint.format == CheckpointFormat::kGguf) {
    if (!checkpoint.metadata) return std::string();
    return checkpoint.metadata->StringOr("tokenizer.chat_template", "");
  }
  const auto own = checkpoint.texts.find("chat_template.jinja");
  if (own != checkpoint.texts.end()) return own->second;
  const auto config = checkpoint.texts.find("tokenizer_config.json");
  if (config == checkpoint.texts.end()) return std::string();
  CARAT_ASSIGN_OR_RETURN(const auto json, ParseJson(config->second, checkpoint.path.string() +
                                                                        ": tokenizer_config.json"));
  return json.is_object() ? TemplateOf(json) : std::string();
}

}  // namespace

Result<std::vector<int32_t>> ChatFormat::Render(std::span<const ChatMessage> messages,
                                                const Tokenizer& tokenizer) const {
  std::vector<ChatTurn> turns;
  for (const ChatMessage& m : messages) turns.push_back({m.role, m.content});
  CARAT_ASSIGN_OR_RETURN(const auto segments, RenderChat(dialect_, turns));
  return EncodeChat(tokenizer, segments);
}

Result<ChatFormat> FindChatFormat(const Checkpoint& checkpoint, const Config& config) {
  CARAT_ASSIGN_OR_RETURN(const std::string text, FindTemplate(checkpoint));
  return ChatFormat(ChooseChatDialect(text, config.ple_width > 0));
}

}  // namespace carat
