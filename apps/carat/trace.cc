// SPDX-License-Identifier: Apache-2.0
// carat trace: everything that can be compared with another implementation, from file to file.
#include <fmt/format.h>

#include "carat/tensors.h"
#include "commands.h"
#include "interrupt.h"
#include "model_loading.h"

namespace carat {
namespace {

// What the file and the flags say.
Result<TraceInput> ReadInput(const TraceCommandOptions& options) {
  CARAT_ASSIGN_OR_RETURN(const auto file, TensorFile::Open(options.input));
  const std::string& prefix = options.name;
  TraceInput input;
  CARAT_ASSIGN_OR_RETURN(input.ids, file->Ints(prefix + ".ids"));
  if (file->Has(prefix + ".soft.positions")) {
    CARAT_ASSIGN_OR_RETURN(input.soft_positions, file->Ints(prefix + ".soft.positions"));
    CARAT_ASSIGN_OR_RETURN(input.soft_rows, file->Floats(prefix + ".soft.rows"));
  }
  if (file->Has(prefix + ".mm_token_type_ids")) {
    CARAT_ASSIGN_OR_RETURN(input.mm_token_types, file->Ints(prefix + ".mm_token_type_ids"));
  }
  input.chunk = options.chunk;
  input.greedy = options.greedy;
  input.logits_from = options.logits_from;
  return input;
}

// Views of a trace under the names of files.
class Listing {
 public:
  explicit Listing(std::string prefix) : prefix_(std::move(prefix)) {}

  void Floats(const std::string& name, std::vector<int64_t> shape,
              const std::vector<float>& values) {
    tensors_.push_back({.name = prefix_ + name,
                        .shape = std::move(shape),
                        .floats = values,
                        .ints = {},
                        .is_int = false});
  }
  void Ints(const std::string& name, std::vector<int64_t> shape,
            const std::vector<int32_t>& values) {
    tensors_.push_back({.name = prefix_ + name,
                        .shape = std::move(shape),
                        .floats = {},
                        .ints = values,
                        .is_int = true});
  }
  std::span<const NamedValues> tensors() const { return tensors_; }

 private:
  std::string prefix_;
  std::vector<NamedValues> tensors_;
};

int64_t PerRow(size_t values, int64_t rows) { return static_cast<int64_t>(values) / rows; }

void ListHidden(const TraceOutput& trace, int64_t t, int64_t layers, Listing& list) {
  for (size_t i = 0; i < trace.hidden.size(); ++i) {
    list.Floats(fmt::format("hidden.{}", i), {t, PerRow(trace.hidden[i].size(), t)},
                trace.hidden[i]);
  }
  list.Floats("hidden.final", {t, PerRow(trace.hidden_final.size(), t)}, trace.hidden_final);
  if (!trace.ple.empty()) {
    list.Floats("ple", {t, layers, PerRow(trace.ple.size(), t * layers)}, trace.ple);
  }
}

void ListExperts(const TraceOutput& trace, int64_t t, Listing& list) {
  for (size_t i = 0; i < trace.experts.size(); ++i) {
    if (trace.experts[i].empty()) continue;
    list.Ints(fmt::format("experts.{}", i), {t, trace.experts_used}, trace.experts[i]);
    list.Floats(fmt::format("expert_weights.{}", i), {t, trace.experts_used},
                trace.expert_weights[i]);
  }
}

}  // namespace

Status TraceCommand(const TraceCommandOptions& options, Output&) {
  CARAT_ASSIGN_OR_RETURN(TraceInput input, ReadInput(options));
  const auto t = static_cast<int64_t>(input.ids.size());
  if (t == 0) return BadFile("{}: {}.ids: expected ids, found none", options.input, options.name);

  if (options.logits_from >= t) {
    return InvalidArgument("--logits-from {}: expected a position below {}", options.logits_from,
                           t);
  }
  LoadOptions load;
  load.context_tokens = t + options.greedy;
  load.bf16_embedding_scale = options.bf16_scale;
  CARAT_ASSIGN_OR_RETURN(const auto model, LoadModel(options.model, load));
  input.suppress = model->info().suppress;
  CARAT_ASSIGN_OR_RETURN(const auto session, model->NewSession({}));
  const Interrupt::Polled polled(session.get());
  CARAT_ASSIGN_OR_RETURN(const TraceOutput trace, session->Trace(input));
  if (Interrupt::pending()) return Cancelled();

  Listing list(options.name + (options.bf16_scale ? ".bf16scale." : "."));
  list.Floats("logits", {t - options.logits_from, trace.vocab}, trace.logits);
  if (options.hidden) ListHidden(trace, t, model->info().layers, list);
  ListExperts(trace, t, list);
  if (options.greedy > 0) {
    const auto steps = static_cast<int64_t>(trace.greedy.size());
    list.Ints("greedy", {steps}, trace.greedy);
    list.Floats("greedy_margin", {steps}, trace.greedy_margin);
    list.Floats("greedy_top", {steps}, trace.greedy_top);
  }
  return WriteTensors(options.output, list.tensors());
}

}  // namespace carat
