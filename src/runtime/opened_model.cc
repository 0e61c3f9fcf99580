// SPDX-License-Identifier: Apache-2.0
#include "runtime/opened_model.h"

#include <fmt/core.h>

#include <map>
#include <string>
#include <utility>

#include "model/weights.h"
#include "runtime/vocabulary.h"

namespace carat {

Result<OpenedModel> OpenModel(const std::filesystem::path& path) {
  OpenedModel o;
  CARAT_ASSIGN_OR_RETURN(o.checkpoint, OpenCheckpoint(path));
  CARAT_ASSIGN_OR_RETURN(o.config, ReadConfig(o.checkpoint));
  CARAT_ASSIGN_OR_RETURN(o.tensors, ResolveTensors(o.checkpoint, o.config));
  CARAT_ASSIGN_OR_RETURN(o.tokenizer, LoadTokenizer(o.checkpoint, o.config));
  CARAT_ASSIGN_OR_RETURN(o.defaults, ReadGenerationDefaults(o.checkpoint, o.config));
  AddStopIds(*o.tokenizer, o.config.family, &o.defaults.stop_ids);
  CARAT_ASSIGN_OR_RETURN(o.chat, FindChatFormat(o.checkpoint, o.config));
  // The vocabulary was copied; a GGUF's header need not stay resident.
  if (o.checkpoint.format == CheckpointFormat::kGguf)
    for (const auto& file : o.tensors.files) file->Drop(0, file->size());
  if (o.checkpoint.metadata && o.checkpoint.metadata->owner)
    o.checkpoint.metadata->owner->Drop(0, o.checkpoint.metadata->owner->size());
  return o;
}

ModelInfo MakeInfo(const OpenedModel& o) {
  const Config& c = o.config;
  ModelInfo info;
  info.name = c.name;
  info.family = c.family == Family::kGemma3 ? "gemma3" : "gemma4";
  info.format = o.checkpoint.format == CheckpointFormat::kGguf ? "gguf" : "huggingface";
  info.path = o.checkpoint.path.string();
  info.layers = c.layers;
  info.width = c.width;
  info.heads = c.heads;
  info.window = c.window;
  info.ple_width = c.ple_width;
  info.experts = c.experts;
  info.experts_used = c.experts_used;
  info.vocab = c.vocab;
  info.trained_context = c.context;
  info.parameters = CountWeights(c, o.tensors, NumericMode::kExact).parameters;
  std::map<std::string, int> types;
  for (const auto& [name, tensor] : o.checkpoint.tensors) ++types[Name(tensor.dtype)];
  info.tensor_types.assign(types.begin(), types.end());
  for (int i = 0; i < c.layers; ++i) {
    const LayerPlan& plan = c.plan[i];
    std::string kind = plan.sliding ? "sliding" : "global";
    if (!plan.owns_kv) kind += fmt::format(" shared:{}", plan.kv_layer);
    info.layer_kinds.push_back(std::move(kind));
  }
  const auto special = [&](const char* name, int32_t id) {
    if (id >= 0) info.special_tokens.emplace_back(name, id);
  };
  special("bos", o.tokenizer->bos());
  special("eos", o.tokenizer->eos());
  special("image", c.image_token);
  special("audio", c.audio_token);
  special("video", c.video_token);
  info.stop_ids = o.defaults.stop_ids;
  info.suppress = o.defaults.suppress;
  info.chat_format = o.chat.name();
  info.temperature = o.defaults.temperature;
  info.top_k = o.defaults.top_k;
  info.top_p = o.defaults.top_p;
  for (const auto* list : {&o.checkpoint.warnings, &c.warnings, &o.tensors.warnings})
    info.warnings.insert(info.warnings.end(), list->begin(), list->end());
  return info;
}

}  // namespace carat
