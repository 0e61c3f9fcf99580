// SPDX-License-Identifier: Apache-2.0
#include "runtime/trace.h"

#include <algorithm>
#include <limits>

#include "runtime/sampler.h"

namespace carat {
namespace {

// Appends the rows of one chunk to what earlier chunks recorded.
template <class T>
void Append(std::vector<std::vector<T>>* to, const std::vector<std::vector<T>>& from) {
  to->resize(from.size());
  for (size_t i = 0; i < from.size(); ++i)
    (*to)[i].insert((*to)[i].end(), from[i].begin(), from[i].end());
}

void GreedyStep(std::span<float> logits, std::span<const int32_t> suppress, TraceOutput* out) {
  for (int32_t id : suppress) logits[id] = -std::numeric_limits<float>::infinity();
  const int32_t best = ArgMax(logits);
  float second = -std::numeric_limits<float>::infinity();
  for (size_t i = 0; i < logits.size(); ++i)
    if (static_cast<int32_t>(i) != best) second = std::max(second, logits[i]);
  out->greedy.push_back(best);
  out->greedy_top.push_back(logits[best]);
  out->greedy_margin.push_back(logits[best] - second);
}

}  // namespace

std::vector<int32_t> VisionBlocks(std::span<const int32_t> types) {
  std::vector<int32_t> blocks(types.size(), -1);
  int32_t block = -1;
  for (size_t i = 0; i < types.size(); ++i) {
    if (types[i] != 1 && types[i] != 2) continue;
    if (i == 0 || blocks[i - 1] < 0) ++block;
    blocks[i] = block;
  }
  return blocks;
}

Result<TraceOutput> RunTrace(Engine& engine, KvCache& cache, const TraceInput& input,
                             const CancelToken& cancel) {
  const Config& c = engine.config();
  const size_t total = input.ids.size();
  if (total == 0) return InvalidArgument("no ids to trace");
  if (input.soft_rows.size() != input.soft_positions.size() * static_cast<size_t>(c.width))
    return InvalidArgument("soft rows: {} values for {} positions, expected rows of {}",
                           input.soft_rows.size(), input.soft_positions.size(), c.width);
  if (!input.mm_token_types.empty() && input.mm_token_types.size() != total)
    return InvalidArgument("mm_token_type_ids: {} values for {} ids", input.mm_token_types.size(),
                           total);
  if (input.logits_from < 0 || static_cast<size_t>(input.logits_from) >= total)
    return InvalidArgument("logits wanted from position {}, expected 0 to {}", input.logits_from,
                           total - 1);
  for (const int32_t id : input.suppress)
    if (id < 0 || id >= c.vocab)
      return InvalidArgument("suppressed token {}, expected 0 to {}", id, c.vocab - 1);
  std::vector<const float*> soft(total, nullptr);
  for (size_t i = 0; i < input.soft_positions.size(); ++i) {
    const int32_t at = input.soft_positions[i];
    if (at < 0 || static_cast<size_t>(at) >= total || (i > 0 && at <= input.soft_positions[i - 1]))
      return InvalidArgument("soft position {} is {}, expected ascending below {}", i, at, total);
    soft[at] = input.soft_rows.data() + i * static_cast<size_t>(c.width);
  }
  const std::vector<int32_t> blocks = VisionBlocks(input.mm_token_types);

  TraceOutput out;
  out.vocab = c.vocab;
  out.experts_used = c.experts_used;
  for (size_t at = 0; at < total;) {
    size_t end = input.chunk > 0 ? std::min(total, at + static_cast<size_t>(input.chunk)) : total;
    // A block is one piece.
    if (c.vision_blocks && !blocks.empty())
      while (end < total && blocks[end] >= 0 && blocks[end] == blocks[end - 1]) ++end;
    StepSpan span;
    span.cache = &cache;
    span.ids = std::span<const int32_t>(input.ids).subspan(at, end - at);
    span.soft = std::span<const float* const>(soft).subspan(at, end - at);
    if (!blocks.empty()) span.blocks = std::span<const int32_t>(blocks).subspan(at, end - at);
    StepTrace trace;
    CARAT_ASSIGN_OR_RETURN(auto states, Forward(engine.weights(), engine.pool(), engine.scratch(),
                                                {&span, 1}, {.cancel = &cancel, .trace = &trace}));
    Append(&out.hidden, trace.hidden);
    Append(&out.experts, trace.experts);
    Append(&out.expert_weights, trace.expert_weights);
    out.ple.insert(out.ple.end(), trace.ple.begin(), trace.ple.end());
    out.hidden_final.insert(out.hidden_final.end(), states.begin(), states.end());
    at = end;
  }
  const size_t width = static_cast<size_t>(c.width), vocab = static_cast<size_t>(c.vocab);
  const size_t from = static_cast<size_t>(input.logits_from);
  out.logits.resize((total - from) * vocab);
  for (size_t r = from; r < total; r += kLogitRows) {
    const size_t n = std::min<size_t>(kLogitRows, total - r);
    Logits(engine.weights(), engine.pool(), engine.scratch(),
           std::span<const float>(out.hidden_final).subspan(r * width, n * width),
           out.logits.data() + (r - from) * vocab);
  }

  std::vector<float> logits(out.logits.end() - static_cast<std::ptrdiff_t>(vocab),
                            out.logits.end());
  for (int64_t i = 0; i < input.greedy; ++i) {
    GreedyStep(logits, input.suppress, &out);
    if (i + 1 == input.greedy) break;
    StepSpan span;
    span.cache = &cache;
    span.ids = {&out.greedy.back(), 1};
    CARAT_ASSIGN_OR_RETURN(auto states, Forward(engine.weights(), engine.pool(), engine.scratch(),
                                                {&span, 1}, {.cancel = &cancel}));
    Logits(engine.weights(), engine.pool(), engine.scratch(), states, logits.data());
  }
  return out;
}

}  // namespace carat
