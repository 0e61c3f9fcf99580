// SPDX-License-Identifier: Apache-2.0
// What one answer and a chat have in common.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "carat/carat.h"
#include "commands.h"

namespace carat {

// Tokens of an answer where nothing else ends it: base models go on for ever.
constexpr int64_t kContinuationTokens = 128;

// The model's defaults with the user's changes. `chat`: answers end by themselves.
// Errors: kInvalidArgument (a biased id outside the vocabulary).
Result<GenerateOptions> MakeGenerateOptions(const Model& model, const SamplingFlags& flags,
                                            bool chat);

// Generates; Ctrl-C ends it with FinishReason::kCancelled. `on_token` may return false, with the
// same effect.
Result<GenerateStats> GenerateInterruptibly(Session& session, std::span<const int32_t> prompt,
                                            const GenerateOptions& options,
                                            const std::function<bool(const TokenEvent&)>& on_token);

const char* FinishName(FinishReason reason);

// Tokens per second; 0 where no time has passed.
double Speed(int64_t tokens, double seconds);

// Speeds of one answer on one line, for people.
std::string DescribeSpeed(const GenerateStats& stats);

}  // namespace carat
