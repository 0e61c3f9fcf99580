// SPDX-License-Identifier: Apache-2.0
// The command line. The only file that includes CLI11, which takes seconds to compile.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>

#include "commands.h"

namespace carat {
namespace {

constexpr const char* kTopFooter = R"(Examples:
  carat run gemma3-270m "The capital of France is"
  carat run ./gemma-4-E2B-it-Q4_0.gguf            a chat in the terminal
  carat inspect model.gguf                        what is in a file, and how much memory it takes
  carat tokenize gemma3-270m "Hello"              tokens of a text
  carat bench gemma3-270m --json                  how fast this machine is

MODEL is a GGUF file (the first part of a split one), a folder with config.json and safetensors
files, or the name of a model in the cache, see `carat models`.
Exit status: 0 ok, 1 internal error, 2 wrong usage, 3 bad file, 4 not enough memory, 5 not found,
130 interrupted.
Environment: CARAT_MODEL default model of `run`, CARAT_CACHE cache folder, CARAT_ISA=avx2 or scalar
instruction set, NO_COLOR.
)";

constexpr const char* kRunFooter =
    R"(Without PROMPT, standard input is the prompt (one final line feed is dropped); at a terminal a chat
begins: /help there lists its commands, Ctrl-C stops an answer, Ctrl-D leaves.
A base model has no chat format: it continues the text.

Examples:
  carat run                                       a chat with the default model
  carat run gemma3-270m "The capital of France is" --temp 0 --max-tokens 20
  carat run --prompt "Once upon a time"           the default model
  git diff | carat run model.gguf --system "Write a commit message for this change."
  carat run model.gguf "A haiku about rain" --seed 7 --json
  carat run model.gguf "<bos><|turn>user
  Hi<turn|>
  <|turn>model
  " --raw --special                               a prompt with control tokens, as it is
)";

constexpr const char* kInspectFooter = R"(Examples:
  carat inspect model.gguf
  carat inspect model.gguf --ctx 32768            memory with a context of 32768 tokens
  carat inspect model-00001-of-00003.gguf --json --tensors
  carat inspect model.safetensors.index.json
  carat inspect adapter.gguf --base model.gguf    does the adapter fit the model?
  carat inspect --as container some.gguf          the file format alone, whatever is in it
)";

constexpr const char* kTokenizeFooter =
    R"(MODEL may also be a folder with a tokenizer.json. Standard input is taken byte for byte.

Examples:
  carat tokenize gemma3-270m "Hello, world"       one token a line: id, tab, text
  carat tokenize model.gguf "<|turn>user" --special
  carat tokenize model.gguf - --json < book.txt
  carat tokenize model.gguf --decode "9259 236764"
)";

constexpr const char* kModelsFooter =
    R"(Models are folders below models/ in $CARAT_CACHE, else $XDG_CACHE_HOME/carat, else ~/.cache/carat.

Examples:
  carat models
  carat models --json
)";

constexpr const char* kPerplexityFooter =
    R"(The text is tokenised as a whole, without BOS and without control strings. windows-512: BOS and 511
tokens at a time, an incomplete last window dropped, all tokens of a window count. window-2048: BOS
and the first 2047 tokens. --compare exact also runs the exact mode and reports how far the
distributions are from it: KL divergence in nats, and how often the likeliest token is the same.

Examples:
  carat perplexity gemma3-270m book.txt --method windows-512
  carat perplexity gemma3-270m book.txt --method windows-512 --compare exact --json
  carat perplexity gemma3-270m book.txt --method window-2048 --mode exact
)";

constexpr const char* kBenchFooter =
    R"(Prompts are random tokens; medians of the repetitions are reported.

Examples:
  carat bench gemma3-270m
  carat bench model.gguf --prompt 512 --gen 64 --depth 4096 --reps 5 --json
)";

constexpr const char* kTraceFooter =
    R"(Reads PREFIX.ids from INPUT and, where present, PREFIX.soft.positions, PREFIX.soft.rows and
PREFIX.mm_token_type_ids. Writes PREFIX.logits, PREFIX.hidden.0 .. L, PREFIX.hidden.final, PREFIX.ple,
PREFIX.experts.N, PREFIX.expert_weights.N, PREFIX.greedy, PREFIX.greedy_margin and PREFIX.greedy_top.

Examples:
  carat trace checkpoint/ expected.safetensors --name prompt0 --mode exact --greedy 64 --out got.safetensors
  carat trace checkpoint/ expected.safetensors --name prompt2 --mode exact --chunk 7 --out got.safetensors
)";

std::vector<std::pair<std::string, Mode>> Modes() {
  return {{"exact", Mode::kExact}, {"fast", Mode::kFast}};
}

void AddModelFlags(CLI::App& app, ModelFlags& flags) {
  app.add_option("--mode", flags.mode, "numbers: exact (float32) or fast (default)")
      ->transform(CLI::Transformer(Modes()).description(""))
      ->type_name("exact|fast")
      ->group("Model");
  app.add_option("--threads", flags.threads, "threads; default: the physical cores")
      ->check(CLI::Range(1, 1024).description(""))
      ->type_name("N")
      ->group("Model");
}

void AddContextFlag(CLI::App& app, int64_t& tokens) {
  app.add_option("--ctx", tokens, "context length in tokens; default: the model's, at most 8192")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30).description(""))
      ->type_name("N")
      ->group("Model");
}

// A float option within [low, high].
void AddFloat(CLI::App& app, const char* name, std::optional<float>& value, float low, float high,
              const char* help) {
  app.add_option_function<float>(
         name, [&value](const float& v) { value = v; }, help)
      ->check([low, high](const std::string& text) -> std::string {
        float v = 0;
        if (!CLI::detail::lexical_cast(text, v) || !(v >= low && v <= high))
          return fmt::format("'{}' is no number in {} .. {}", text, low, high);
        return {};
      })
      ->type_name("X")
      ->group("Sampling");
}

std::optional<std::pair<int32_t, float>> ParseBias(const std::string& text) {
  const size_t colon = text.find(':');
  if (colon == std::string::npos) return std::nullopt;
  std::pair<int32_t, float> bias;
  const char* end = text.data() + colon;
  const auto [stop, error] = std::from_chars(text.data(), end, bias.first);
  if (error != std::errc() || stop != end || bias.first < 0) return std::nullopt;
  if (!CLI::detail::lexical_cast(text.substr(colon + 1), bias.second)) return std::nullopt;
  if (std::isnan(bias.second)) return std::nullopt;
  return bias;
}

// Not left to CLI11, which takes -1 for 2^64 - 1.
std::optional<uint64_t> ParseSeed(const std::string& text) {
  uint64_t seed = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, seed);
  if (error != std::errc() || stop != end) return std::nullopt;
  return seed;
}

void AddSamplingFlags(CLI::App& app, SamplingFlags& flags) {
  constexpr float kBig = 1e6f;
  AddFloat(app, "--temp", flags.temperature, 0, kBig, "temperature; 0: always the likeliest token");
  app.add_option_function<int>(
         "--top-k", [&flags](const int& v) { flags.top_k = v; }, "likeliest tokens kept; 0: all")
      ->check(CLI::Range(0, std::numeric_limits<int>::max()).description(""))
      ->type_name("N")
      ->group("Sampling");
  AddFloat(app, "--top-p", flags.top_p, 0, 1, "likeliest tokens kept until their sum is X");
  AddFloat(app, "--min-p", flags.min_p, 0, 1, "tokens below X times the likeliest are dropped");
  AddFloat(app, "--repeat-penalty", flags.repeat_penalty, 1e-3f, kBig,
           "weakens the last 64 tokens; 1: off");
  AddFloat(app, "--frequency-penalty", flags.frequency_penalty, -kBig, kBig,
           "subtracted for every time a token was seen");
  AddFloat(app, "--presence-penalty", flags.presence_penalty, -kBig, kBig,
           "subtracted once for a token that was seen");
  app.add_option_function<std::vector<std::string>>(
         "--logit-bias",
         [&flags](const std::vector<std::string>& texts) {
           for (const auto& text : texts) flags.logit_bias.push_back(*ParseBias(text));
         },
         "added to a token's logit; may be repeated")
      ->check([](const std::string& text) -> std::string {
        return ParseBias(text) ? "" : fmt::format("'{}' is not ID:NUMBER", text);
      })
      ->allow_extra_args(false)
      ->type_name("ID:X")
      ->group("Sampling");
  app.add_option_function<std::string>(
         "--seed", [&flags](const std::string& text) { flags.seed = ParseSeed(text); },
         "same seed, same answer; default: a new one every time")
      ->check([](const std::string& text) -> std::string {
        return ParseSeed(text) ? "" : fmt::format("'{}' is no number in 0 .. 2^64 - 1", text);
      })
      ->type_name("N")
      ->group("Sampling");
  app.add_option_function<int64_t>(
         "--max-tokens", [&flags](const int64_t& v) { flags.max_tokens = v; },
         "length of the answer; default: until it ends (without a chat format: 128)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30).description(""))
      ->type_name("N")
      ->group("Sampling");
  app.add_option("--stop", flags.stop, "ends before this text; may be repeated")
      ->check([](const std::string& text) -> std::string {
        return text.empty() ? "expected a text that is not empty" : "";
      })
      ->allow_extra_args(false)
      ->type_name("TEXT")
      ->group("Sampling");
}

CLI::App* AddCommand(CLI::App& app, const char* name, const char* help, const char* footer) {
  CLI::App* command = app.add_subcommand(name, help);
  command->footer(footer);
  return command;
}

CLI::App* AddRun(CLI::App& app, RunOptions& o) {
  CLI::App* c = AddCommand(app, "run", "Answer a prompt, or chat", kRunFooter);
  c->add_option("MODEL", o.model.model, "path or name; default: $CARAT_MODEL, else gemma3-270m")
      ->type_name("");
  const auto set_prompt = [&o](const std::string& text) { o.prompt = text; };
  CLI::Option* prompt =
      c->add_option_function<std::string>("PROMPT", set_prompt, "the prompt; -: standard input");
  prompt->type_name("");
  c->add_option_function<std::string>("-p,--prompt", set_prompt,
                                      "the prompt, for the default model")
      ->type_name("TEXT")
      ->excludes(prompt);
  c->add_option_function<std::string>(
       "--system", [&o](const std::string& text) { o.system = text; }, "instructions for the model")
      ->type_name("TEXT");
  CLI::Option* json = c->add_flag("--json", o.json, "one JSON object instead of text");
  c->add_option("--logprobs", o.sampling.logprobs,
                "with --json: log-probabilities, also of the N likeliest tokens")
      ->check(CLI::Range(0, 1000).description(""))
      ->type_name("N")
      ->needs(json);
  c->add_flag("--raw", o.raw, "no chat format: continue PROMPT as it is");
  c->add_flag("--special", o.special,
              "without a chat format: control strings become control tokens");
  c->add_flag("-v,--verbose", o.verbose, "memory plan and speeds on standard error");
  AddModelFlags(*c, o.model);
  AddContextFlag(*c, o.model.context_tokens);
  AddSamplingFlags(*c, o.sampling);
  return c;
}

CLI::App* AddInspect(CLI::App& app, InspectCommandOptions& o) {
  CLI::App* c = AddCommand(app, "inspect", "Check a file and show what is in it", kInspectFooter);
  c->add_option("PATH", o.path, "file, folder or name of a model")->required()->type_name("");
  c->add_flag("--json", o.json, "JSON");
  c->add_option("--as", o.inspect.as, "what PATH should be; default: guessed from its content")
      ->check(CLI::IsMember({"container", "model", "split", "adapter", "mmproj", "safetensors",
                             "safetensors-index"})
                  .description(""))
      ->type_name("container|model|split|adapter|mmproj|safetensors|safetensors-index");
  c->add_option("--base", o.inspect.base, "base model of an adapter")->type_name("FILE");
  c->add_flag("--tensors", o.inspect.tensors, "list all tensors");
  AddModelFlags(*c, o.model);
  AddContextFlag(*c, o.model.context_tokens);
  return c;
}

CLI::App* AddTokenize(CLI::App& app, TokenizeCommandOptions& o) {
  CLI::App* c = AddCommand(app, "tokenize", "Text to tokens and back", kTokenizeFooter);
  c->add_option("MODEL", o.model, "path or name")->required()->type_name("");
  CLI::Option* text = c->add_option_function<std::string>(
      "TEXT", [&o](const std::string& v) { o.text = v; }, "default or -: standard input");
  text->type_name("");
  c->add_option_function<std::string>(
       "--decode", [&o](const std::string& v) { o.decode = v; },
       "print the text of these tokens instead; -: standard input")
      ->type_name("IDS")
      ->excludes(text);
  c->add_flag("--special", o.special, "control strings become control tokens (decode: are shown)");
  c->add_flag("--bos", o.bos, "put BOS in front");
  c->add_flag("--json", o.json, "JSON");
  return c;
}

CLI::App* AddModels(CLI::App& app, ModelsOptions& o) {
  CLI::App* c = AddCommand(app, "models", "List the models in the cache", kModelsFooter);
  c->add_flag("--json", o.json, "JSON");
  return c;
}

CLI::App* AddPerplexity(CLI::App& app, PerplexityOptions& o, std::string& method,
                        std::string& compare) {
  CLI::App* c =
      AddCommand(app, "perplexity", "Measure how well a model predicts a text", kPerplexityFooter);
  c->add_option("MODEL", o.model.model, "path or name")->required()->type_name("");
  c->add_option("FILE", o.file, "a text file")->required()->type_name("");
  c->add_option("--method", method, "how the text is cut")
      ->required()
      ->check(CLI::IsMember({"windows-512", "window-2048"}).description(""))
      ->type_name("windows-512|window-2048");
  c->add_option("--compare", compare, "also compare with the exact mode")
      ->check(CLI::IsMember({"exact"}).description(""))
      ->type_name("exact");
  c->add_flag("--json", o.json, "JSON");
  AddModelFlags(*c, o.model);
  return c;
}

CLI::App* AddBench(CLI::App& app, BenchOptions& o) {
  CLI::App* c = AddCommand(app, "bench", "Measure speed and memory", kBenchFooter);
  const auto tokens = [](int64_t low) { return CLI::Range(low, int64_t{1} << 30).description(""); };
  c->add_option("MODEL", o.model.model, "path or name")->required()->type_name("");
  c->add_option("--prompt", o.prompt, "prompt length in tokens, default 512")
      ->check(tokens(1))
      ->type_name("N");
  c->add_option("--gen", o.generate, "tokens to generate, default 64")
      ->check(tokens(2))
      ->type_name("N");
  c->add_option("--depth", o.depth, "tokens in the context before the prompt, default 0")
      ->check(tokens(0))
      ->type_name("N");
  c->add_option("--reps", o.repetitions, "repetitions, default 3")
      ->check(CLI::Range(1, 1000).description(""))
      ->type_name("N");
  c->add_flag("--json", o.json, "JSON");
  AddModelFlags(*c, o.model);
  return c;
}

CLI::App* AddTrace(CLI::App& app, TraceCommandOptions& o, std::string& variant, bool& no_hidden) {
  CLI::App* c = AddCommand(app, "trace", "Write what a model computes, to compare it with others",
                           kTraceFooter);
  c->add_option("MODEL", o.model.model, "path or name")->required()->type_name("");
  c->add_option("INPUT", o.input, "safetensors file with the ids")->required()->type_name("");
  c->add_option("--name", o.name, "prefix of the tensors' names")->required()->type_name("PREFIX");
  c->add_option("--out", o.output, "safetensors file to write")->required()->type_name("FILE");
  c->add_option("--greedy", o.greedy, "tokens of greedy continuation, default 0")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 30).description(""))
      ->type_name("N");
  c->add_option("--chunk", o.chunk, "feed the prompt in chunks of N tokens; 0: in one piece")
      ->check(CLI::Range(0, 1 << 30).description(""))
      ->type_name("N");
  c->add_option("--logits-from", o.logits_from, "leave out the logits of the first N positions")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 30).description(""))
      ->type_name("N");
  c->add_option("--variant", variant, "bf16scale: embedding scale rounded to bfloat16")
      ->check(CLI::IsMember({"bf16scale"}).description(""))
      ->type_name("bf16scale");
  c->add_flag("--no-hidden", no_hidden, "leave out hidden states and per-layer inputs");
  AddModelFlags(*c, o.model);
  return c;
}

}  // namespace

Result<Command> ParseCommandLine(int argc, const char* const* argv) {
  CLI::App app{"carat runs Google's Gemma models on this machine.", "carat"};
  app.footer(kTopFooter);
  app.require_subcommand(0, 1);
  bool version = false;
  VersionOptions version_options;
  app.add_flag("-V,--version", version, "version, commit, compiler and instruction set");
  app.add_flag("--json", version_options.json, "with --version: JSON");

  RunOptions run;
  InspectCommandOptions inspect;
  TokenizeCommandOptions tokenize;
  ModelsOptions models;
  PerplexityOptions perplexity;
  BenchOptions bench;
  TraceCommandOptions trace;
  std::string method, compare, variant;
  bool no_hidden = false;
  const std::map<const CLI::App*, std::function<Command()>> commands = {
      {AddRun(app, run), [&] { return run; }},
      {AddInspect(app, inspect), [&] { return inspect; }},
      {AddTokenize(app, tokenize), [&] { return tokenize; }},
      {AddModels(app, models), [&] { return models; }},
      {AddPerplexity(app, perplexity, method, compare), [&] { return perplexity; }},
      {AddBench(app, bench), [&] { return bench; }},
      {AddTrace(app, trace, variant, no_hidden), [&] { return trace; }},
  };
  const auto chosen = [&]() -> const CLI::App* {
    const auto found = app.get_subcommands();
    return found.empty() ? nullptr : found.front();
  };
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    return HelpText{chosen() ? chosen()->help("carat") : app.help()};
  } catch (const CLI::Error& error) {
    return InvalidArgument("{} (see carat {}--help)", error.what(),
                           chosen() ? chosen()->get_name() + " " : "");
  }
  if (version) {
    if (chosen() != nullptr) return InvalidArgument("--version takes no command");
    return version_options;
  }
  if (chosen() == nullptr) return InvalidArgument("no command given (see carat --help)");
  perplexity.long_window = method == "window-2048";
  perplexity.compare_exact = !compare.empty();
  trace.bf16_scale = !variant.empty();
  trace.hidden = !no_hidden;
  return commands.at(chosen())();
}

}  // namespace carat
