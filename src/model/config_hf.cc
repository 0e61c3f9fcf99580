// SPDX-License-Identifier: Apache-2.0
// Configuration from config.json: text-model.md 1.3 (Gemma 4), 2.15 (Gemma 3). What is absent has
// the default of the official configuration classes.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/printable.h"
#include "model/config_json.h"
#include "model/config_source.h"
#include "model/tensors_table.h"

namespace carat {
namespace {

// The directory's name, for people.
std::string DirectoryName(const Checkpoint& checkpoint) {
  std::filesystem::path dir = checkpoint.path;
  if (dir.extension() == ".safetensors" || dir.extension() == ".json") dir = dir.parent_path();
  if (!dir.has_filename()) dir = dir.parent_path();
  return Printable(dir.filename().string());
}

Status RefuseQuantized(const Section& s) {
  for (const char* key : {"quantization_config", "compression_config", "quantization"}) {
    const Json* q = JsonFind(s.json, key);
    if (q == nullptr) continue;
    std::string method = "unknown method";
    if (const Json* m = JsonFind(*q, "quant_method"); m != nullptr && m->is_string()) {
      method = Printable(m->get_ref<const std::string&>());
    } else if (std::string_view(key) == "quantization") {
      method = "mlx";
    }
    return BadFile(
        "{}: \"{}\": expected an unquantized checkpoint (BF16, F16 or F32), found {}; "
        "quantized safetensors are not supported yet, quantized GGUF files are",
        s.file, key, method);
  }
  return {};
}

struct ModelType {
  Family family = Family::kGemma4;
  bool unified = false;
};

Result<ModelType> ReadModelType(const Section& top, const Section& text) {
  CARAT_ASSIGN_OR_RETURN(std::string type, top.StringOr("model_type", ""));
  if (type.empty()) {
    CARAT_ASSIGN_OR_RETURN(type, text.StringOr("model_type", ""));
  }
  if (type.find("assistant") != std::string::npos) {
    return BadFile(
        "{}: \"model_type\": expected a whole model, found \"{}\", a drafter that only "
        "works beside its target model",
        top.file, Printable(type));
  }
  if (type == "gemma4" || type == "gemma4_text") return ModelType{Family::kGemma4, false};
  if (type == "gemma4_unified" || type == "gemma4_unified_text") {
    return ModelType{Family::kGemma4, true};
  }
  if (type == "gemma3" || type == "gemma3_text") return ModelType{Family::kGemma3, false};
  return BadFile(
      "{}: \"model_type\": expected gemma4, gemma4_text, gemma4_unified, "
      "gemma4_unified_text, gemma3 or gemma3_text, found {}",
      top.file, type.empty() ? "none" : "\"" + Printable(type) + "\"");
}

// `layer_types`, or every period-th layer global.
Result<std::vector<bool>> ReadPattern(const Section& text, int layers, int64_t period) {
  std::vector<bool> sliding;
  if (text.IsNull("layer_types")) {
    for (int l = 0; l < layers; ++l) sliding.push_back((l + 1) % period != 0);
    return sliding;
  }
  CARAT_ASSIGN_OR_RETURN(const auto types, JsonStrings(text.json, "layer_types", text.file));
  if (types.size() != static_cast<size_t>(layers)) {
    return BadFile("{}: \"layer_types\": expected {} elements, one for each layer, found {}",
                   text.file, layers, types.size());
  }
  for (const std::string& type : types) {
    if (type != "sliding_attention" && type != "full_attention") {
      return BadFile(
          "{}: \"layer_types\": expected \"sliding_attention\" or \"full_attention\", "
          "found \"{}\"",
          text.file, Printable(type));
    }
    sliding.push_back(type == "sliding_attention");
  }
  return sliding;
}

// {"rope_type", "rope_theta", "factor", "partial_rotary_factor"} over `rope`, which holds defaults.
Status ReadRope(const Section& s, std::string_view default_type, RopeSource* rope) {
  CARAT_ASSIGN_OR_RETURN(std::string type, s.StringOr("type", default_type));
  CARAT_ASSIGN_OR_RETURN(type, s.StringOr("rope_type", type));
  CARAT_ASSIGN_OR_RETURN(rope->theta, s.NumberOr("rope_theta", rope->theta, kMinTheta, kMaxTheta));
  CARAT_ASSIGN_OR_RETURN(const double factor, s.NumberOr("factor", 1, 1e-3, 1e6));
  CARAT_ASSIGN_OR_RETURN(const double partial, s.NumberOr("partial_rotary_factor", 1, 0, 1));
  if (type == "default") {
    rope->factor = 1;
  } else if (type == "linear" || type == "proportional") {
    rope->factor = factor;
  } else {
    return BadFile(
        "{}: \"rope_type\": expected \"default\", \"linear\" or \"proportional\", found "
        "\"{}\"",
        s.file, Printable(type));
  }
  if (type != "proportional" && partial != 1) {
    return BadFile("{}: \"partial_rotary_factor\": expected 1 with \"rope_type\" \"{}\", found {}",
                   s.file, type, partial);
  }
  rope->partial = partial;
  return {};
}

// rope_parameters: an object for each layer type. False: the file has none.
Result<bool> ReadRopeParameters(const Section& text, ConfigSource* source) {
  if (text.IsNull("rope_parameters")) return false;
  CARAT_ASSIGN_OR_RETURN(const Json* parameters,
                         JsonObject(text.json, "rope_parameters", text.file));
  const Section all{*parameters, text.file + ": rope_parameters"};
  bool found = false;
  constexpr const char* kKinds[2] = {"sliding_attention", "full_attention"};
  for (int kind = 0; kind < 2; ++kind) {
    if (all.IsNull(kKinds[kind])) continue;
    CARAT_ASSIGN_OR_RETURN(const Json* one, JsonObject(all.json, kKinds[kind], all.file));
    CARAT_RETURN_IF_ERROR(
        ReadRope(Section{*one, all.file + ": " + kKinds[kind]}, "default", &source->rope[kind]));
    found = true;
  }
  if (!found) {
    return BadFile("{}: expected \"sliding_attention\" and \"full_attention\", found neither",
                   all.file);
  }
  return true;
}

// What both families have under the same names.
Status ReadCommon(const Section& text, int64_t default_context, ConfigSource* s) {
  Config& c = s->config;
  CARAT_ASSIGN_OR_RETURN(const int64_t layers, text.Int("num_hidden_layers", 1, kMaxLayers));
  CARAT_ASSIGN_OR_RETURN(const int64_t width, text.Int("hidden_size", 1, kMaxWidth));
  CARAT_ASSIGN_OR_RETURN(const int64_t ff, text.Int("intermediate_size", 1, kMaxWidth));
  CARAT_ASSIGN_OR_RETURN(const int64_t heads, text.IntOr("num_attention_heads", 8, 1, kMaxHeads));
  CARAT_ASSIGN_OR_RETURN(const int64_t kv, text.IntOr("num_key_value_heads", 4, 1, kMaxHeads));
  CARAT_ASSIGN_OR_RETURN(const int64_t dim, text.IntOr("head_dim", 256, 2, kMaxHeadDim));
  CARAT_ASSIGN_OR_RETURN(const double eps, text.NumberOr("rms_norm_eps", 1e-6, 1e-12, 0.1));
  CARAT_ASSIGN_OR_RETURN(const double softcap, text.NumberOr("final_logit_softcapping", 0, 0, 1e6));
  CARAT_ASSIGN_OR_RETURN(c.context,
                         text.IntOr("max_position_embeddings", default_context, 1, kMaxContext));
  CARAT_ASSIGN_OR_RETURN(const std::string act,
                         text.StringOr("hidden_activation", "gelu_pytorch_tanh"));
  if (act != "gelu_pytorch_tanh") {
    return BadFile("{}: \"hidden_activation\": expected \"gelu_pytorch_tanh\", found \"{}\"",
                   text.file, Printable(act));
  }
  CARAT_RETURN_IF_ERROR(text.Off("attention_bias"));
  CARAT_RETURN_IF_ERROR(text.Off("attn_logit_softcapping"));
  c.layers = static_cast<int>(layers);
  c.width = static_cast<int>(width);
  c.heads = static_cast<int>(heads);
  c.eps = static_cast<float>(eps);
  c.softcap = static_cast<float>(softcap);
  s->ff_width.assign(layers, ff);
  s->kv_heads.assign(layers, kv);
  s->head_dim.assign(layers, dim);
  s->k_eq_v.assign(layers, false);
  return {};
}

Status ReadVocab(const Section& text, const Checkpoint& checkpoint, int64_t fallback, Config* c) {
  // A file that leaves it out means the rows it has.
  const TensorEntry* e =
      checkpoint.Find(HfTextPrefix(checkpoint).value_or("") + "embed_tokens.weight");
  if (e != nullptr && e->shape.size() == 2 && e->shape[0] <= static_cast<uint64_t>(kMaxVocab)) {
    fallback = static_cast<int64_t>(e->shape[0]);
  }
  CARAT_ASSIGN_OR_RETURN(c->vocab, text.IntOr("vocab_size", fallback, 1, kMaxVocab));
  return {};
}

// per_layer_config: {"5": {"head_dim": 512, "num_key_value_heads": 1}, ...}
Status ReadLayerOverrides(const Section& text, ConfigSource* s) {
  if (text.IsNull("per_layer_config")) return {};
  CARAT_ASSIGN_OR_RETURN(const Json* all, JsonObject(text.json, "per_layer_config", text.file));
  for (const auto& [name, overrides] : all->items()) {
    const std::string file = text.file + ": per_layer_config: " + Printable(name, 16);
    int64_t layer = name.empty() || name.size() > 4 ? -1 : 0;
    for (const char digit : name) {
      if (layer < 0) break;
      layer = digit >= '0' && digit <= '9' ? layer * 10 + (digit - '0') : -1;
    }
    if (layer < 0 || layer >= s->config.layers) {
      return BadFile("{}: expected a layer of 0 to {}", file, s->config.layers - 1);
    }
    if (!overrides.is_object()) {
      return BadFile("{}: expected an object, found {}", file, DescribeJson(overrides));
    }
    const Section one{overrides, file};
    CARAT_ASSIGN_OR_RETURN(s->head_dim[layer],
                           one.IntOr("head_dim", s->head_dim[layer], 2, kMaxHeadDim));
    CARAT_ASSIGN_OR_RETURN(s->kv_heads[layer],
                           one.IntOr("num_key_value_heads", s->kv_heads[layer], 1, kMaxHeads));
    for (const auto& [key, value] : overrides.items()) {
      if (key == "head_dim" || key == "num_key_value_heads" || value.is_null()) continue;
      const Json* base = JsonFind(text.json, key);
      if (base != nullptr && *base == value) continue;
      return BadFile("{}: expected \"head_dim\" and \"num_key_value_heads\", found \"{}\"", file,
                     Printable(key));
    }
  }
  return {};
}

Status ReadGemma4Heads(const Section& text, ConfigSource* s) {
  const int layers = s->config.layers;
  CARAT_ASSIGN_OR_RETURN(s->sliding, ReadPattern(text, layers, 6));
  if (s->sliding.back()) {
    // The official configuration class does the same (text-model.md 1.3).
    if (!text.IsNull("layer_types")) {
      s->config.warnings.push_back(fmt::format(
          "{}: \"layer_types\": the last layer is sliding; taken as global, as the official code "
          "does",
          text.file));
    }
    s->sliding.back() = false;
  }
  CARAT_ASSIGN_OR_RETURN(const bool k_eq_v, text.BoolOr("attention_k_eq_v", false));
  s->k_eq_v.assign(layers, k_eq_v);
  // per_layer_config replaces the two older keys, even where it says nothing.
  if (text.Has("per_layer_config")) return ReadLayerOverrides(text, s);
  CARAT_ASSIGN_OR_RETURN(const int64_t dim, text.IntOr("global_head_dim", 512, 2, kMaxHeadDim));
  CARAT_ASSIGN_OR_RETURN(const int64_t kv,
                         text.IntOr("num_global_key_value_heads", 0, 1, kMaxHeads));
  for (int l = 0; l < layers; ++l) {
    if (s->sliding[l]) continue;
    s->head_dim[l] = dim;
    if (k_eq_v && kv > 0) s->kv_heads[l] = kv;
  }
  return {};
}

Status ReadExperts(const Section& text, Config* c) {
  CARAT_ASSIGN_OR_RETURN(const bool enabled, text.BoolOr("enable_moe_block", false));
  if (!enabled) return {};
  CARAT_ASSIGN_OR_RETURN(const int64_t experts, text.Int("num_experts", 1, kMaxExperts));
  CARAT_ASSIGN_OR_RETURN(const int64_t used, text.Int("top_k_experts", 1, experts));
  const char* key = text.IsNull("moe_intermediate_size") && !text.IsNull("expert_intermediate_size")
                        ? "expert_intermediate_size"
                        : "moe_intermediate_size";
  CARAT_ASSIGN_OR_RETURN(const int64_t ff, text.Int(key, 1, kMaxWidth));
  c->experts = static_cast<int>(experts);
  c->experts_used = static_cast<int>(used);
  c->expert_ff = static_cast<int>(ff);
  return {};
}

Status ReadBlocks(const Section& text, bool unified, Config* c) {
  CARAT_ASSIGN_OR_RETURN(const std::string blocks,
                         text.StringOr("use_bidirectional_attention", "none"));
  const bool given = text.Has("use_bidirectional_attention");
  if (blocks != "none" && blocks != "vision") {
    return BadFile("{}: \"use_bidirectional_attention\": expected null or \"vision\", found \"{}\"",
                   text.file, Printable(blocks));
  }
  c->vision_blocks = given ? blocks == "vision" : unified;
  return {};
}

Status ReadGemma4(const Section& text, const Checkpoint& checkpoint, bool unified,
                  ConfigSource* s) {
  Config& c = s->config;
  CARAT_RETURN_IF_ERROR(ReadCommon(text, unified ? 262144 : 131072, s));
  CARAT_RETURN_IF_ERROR(ReadVocab(text, checkpoint, 262144, &c));
  CARAT_RETURN_IF_ERROR(ReadGemma4Heads(text, s));
  CARAT_RETURN_IF_ERROR(ReadExperts(text, &c));
  CARAT_RETURN_IF_ERROR(ReadBlocks(text, unified, &c));
  CARAT_ASSIGN_OR_RETURN(const int64_t window,
                         text.IntOr("sliding_window", unified ? 1024 : 512, 1, kMaxWindow));
  CARAT_ASSIGN_OR_RETURN(const int64_t ple, text.IntOr("hidden_size_per_layer_input",
                                                       unified ? 0 : 256, 0, kMaxWidth));
  CARAT_ASSIGN_OR_RETURN(
      c.ple_vocab, text.IntOr("vocab_size_per_layer_input", 262144, ple > 0 ? 1 : 0, kMaxVocab));
  CARAT_ASSIGN_OR_RETURN(s->shared_layers, text.IntOr("num_kv_shared_layers", 0, 0, kMaxLayers));
  CARAT_ASSIGN_OR_RETURN(const bool double_wide, text.BoolOr("use_double_wide_mlp", false));
  if (double_wide) {
    for (int64_t l = std::max<int64_t>(0, c.layers - s->shared_layers); l < c.layers; ++l) {
      s->ff_width[l] *= 2;
    }
  }
  c.window = static_cast<int>(window);
  c.ple_width = static_cast<int>(ple);
  s->rope[0] = {.theta = 1e4, .divisors = {}};
  s->rope[1] = {.theta = 1e6, .partial = 0.25, .divisors = {}};
  return ReadRopeParameters(text, s).map([](bool) {});
}

Status ReadGemma3(const Section& text, const Checkpoint& checkpoint, ConfigSource* s) {
  Config& c = s->config;
  CARAT_RETURN_IF_ERROR(ReadCommon(text, 131072, s));
  CARAT_RETURN_IF_ERROR(ReadVocab(text, checkpoint, 262208, &c));
  CARAT_RETURN_IF_ERROR(text.Off("use_bidirectional_attention"));
  const char* period_key =
      text.IsNull("sliding_window_pattern") ? "_sliding_window_pattern" : "sliding_window_pattern";
  CARAT_ASSIGN_OR_RETURN(const int64_t period, text.IntOr(period_key, 6, 1, kMaxLayers));
  CARAT_ASSIGN_OR_RETURN(s->sliding, ReadPattern(text, c.layers, period));
  CARAT_ASSIGN_OR_RETURN(const int64_t window, text.IntOr("sliding_window", 4096, 1, kMaxWindow));
  CARAT_ASSIGN_OR_RETURN(const double scalar,
                         text.NumberOr("query_pre_attn_scalar", 256, 1e-6, 1e6));
  CARAT_ASSIGN_OR_RETURN(s->rope[0].theta,
                         text.NumberOr("rope_local_base_freq", 1e4, kMinTheta, kMaxTheta));
  CARAT_ASSIGN_OR_RETURN(s->rope[1].theta, text.NumberOr("rope_theta", 1e6, kMinTheta, kMaxTheta));
  CARAT_ASSIGN_OR_RETURN(const bool new_form, ReadRopeParameters(text, s));
  if (!new_form && !text.IsNull("rope_scaling")) {
    CARAT_ASSIGN_OR_RETURN(const Json* scaling, JsonObject(text.json, "rope_scaling", text.file));
    CARAT_RETURN_IF_ERROR(
        ReadRope(Section{*scaling, text.file + ": rope_scaling"}, "default", &s->rope[1]));
  }
  c.window = static_cast<int>(window);
  c.attention_scale = static_cast<float>(1 / std::sqrt(scalar));
  c.norms_add_one = true;
  c.value_norm = false;
  c.vision_blocks = c.vision_blocks_global = true;
  return {};
}

// The first of two keys that the file has; a multimodal file without either means the official id.
Result<int32_t> ReadSoftToken(const Section& top, const char* key, const char* older_key,
                              int64_t fallback) {
  for (const char* k : {key, older_key}) {
    if (!top.Has(k)) continue;
    CARAT_ASSIGN_OR_RETURN(const int64_t id, top.IntOr(k, -1, 0, kMaxVocab));
    return static_cast<int32_t>(id);
  }
  return static_cast<int32_t>(fallback);
}

Status ReadSoftTokens(const Section& top, Config* c) {
  const bool gemma4 = c->family == Family::kGemma4;
  const auto official = [&](int64_t id) { return id < c->vocab ? id : -1; };
  CARAT_ASSIGN_OR_RETURN(c->image_token, ReadSoftToken(top, "image_token_id", "image_token_index",
                                                       official(gemma4 ? 258880 : 262144)));
  if (!gemma4) return {};
  CARAT_ASSIGN_OR_RETURN(
      c->audio_token, ReadSoftToken(top, "audio_token_id", "audio_token_index", official(258881)));
  CARAT_ASSIGN_OR_RETURN(
      c->video_token, ReadSoftToken(top, "video_token_id", "video_token_index", official(258884)));
  return {};
}

}  // namespace

Result<ConfigSource> ReadHfConfig(const Checkpoint& checkpoint) {
  CARAT_ASSIGN_OR_RETURN(const Json json, ParseText(checkpoint, "config.json"));
  const Section top{json, TextFile(checkpoint, "config.json")};
  const bool nested = !top.IsNull("text_config");
  const Json* inner = &json;
  if (nested) {
    CARAT_ASSIGN_OR_RETURN(inner, JsonObject(json, "text_config", top.file));
  }
  const Section text{*inner, nested ? top.file + ": text_config" : top.file};
  CARAT_ASSIGN_OR_RETURN(const ModelType type, ReadModelType(top, text));
  CARAT_RETURN_IF_ERROR(RefuseQuantized(top));
  CARAT_RETURN_IF_ERROR(RefuseQuantized(text));

  ConfigSource s;
  Config& c = s.config;
  c.family = type.family;
  c.file = top.file;
  c.name = DirectoryName(checkpoint);
  s.shared_key = "num_kv_shared_layers";
  s.kv_heads_key = "num_key_value_heads";
  s.head_dim_key = "head_dim";
  s.ple_key = "hidden_size_per_layer_input";
  CARAT_RETURN_IF_ERROR(type.family == Family::kGemma4
                            ? ReadGemma4(text, checkpoint, type.unified, &s)
                            : ReadGemma3(text, checkpoint, &s));
  // Text-only checkpoints have no soft tokens: there every id is looked up as it is.
  if (nested) CARAT_RETURN_IF_ERROR(ReadSoftTokens(top, &c));
  return s;
}

}  // namespace carat
