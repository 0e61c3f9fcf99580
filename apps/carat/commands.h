// SPDX-License-Identifier: Apache-2.0
// The subcommands: what the command line says (filled by args.cc) and the function that does it.
// Each prints its result to `out`, what it wants to tell beside that to standard error, and
// returns an error for main to print.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "carat/carat.h"
#include "output.h"

namespace carat {

// Which model, and how it is opened. All subcommands that load one have these flags.
struct ModelFlags {
  std::string model;  // path or name; "" where the default model will do
  Mode mode = Mode::kFast;
  int threads = 0;
  int64_t context_tokens = 0;
};

// What differs from the model's own defaults.
struct SamplingFlags {
  std::optional<float> temperature, top_p, min_p, repeat_penalty, frequency_penalty,
      presence_penalty;
  std::optional<int> top_k;
  std::vector<std::pair<int32_t, float>> logit_bias;
  std::optional<uint64_t> seed;
  std::optional<int64_t> max_tokens;
  std::vector<std::string> stop;
  int logprobs = -1;
};

struct RunOptions {
  ModelFlags model;
  SamplingFlags sampling;
  std::optional<std::string> prompt;  // absent: standard input, or a chat on a terminal
  std::optional<std::string> system;
  bool raw = false;      // no chat format
  bool special = false;  // control strings in a raw prompt become their tokens
  bool json = false;
  bool verbose = false;
};
Status RunCommand(const RunOptions& options, Output& out);

struct InspectCommandOptions {
  std::string path;
  ModelFlags model;  // its `model` is not used
  InspectOptions inspect;
  bool json = false;
};
Status InspectCommand(const InspectCommandOptions& options, Output& out);

struct TokenizeCommandOptions {
  std::string model;
  std::optional<std::string> text;    // absent or "-": standard input
  std::optional<std::string> decode;  // ids instead of text; "-": standard input
  bool special = false;
  bool bos = false;
  bool json = false;
};
Status TokenizeCommand(const TokenizeCommandOptions& options, Output& out);

struct ModelsOptions {
  bool json = false;
};
Status ModelsCommand(const ModelsOptions& options, Output& out);

struct PerplexityOptions {
  ModelFlags model;
  std::string file;
  bool long_window = false;  // window-2048 instead of windows-512
  bool compare_exact = false;
  bool json = false;
};
Status PerplexityCommand(const PerplexityOptions& options, Output& out);

struct BenchOptions {
  ModelFlags model;
  int64_t prompt = 512, generate = 64, depth = 0;
  int repetitions = 3;
  bool json = false;
};
Status BenchCommand(const BenchOptions& options, Output& out);

struct TraceCommandOptions {
  ModelFlags model;
  std::string input, output, name;
  int64_t greedy = 0, logits_from = 0;
  int chunk = 0;
  bool bf16_scale = false;
  bool hidden = true;
};
Status TraceCommand(const TraceCommandOptions& options, Output& out);

struct VersionOptions {
  bool json = false;
};
Status VersionCommand(const VersionOptions& options, Output& out);

struct HelpText {
  std::string text;
};

using Command = std::variant<HelpText, VersionOptions, RunOptions, InspectCommandOptions,
                             TokenizeCommandOptions, ModelsOptions, PerplexityOptions, BenchOptions,
                             TraceCommandOptions>;

// Errors: kInvalidArgument with a one-line message.
Result<Command> ParseCommandLine(int argc, const char* const* argv);

}  // namespace carat
