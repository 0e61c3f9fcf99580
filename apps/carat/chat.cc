// SPDX-License-Identifier: Apache-2.0
// carat run at a terminal: a conversation, or a text that grows.
#include "chat.h"

#include <fmt/format.h>

#include <string_view>
#include <utility>
#include <vector>

#include "chat_file.h"
#include "generation.h"
#include "interrupt.h"
#include "line_reader.h"

namespace carat {
namespace {

constexpr std::string_view kHelp = R"(/help          this list
/system TEXT   instructions for the model from now on; - removes them; without TEXT: shows them
/reset         forgets the conversation
/save FILE     writes the conversation to a file
/load FILE     goes on with the conversation of a file
/exit          leaves, as Ctrl-D does
Ctrl-C stops an answer. A line that ends in \ goes on in the next one; """ alone on a line begins and
ends a longer text. A space in front keeps a text that begins with / from being a command.
)";

constexpr std::string_view kBlockQuote = "\"\"\"";

class Chat {
 public:
  Chat(Model& model, Session& session, const ChatOptions& options, Output& out)
      : model_(model),
        session_(session),
        options_(options),
        out_(out),
        lines_(LineReader::Create()) {
    conversation_.model = model.info().name;
    conversation_.chat = options.chat;
    conversation_.system = options.system;
  }

  Status Loop();

 private:
  // One input of the user, which may have several lines; false when the user leaves.
  bool ReadInput(std::string* input);
  Status Command(std::string_view line, bool* leave);
  Status Save(const std::string& file);
  Status Load(const std::string& file);
  Status Answer(const std::string& input);
  // Streams what the model says to `ids` and appends its text and its ids.
  Result<GenerateStats> Speak(const std::vector<int32_t>& ids, std::string* text,
                              std::vector<int32_t>* spoken);
  Status AnswerMessage(const std::string& input);
  Status ContinueText(const std::string& input);
  void Reset();
  Status Tell(std::string_view text) { return out_.Show(text); }

  Model& model_;
  Session& session_;
  const ChatOptions& options_;
  Output& out_;
  std::unique_ptr<LineReader> lines_;
  Conversation conversation_;
  std::vector<int32_t> text_ids_;  // of conversation_.text, as they were typed and generated
};

bool Chat::ReadInput(std::string* input) {
  input->clear();
  // `block`: between two quotes; `more`: the last line ended in a backslash.
  bool block = false, more = false, first = true, warned = false;
  for (;;) {
    std::string line;
    const auto event = lines_->Read(block || more ? "..." : ">>>", &line);
    Interrupt::Clear();
    if (event != LineReader::Event::kLine && !Tell("\n")) return false;
    if (event == LineReader::Event::kEnd) return false;
    if (event == LineReader::Event::kInterrupt) {
      if (warned && !block && !more) return false;
      warned = true;
      block = more = false;
      first = true;
      input->clear();
      if (!Tell("Ctrl-C again, Ctrl-D or /exit leaves\n")) return false;
      continue;
    }
    warned = false;
    if (line == kBlockQuote) {
      if (block) return true;
      if (!more) {
        block = true;
        continue;
      }
    }
    if (!first) *input += '\n';
    first = false;
    more = !block && !line.empty() && line.back() == '\\';
    if (more) line.pop_back();
    *input += line;
    if (!block && !more) return true;
  }
}

Status Chat::Command(std::string_view line, bool* leave) {
  const size_t space = line.find(' ');
  const std::string_view name = line.substr(0, space);
  std::string rest(space == std::string_view::npos ? "" : line.substr(space + 1));
  rest.erase(0, rest.find_first_not_of(' '));
  if (name == "/help" || name == "/?") return Tell(kHelp);
  if (name == "/exit" || name == "/quit" || name == "/bye") {
    *leave = true;
    return {};
  }
  if (name == "/reset") {
    Reset();
    return Tell("forgotten\n");
  }
  if (name == "/system") {
    if (!options_.chat) return InvalidArgument("this is a base model: it takes no instructions");
    if (rest.empty()) {
      return Tell(conversation_.system.empty() ? "no instructions\n" : conversation_.system + "\n");
    }
    conversation_.system = rest == "-" ? "" : rest;
    return {};
  }
  if (name == "/save" || name == "/load") {
    if (rest.empty()) return InvalidArgument("{} needs a file name", name);
    return name == "/save" ? Save(rest) : Load(rest);
  }
  return InvalidArgument("no command {}, see /help", name);
}

Status Chat::Save(const std::string& file) {
  CARAT_RETURN_IF_ERROR(SaveConversation(conversation_, file));
  if (!options_.chat) return Tell(fmt::format("saved the text to {}\n", file));
  return Tell(fmt::format("saved {} messages to {}\n", conversation_.messages.size(), file));
}

Status Chat::Load(const std::string& file) {
  CARAT_ASSIGN_OR_RETURN(Conversation loaded, LoadConversation(file));
  if (loaded.chat != options_.chat) {
    return InvalidArgument("{}: holds {}, this model has {} chat format", file,
                           loaded.chat ? "a conversation" : "a text", options_.chat ? "a" : "no");
  }
  Reset();
  conversation_ = std::move(loaded);
  conversation_.model = model_.info().name;
  if (!options_.chat) {
    text_ids_ =
        model_.Tokenize(conversation_.text, {.add_bos = true, .parse_special = options_.special});
    return Tell(conversation_.text + "\n");
  }
  return Tell(fmt::format("loaded {} messages from {}\n", conversation_.messages.size(), file));
}

void Chat::Reset() {
  session_.Clear();
  conversation_.messages.clear();
  conversation_.text.clear();
  text_ids_.clear();
}

Result<GenerateStats> Chat::Speak(const std::vector<int32_t>& ids, std::string* text,
                                  std::vector<int32_t>* spoken) {
  Status shown;
  bool line_open = false;
  const auto on_token = [&](const TokenEvent& event) {
    *text += event.text;
    if (event.id >= 0) spoken->push_back(event.id);  // else: text that was held back
    if (!event.text.empty()) line_open = event.text.back() != '\n';
    shown = out_.Show(event.text);
    return shown.has_value();
  };
  auto stats = GenerateInterruptibly(session_, ids, options_.generate, on_token);
  CARAT_RETURN_IF_ERROR(shown);
  if (stats && stats->reason == FinishReason::kCancelled) {
    CARAT_RETURN_IF_ERROR(Tell(" [stopped]"));
    line_open = true;
  }
  if (line_open) CARAT_RETURN_IF_ERROR(Tell("\n"));
  if (stats && options_.verbose) Note(DescribeSpeed(*stats));
  return stats;
}

Status Chat::AnswerMessage(const std::string& input) {
  std::vector<ChatMessage> messages;
  if (!conversation_.system.empty()) messages.push_back({"system", conversation_.system});
  messages.insert(messages.end(), conversation_.messages.begin(), conversation_.messages.end());
  messages.push_back({"user", input});
  CARAT_ASSIGN_OR_RETURN(const auto ids, model_.ChatPrompt(messages));
  std::string text;
  std::vector<int32_t> spoken;
  CARAT_ASSIGN_OR_RETURN(const GenerateStats stats, Speak(ids, &text, &spoken));
  // A question without any answer would leave two questions in a row.
  if (stats.reason == FinishReason::kCancelled && text.empty()) return {};
  conversation_.messages.push_back({"user", input});
  conversation_.messages.push_back({"assistant", std::move(text)});
  return {};
}

Status Chat::ContinueText(const std::string& input) {
  std::string added = input;
  // What is typed after an answer begins a new line; Enter alone just goes on.
  const std::string& text = conversation_.text;
  if (!input.empty() && !text.empty() && text.back() != '\n') added = "\n" + input;
  std::vector<int32_t> ids = text_ids_;
  if (ids.empty() || !added.empty()) {
    const auto more =
        model_.Tokenize(added, {.add_bos = ids.empty(), .parse_special = options_.special});
    ids.insert(ids.end(), more.begin(), more.end());
  }
  std::string continuation;
  std::vector<int32_t> spoken;
  CARAT_ASSIGN_OR_RETURN(const GenerateStats stats, Speak(ids, &continuation, &spoken));
  text_ids_ = std::move(ids);
  text_ids_.insert(text_ids_.end(), spoken.begin(), spoken.end());
  conversation_.text += added + continuation;
  if (stats.reason == FinishReason::kStop && spoken.empty()) return Tell("[end of text]\n");
  return {};
}

Status Chat::Answer(const std::string& input) {
  if (options_.chat && input.find_first_not_of(" \t\n") == std::string::npos) return {};
  return options_.chat ? AnswerMessage(input) : ContinueText(input);
}

Status Chat::Loop() {
  // Ctrl-C pressed once more just after it has stopped an answer must not end the program.
  const Interrupt::Polled polled;
  const std::string kind =
      options_.chat ? "/help lists commands" : "a base model: it continues your text; /help";
  CARAT_RETURN_IF_ERROR(Tell(fmt::format("{}, {}\n", model_.info().name, kind)));
  std::string input;
  while (ReadInput(&input)) {
    bool leave = false;
    const bool command = !input.empty() && input[0] == '/' && input.find('\n') == std::string::npos;
    const Status status = command ? Command(input, &leave) : Answer(input);
    Interrupt::Clear();
    if (leave) return {};
    if (status) continue;
    if (out_.failed()) return status;
    Complain(status.error().message);
  }
  return {};
}

}  // namespace

Status ChatLoop(Model& model, Session& session, const ChatOptions& options, Output& out) {
  return Chat(model, session, options, out).Loop();
}

}  // namespace carat
