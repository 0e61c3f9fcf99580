// SPDX-License-Identifier: Apache-2.0
#include "chat_file.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "json_writer.h"

namespace carat {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxFileBytes = 16 << 20;

std::string ToJson(const Conversation& conversation) {
  JsonWriter json;
  json.BeginObject();
  json.Key("format").String(conversation.chat ? "carat-chat" : "carat-text");
  json.Key("version").Int(1);
  json.Key("model").String(conversation.model);
  if (conversation.chat) {
    json.Key("system").String(conversation.system);
    json.Key("messages").BeginArray();
    for (const ChatMessage& message : conversation.messages) {
      json.BeginObject().Key("role").String(message.role);
      json.Key("content").String(message.content).EndObject();
    }
    json.EndArray();
  } else {
    json.Key("text").String(conversation.text);
  }
  json.EndObject();
  return json.text() + "\n";
}

Result<std::string> GetString(const Json& object, const char* key, const std::string& where) {
  const auto member = object.find(key);
  if (member == object.end() || !member->is_string()) {
    return BadFile("{}: {}: expected a string, found {}", where, key,
                   member == object.end() ? "nothing" : member->type_name());
  }
  return member->get<std::string>();
}

Result<std::vector<ChatMessage>> GetMessages(const Json& root, const std::string& path) {
  const auto list = root.find("messages");
  if (list == root.end() || !list->is_array()) {
    return BadFile("{}: messages: expected an array, found {}", path,
                   list == root.end() ? "nothing" : list->type_name());
  }
  std::vector<ChatMessage> messages;
  for (const Json& entry : *list) {
    const std::string where = fmt::format("{}: messages[{}]", path, messages.size());
    if (!entry.is_object())
      return BadFile("{}: expected an object, found {}", where, entry.type_name());
    ChatMessage message;
    CARAT_ASSIGN_OR_RETURN(message.role, GetString(entry, "role", where));
    CARAT_ASSIGN_OR_RETURN(message.content, GetString(entry, "content", where));
    const char* expected = messages.size() % 2 == 0 ? "user" : "assistant";
    if (message.role != expected) {
      return BadFile("{}: role: expected \"{}\", found {}", where, expected,
                     Json(message.role).dump(-1, ' ', true));
    }
    messages.push_back(std::move(message));
  }
  if (messages.size() % 2 != 0)
    return BadFile("{}: messages: expected an answer at the end, found a question", path);
  return messages;
}

}  // namespace

Status SaveConversation(const Conversation& conversation, const std::string& path) {
  const std::string temporary = path + ".tmp";
  std::ofstream file(temporary, std::ios::binary);
  file << ToJson(conversation);
  file.close();
  if (!file || std::rename(temporary.c_str(), path.c_str()) != 0) {
    const int error = errno;
    std::remove(temporary.c_str());
    return Internal("{}: cannot write: {}", path, std::strerror(error));
  }
  return {};
}

Result<Conversation> LoadConversation(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return NotFound("{}: {}", path, std::strerror(errno));
  std::string text(kMaxFileBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  if (text.size() > kMaxFileBytes)
    return BadFile("{}: expected at most {} bytes", path, kMaxFileBytes);
  // The parser uses no recursion; what is not an object of strings and flat messages is refused
  // right below.
  const Json root = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object()) return BadFile("{}: expected a JSON object", path);

  Conversation conversation;
  CARAT_ASSIGN_OR_RETURN(const std::string format, GetString(root, "format", path));
  conversation.chat = format == "carat-chat";
  if (!conversation.chat && format != "carat-text")
    return BadFile("{}: format: expected \"carat-chat\" or \"carat-text\"", path);
  CARAT_ASSIGN_OR_RETURN(conversation.model, GetString(root, "model", path));
  if (conversation.chat) {
    CARAT_ASSIGN_OR_RETURN(conversation.system, GetString(root, "system", path));
    CARAT_ASSIGN_OR_RETURN(conversation.messages, GetMessages(root, path));
  } else {
    CARAT_ASSIGN_OR_RETURN(conversation.text, GetString(root, "text", path));
  }
  return conversation;
}

}  // namespace carat
