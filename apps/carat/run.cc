// SPDX-License-Identifier: Apache-2.0
// carat run: one answer; or hands over to the chat.
#include <fmt/format.h>

#include <chrono>

#include "chat.h"
#include "commands.h"
#include "generation.h"
#include "interrupt.h"
#include "json_writer.h"
#include "model_loading.h"

namespace carat {
namespace {

struct Token {
  int32_t id;
  float logprob;
  std::vector<TokenLogprob> top;
};

struct Answer {
  std::string text;
  std::vector<Token> tokens;
  GenerateStats stats;
};

// The prompt of a run without a chat; nothing when a chat should begin.
Result<std::optional<std::string>> OneShotPrompt(const RunOptions& options, const Output& out) {
  if (options.prompt && *options.prompt != "-") return options.prompt;
  if (!options.prompt && InputIsTerminal()) {
    if (options.json) return InvalidArgument("--json needs a prompt");
    if (out.terminal()) return std::optional<std::string>();
  }
  CARAT_ASSIGN_OR_RETURN(std::string text, ReadStandardInput());
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return std::optional<std::string>(std::move(text));
}

Result<std::vector<int32_t>> PromptIds(const Model& model, const RunOptions& options,
                                       const std::string& prompt, bool chat) {
  if (!chat) {
    return model.Tokenize(prompt, {.add_bos = true, .parse_special = options.special});
  }
  if (prompt.empty()) return InvalidArgument("the prompt is empty");
  std::vector<ChatMessage> messages;
  if (options.system && !options.system->empty()) messages.push_back({"system", *options.system});
  messages.push_back({"user", prompt});
  return model.ChatPrompt(messages);
}

void WriteToken(const Model& model, int32_t id, float logprob, JsonWriter& json) {
  const int32_t ids[] = {id};
  json.Key("id").Int(id).Key("text").String(model.Detokenize(ids, false));
  json.Key("logprob").Number(logprob);
}

std::string AnswerJson(const Model& model, const RunOptions& options,
                       const GenerateOptions& generate, const Answer& answer, double load_s) {
  const GenerateStats& stats = answer.stats;
  JsonWriter json;
  json.BeginObject();
  json.Key("model").String(model.info().name);
  json.Key("mode").String(ModeName(options.model.mode));
  json.Key("text").String(answer.text);
  json.Key("finish_reason").String(FinishName(stats.reason));
  if (!stats.stop_string.empty()) json.Key("stop_string").String(stats.stop_string);
  if (stats.stop_id >= 0) json.Key("stop_id").Int(stats.stop_id);
  json.Key("seed").Uint(generate.sampling.seed);
  json.Key("usage").BeginObject();
  json.Key("prompt_tokens").Int(stats.prompt_tokens);
  json.Key("completion_tokens").Int(stats.generated_tokens);
  json.Key("total_tokens").Int(stats.prompt_tokens + stats.generated_tokens);
  json.Key("cached_tokens").Int(stats.cached_tokens);
  json.EndObject();
  json.Key("timings").BeginObject();
  json.Key("load_s").Number(load_s);
  json.Key("ttft_s").Number(stats.ttft_s);
  json.Key("prefill_s").Number(stats.prefill_s);
  json.Key("decode_s").Number(stats.decode_s);
  json.Key("prefill_tok_s")
      .Number(Speed(stats.prompt_tokens - stats.cached_tokens, stats.prefill_s));
  json.Key("decode_tok_s").Number(Speed(stats.generated_tokens, stats.decode_s));
  json.EndObject();
  json.Key("ids").BeginArray();
  for (const Token& token : answer.tokens) json.Int(token.id);
  json.EndArray();
  if (generate.top_logprobs >= 0) {
    json.Key("logprobs").BeginArray();
    for (const Token& token : answer.tokens) {
      json.BeginObject();
      WriteToken(model, token.id, token.logprob, json);
      json.Key("top").BeginArray();
      for (const TokenLogprob& other : token.top) {
        json.BeginObject();
        WriteToken(model, other.id, other.logprob, json);
        json.EndObject();
      }
      json.EndArray().EndObject();
    }
    json.EndArray();
  }
  json.EndObject();
  return json.text() + "\n";
}

// Streams the answer unless JSON is wanted.
Result<Answer> Generate(Session& session, const std::vector<int32_t>& ids,
                        const GenerateOptions& generate, bool stream, Output& out) {
  Answer answer;
  Status shown;
  const auto on_token = [&](const TokenEvent& event) {
    answer.text += event.text;
    if (stream) {
      shown = out.Show(event.text);
      return shown.has_value();
    }
    // The last event may be text that was held back, without a token.
    if (event.id >= 0)
      answer.tokens.push_back({event.id, event.logprob, {event.top.begin(), event.top.end()}});
    return true;
  };
  CARAT_ASSIGN_OR_RETURN(answer.stats, GenerateInterruptibly(session, ids, generate, on_token));
  CARAT_RETURN_IF_ERROR(shown);
  return answer;
}

Status OneShot(Model& model, Session& session, const RunOptions& options,
               const GenerateOptions& generate, const std::vector<int32_t>& ids, double load_s,
               Output& out) {
  CARAT_ASSIGN_OR_RETURN(const Answer answer, Generate(session, ids, generate, !options.json, out));
  if (options.json) {
    CARAT_RETURN_IF_ERROR(out.Show(AnswerJson(model, options, generate, answer, load_s)));
  } else if (answer.text.empty() || answer.text.back() != '\n') {
    CARAT_RETURN_IF_ERROR(out.Show("\n"));
  }
  if (options.verbose) Note(DescribeSpeed(answer.stats));
  if (answer.stats.reason == FinishReason::kCancelled) return Cancelled();
  return {};
}

}  // namespace

Status RunCommand(const RunOptions& options, Output& out) {
  const Interrupt::Polled polled;  // from here on every step looks, or is quick
  CARAT_ASSIGN_OR_RETURN(const auto prompt, OneShotPrompt(options, out));
  const auto start = std::chrono::steady_clock::now();
  CARAT_ASSIGN_OR_RETURN(const auto model, LoadModel(options.model));
  const std::chrono::duration<double> load = std::chrono::steady_clock::now() - start;

  const bool has_format = model->info().chat_format != "none";
  const bool chat = has_format && !options.raw;
  if (!chat && options.system) {
    return InvalidArgument("--system needs a chat format, and {}",
                           has_format ? "--raw switches it off" : "this is a base model");
  }
  if (chat && options.special) return InvalidArgument("--special needs --raw with a chat model");
  CARAT_ASSIGN_OR_RETURN(const GenerateOptions generate,
                         MakeGenerateOptions(*model, options.sampling, chat));
  std::vector<int32_t> ids;
  if (prompt) {
    CARAT_ASSIGN_OR_RETURN(ids, PromptIds(*model, options, *prompt, chat));
  }
  CARAT_ASSIGN_OR_RETURN(const auto session, model->NewSession({}));
  if (options.verbose) {
    Note(fmt::format("{}: {} mode, {} threads, loaded in {:.2f} s\n{}", model->info().name,
                     ModeName(options.model.mode), model->threads(), load.count(),
                     DescribePlan(model->plan())));
  }
  if (!prompt && Interrupt::pending()) return Cancelled();
  if (prompt) return OneShot(*model, *session, options, generate, ids, load.count(), out);
  return ChatLoop(*model, *session,
                  {.generate = generate,
                   .system = options.system.value_or(""),
                   .chat = chat,
                   .special = options.special,
                   .verbose = options.verbose},
                  out);
}

}  // namespace carat
