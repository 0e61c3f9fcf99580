// SPDX-License-Identifier: Apache-2.0
// carat bench: speed and memory on this machine.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <fstream>

#include "commands.h"
#include "interrupt.h"
#include "json_writer.h"
#include "model_loading.h"
#include "progress.h"

namespace carat {
namespace {

using Clock = std::chrono::steady_clock;

double Since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// A line of /proc/self/status in bytes; 0 where there is none.
uint64_t ProcessBytes(std::string_view field) {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line)) {
    if (line.compare(0, field.size(), field) == 0)
      return std::strtoull(line.c_str() + field.size() + 1, nullptr, 10) * 1024;
  }
  return 0;
}

// Ordinary tokens that repeat nowhere near: the same for every run, unlike any text. The first
// quarter of a vocabulary is left out, because control tokens and bytes are there.
std::vector<int32_t> RandomTokens(int64_t count, int64_t vocabulary) {
  std::vector<int32_t> ids;
  uint64_t state = 42;
  const auto low = static_cast<uint64_t>(vocabulary / 4);
  const auto range = static_cast<uint64_t>(std::max<int64_t>(1, vocabulary / 2));
  for (int64_t i = 0; i < count; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    ids.push_back(static_cast<int32_t>(low + (state >> 33) % range));
  }
  return ids;
}

struct Run {
  double prefill_s = 0, decode_s = 0;
};

// Feeds `ids` of which the first `depth` do not count, and generates.
Result<Run> Measure(Session& session, std::span<const int32_t> ids, int64_t depth, int64_t count) {
  const Interrupt::Polled polled(&session);
  session.Clear();
  if (depth > 0) CARAT_RETURN_IF_ERROR(session.Feed(ids.first(static_cast<size_t>(depth))));
  GenerateOptions generate;
  generate.sampling.temperature = 0;
  generate.max_tokens = count;
  Run run;
  Clock::time_point first;
  const auto start = Clock::now();
  const auto on_token = [&](const TokenEvent&) {
    if (run.prefill_s == 0) {
      first = Clock::now();
      run.prefill_s = std::chrono::duration<double>(first - start).count();
    }
    run.decode_s = Since(first);
    return !Interrupt::pending();
  };
  CARAT_ASSIGN_OR_RETURN(const GenerateStats stats, session.Generate(ids, generate, on_token));
  if (stats.reason == FinishReason::kCancelled) return Cancelled();
  if (stats.generated_tokens != count) {
    return Internal("expected {} generated tokens, found {}", count, stats.generated_tokens);
  }
  return run;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return (values[(n - 1) / 2] + values[n / 2]) / 2;
}

}  // namespace

Status BenchCommand(const BenchOptions& options, Output& out) {
  CARAT_ASSIGN_OR_RETURN(const std::string isa, InstructionSet());
  LoadOptions load;
  load.context_tokens = options.depth + options.prompt + options.generate;
  const auto start = Clock::now();
  CARAT_ASSIGN_OR_RETURN(const auto model, LoadModel(options.model, load));
  const double load_s = Since(start);
  CARAT_ASSIGN_OR_RETURN(const auto session, model->NewSession({}));
  const auto ids = RandomTokens(options.depth + options.prompt, model->info().vocab);

  std::vector<double> prefill, decode, ttft;
  {
    Progress progress("bench");
    for (int i = 0; i < options.repetitions; ++i) {
      CARAT_ASSIGN_OR_RETURN(const Run run,
                             Measure(*session, ids, options.depth, options.generate));
      prefill.push_back(static_cast<double>(options.prompt) / run.prefill_s);
      decode.push_back(static_cast<double>(options.generate - 1) / run.decode_s);
      ttft.push_back(run.prefill_s);
      progress.Update(static_cast<double>(i + 1) / options.repetitions);
    }
  }
  const uint64_t rss = ProcessBytes("VmRSS:"), peak = ProcessBytes("VmHWM:");
  if (!options.json) {
    return out.Write(
        fmt::format("{}: {} mode, {}, {} threads\n"
                    "load     {:.3f} s\n"
                    "prefill  {:.2f} tokens/s ({} tokens at depth {})\n"
                    "decode   {:.2f} tokens/s ({} tokens)\n"
                    "ttft     {:.3f} s\n"
                    "memory   {} resident, {} at the peak\n",
                    model->info().name, ModeName(options.model.mode), isa, model->threads(), load_s,
                    Median(prefill), options.prompt, options.depth, Median(decode),
                    options.generate, Median(ttft), HumanBytes(rss), HumanBytes(peak)));
  }
  JsonWriter json;
  json.BeginObject();
  json.Key("model").String(model->info().name);
  json.Key("mode").String(ModeName(options.model.mode));
  json.Key("isa").String(isa);
  json.Key("threads").Int(model->threads());
  json.Key("prompt_tokens").Int(options.prompt);
  json.Key("gen_tokens").Int(options.generate);
  json.Key("depth").Int(options.depth);
  json.Key("repetitions").Int(options.repetitions);
  json.Key("load_s").Number(load_s);
  json.Key("prefill_tok_s").Number(Median(prefill));
  json.Key("decode_tok_s").Number(Median(decode));
  json.Key("ttft_s").Number(Median(ttft));
  json.Key("rss_bytes").Uint(rss);
  json.Key("peak_rss_bytes").Uint(peak);
  json.Key("plan_peak_bytes").Uint(model->plan().peak);
  json.EndObject();
  return out.Write(json.text() + "\n");
}

}  // namespace carat
