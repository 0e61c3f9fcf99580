// SPDX-License-Identifier: Apache-2.0
#include "generation.h"

#include <fmt/format.h>

#include <random>

#include "interrupt.h"

namespace carat {

Result<GenerateOptions> MakeGenerateOptions(const Model& model, const SamplingFlags& flags,
                                            bool chat) {
  GenerateOptions options = model.DefaultGenerateOptions();
  SamplingOptions& sampling = options.sampling;
  sampling.temperature = flags.temperature.value_or(sampling.temperature);
  sampling.top_k = flags.top_k.value_or(sampling.top_k);
  sampling.top_p = flags.top_p.value_or(sampling.top_p);
  sampling.min_p = flags.min_p.value_or(sampling.min_p);
  sampling.repeat_penalty = flags.repeat_penalty.value_or(sampling.repeat_penalty);
  sampling.frequency_penalty = flags.frequency_penalty.value_or(sampling.frequency_penalty);
  sampling.presence_penalty = flags.presence_penalty.value_or(sampling.presence_penalty);
  for (const auto& bias : flags.logit_bias) {
    if (bias.first >= model.info().vocab) {
      return InvalidArgument("--logit-bias: token {}, expected one below {}", bias.first,
                             model.info().vocab);
    }
    sampling.logit_bias.push_back(bias);
  }
  // 32 bits are enough to differ, and every JSON reader keeps them.
  sampling.seed = flags.seed ? *flags.seed : std::random_device()();
  options.max_tokens = flags.max_tokens.value_or(chat ? -1 : kContinuationTokens);
  options.stop.insert(options.stop.end(), flags.stop.begin(), flags.stop.end());
  options.top_logprobs = flags.logprobs;
  return options;
}

Result<GenerateStats> GenerateInterruptibly(
    Session& session, std::span<const int32_t> prompt, const GenerateOptions& options,
    const std::function<bool(const TokenEvent&)>& on_token) {
  const Interrupt::Polled polled(&session);
  GenerateStats cancelled;
  cancelled.reason = FinishReason::kCancelled;
  // A Ctrl-C just before the call cancels nothing: hence the two looks at pending().
  if (Interrupt::pending()) return cancelled;
  auto stats = session.Generate(prompt, options, [&](const TokenEvent& event) {
    return on_token(event) && !Interrupt::pending();
  });
  if (!stats && stats.error().code == Code::kCancelled) return cancelled;
  return stats;
}

const char* FinishName(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
  }
  return "stop";
}

double Speed(int64_t tokens, double seconds) {
  return seconds > 0 ? static_cast<double>(tokens) / seconds : 0;
}

std::string DescribeSpeed(const GenerateStats& stats) {
  const int64_t fed = stats.prompt_tokens - stats.cached_tokens;
  return fmt::format(
      "{} prompt tokens ({} from the cache), {:.1f} tokens/s; {} generated, {:.1f} tokens/s; first "
      "after {:.3f} s; ended by {}\n",
      stats.prompt_tokens, stats.cached_tokens, Speed(fed, stats.prefill_s), stats.generated_tokens,
      Speed(stats.generated_tokens, stats.decode_s), stats.ttft_s, FinishName(stats.reason));
}

}  // namespace carat
