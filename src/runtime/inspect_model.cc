// SPDX-License-Identifier: Apache-2.0
// Models, adapters and projectors: headers that must make sense as a whole.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/printable.h"
#include "io/adapter.h"
#include "io/projector.h"
#include "runtime/inspect_report.h"
#include "runtime/opened_model.h"
#include "runtime/plan.h"

namespace carat {
namespace {

// "28 sliding, 7 global, of which 20 share keys and values"
std::string ShowLayers(const std::vector<std::string>& kinds) {
  size_t sliding = 0, shared = 0;
  for (const std::string& kind : kinds) {
    sliding += kind.rfind("sliding", 0) == 0;
    shared += kind.find("shared") != std::string::npos;
  }
  std::string text =
      fmt::format("{}: {} sliding, {} global", kinds.size(), sliding, kinds.size() - sliding);
  if (shared > 0) text += fmt::format(", {} of them share keys and values", shared);
  return text;
}

template <class T>
std::string ShowPairs(const std::vector<std::pair<std::string, T>>& pairs) {
  std::string text;
  for (const auto& [name, value] : pairs)
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, value);
  return text.empty() ? "none" : text;
}

template <class T>
Json ToObject(const std::vector<std::pair<std::string, T>>& pairs) {
  Json object = Json::object();
  for (const auto& [name, value] : pairs) object[name] = value;
  return object;
}

void AddShape(const ModelInfo& info, ReportBuilder& report) {
  const auto number = [&](const char* key, auto value, const char* label) {
    report.Add(key, value, label, std::to_string(value));
  };
  report.Add("name", info.name, "name", Printable(info.name));
  report.Add("architecture", info.family, "architecture", info.family);
  report.Add("format", info.format, "format", info.format);
  number("parameters", info.parameters, "parameters");
  report.Add("layers", info.layers, "layers", ShowLayers(info.layer_kinds));
  report.Add("layer_kinds", info.layer_kinds);
  number("width", info.width, "width");
  number("heads", info.heads, "query heads");
  number("window", info.window, "window");
  report.Add("ple_width", info.ple_width);
  if (info.ple_width > 0) report.Line("per-layer inputs", std::to_string(info.ple_width));
  report.Add("experts", info.experts);
  report.Add("experts_used", info.experts_used);
  if (info.experts > 0)
    report.Line("experts", fmt::format("{}, {} used", info.experts, info.experts_used));
  number("vocab", info.vocab, "vocabulary");
  number("trained_context", info.trained_context, "trained context");
}

void AddTokens(const ModelInfo& info, ReportBuilder& report) {
  report.Add("special_tokens", ToObject(info.special_tokens), "special tokens",
             ShowPairs(info.special_tokens));
  report.Add("stop_ids", info.stop_ids, "stop tokens",
             fmt::format("{}", fmt::join(info.stop_ids, ", ")));
  report.Add("suppress", info.suppress);
  if (!info.suppress.empty())
    report.Line("never generated", fmt::format("{}", fmt::join(info.suppress, ", ")));
  report.Add("chat_format", info.chat_format, "chat format", info.chat_format);
  report.Add(
      "sampling", {{"temperature", info.temperature}, {"top_k", info.top_k}, {"top_p", info.top_p}},
      "sampling",
      fmt::format("temperature {}, top-k {}, top-p {}", info.temperature, info.top_k, info.top_p));
}

void AddPlan(const MemoryPlan& plan, ReportBuilder& report) {
  Json object = {{"context_tokens", plan.context_tokens}};
  report.Line("memory plan", fmt::format("context of {} tokens", plan.context_tokens));
  for (const auto& [name, bytes] : PlanLines(plan)) {
    object[std::string(name)] = bytes;
    report.Line(fmt::format("  {}", name), ShowBytes(bytes));
  }
  report.Add("memory_plan", object);
}

Json EncoderJson(const EncoderInfo& e) {
  return {{"projector", e.projector}, {"blocks", e.blocks},
          {"width", e.width},         {"feed_forward", e.feed_forward},
          {"heads", e.heads},         {"projection_dim", e.projection_dim}};
}

std::string ShowEncoder(const EncoderInfo& e) {
  return fmt::format("{}: {} blocks of width {}, into {}", e.projector, e.blocks, e.width,
                     e.projection_dim);
}

}  // namespace

Result<InspectReport> InspectModelFile(const std::filesystem::path& path,
                                       const InspectOptions& options) {
  CARAT_ASSIGN_OR_RETURN(const OpenedModel opened, OpenModel(path));
  const ModelInfo info = MakeInfo(opened);
  CARAT_ASSIGN_OR_RETURN(const MemoryPlan plan, MakePlan(opened.config, opened.tensors,
                                                         opened.tokenizer->bytes(), options.load));
  ReportBuilder report("model", path);
  AddShape(info, report);
  report.Add("tensor_types", ToObject(info.tensor_types), "tensor types",
             ShowPairs(info.tensor_types));
  AddTokens(info, report);
  AddPlan(plan, report);
  report.AddWarnings(info.warnings);
  if (options.tensors) {
    std::vector<const TensorEntry*> tensors;
    for (const auto& entry : opened.checkpoint.tensors) tensors.push_back(&entry.second);
    report.AddTensors(tensors, true);
  }
  return report.Finish();
}

Result<InspectReport> InspectAdapter(const std::filesystem::path& path,
                                     const InspectOptions& options) {
  CARAT_ASSIGN_OR_RETURN(const GgufFile file, OpenGguf(path));
  std::optional<Checkpoint> base;
  if (!options.base.empty()) {
    CARAT_ASSIGN_OR_RETURN(base, OpenCheckpoint(options.base));
  }
  CARAT_ASSIGN_OR_RETURN(const AdapterInfo info, CheckAdapter(file, base ? &*base : nullptr));
  ReportBuilder report("adapter", path);
  report.Add("format", "gguf");
  report.Add("architecture", info.architecture, "architecture", Printable(info.architecture));
  report.Add("alpha", info.alpha, "alpha", fmt::format("{}", info.alpha));
  report.Add("parameters", info.parameters, "parameters", std::to_string(info.parameters));
  uint64_t least = info.pairs[0].rank, most = least;
  Json pairs = Json::array();
  for (const AdapterPair& pair : info.pairs) {
    least = std::min(least, pair.rank);
    most = std::max(most, pair.rank);
    pairs.push_back({{"base", pair.base},
                     {"in", pair.in},
                     {"out", pair.out},
                     {"rank", pair.rank},
                     {"experts", pair.experts}});
  }
  report.Add("rank", most, "rank",
             least == most ? std::to_string(most) : fmt::format("{} to {}", least, most));
  report.Add("pair_count", info.pairs.size(), "changed matrices",
             std::to_string(info.pairs.size()));
  report.Add("base", options.base.empty() ? Json(nullptr) : Json(options.base.string()), "base",
             options.base.empty() ? "not checked, see --base"
                                  : "fits " + Printable(options.base.string(), 4096));
  if (options.tensors) report.Add("pairs", pairs);
  return report.Finish();
}

Result<InspectReport> InspectProjector(const std::filesystem::path& path,
                                       const InspectOptions& options) {
  CARAT_ASSIGN_OR_RETURN(const GgufFile file, OpenGguf(path));
  CARAT_ASSIGN_OR_RETURN(const ProjectorInfo info, CheckProjector(file));
  ReportBuilder report("mmproj", path);
  report.Add("format", "gguf");
  report.Add("parameters", info.parameters, "parameters", std::to_string(info.parameters));
  if (info.vision) {
    Json vision = EncoderJson(*info.vision);
    vision["image_size"] = info.vision->image_size;
    vision["patch_size"] = info.vision->patch_size;
    vision["scale_factor"] = info.vision->scale_factor;
    report.Add("vision", vision, "vision", ShowEncoder(*info.vision));
  }
  if (info.audio) {
    Json audio = EncoderJson(*info.audio);
    audio["mel_bins"] = info.audio->mel_bins;
    report.Add("audio", audio, "audio", ShowEncoder(*info.audio));
  }
  std::vector<const TensorEntry*> tensors;
  for (const TensorEntry& tensor : file.tensors) tensors.push_back(&tensor);
  report.AddTensors(tensors, options.tensors);
  report.AddWarnings(info.warnings);
  return report.Finish();
}

}  // namespace carat
