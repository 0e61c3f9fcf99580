// SPDX-License-Identifier: Apache-2.0
// Configuration from GGUF metadata: file-formats.md 2.2 (gemma4.*) and 2.5 (gemma3.*).
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "base/printable.h"
#include "model/config_source.h"
#include "tensor/dequant.h"

namespace carat {
namespace {

// Keys under the prefix of an architecture.
class KeyReader {
 public:
  KeyReader(const GgufMetadata& metadata, std::string prefix)
      : meta_(metadata), prefix_(std::move(prefix)) {}

  std::string Key(std::string_view name) const { return fmt::format("{}.{}", prefix_, name); }
  bool Has(std::string_view name) const { return meta_.Has(Key(name)); }

  Result<int64_t> Int(std::string_view name, int64_t min, int64_t max) const {
    CARAT_ASSIGN_OR_RETURN(const int64_t value, meta_.RequireU32(Key(name)));
    CARAT_RETURN_IF_ERROR(CheckRange(meta_.file, Key(name), value, min, max));
    return value;
  }
  Result<int64_t> IntOr(std::string_view name, int64_t fallback, int64_t min, int64_t max) const {
    if (!Has(name)) return fallback;
    return Int(name, min, max);
  }
  Result<double> Float(std::string_view name, double min, double max) const {
    CARAT_ASSIGN_OR_RETURN(const double value, meta_.RequireF32(Key(name)));
    CARAT_RETURN_IF_ERROR(CheckRange(meta_.file, Key(name), value, min, max));
    return value;
  }
  Result<double> FloatOr(std::string_view name, double fallback, double min, double max) const {
    if (!Has(name)) return fallback;
    return Float(name, min, max);
  }

  // One value for each layer: an array of exactly `layers`, or a scalar for all of them.
  Result<std::vector<int64_t>> PerLayer(std::string_view name, int64_t layers, int64_t min,
                                        int64_t max) const {
    CARAT_RETURN_IF_ERROR(CheckCount(name, layers));
    CARAT_ASSIGN_OR_RETURN(std::vector<int64_t> values, meta_.RequireInts(Key(name), true));
    if (!IsArray(name)) values.assign(static_cast<size_t>(layers), values[0]);
    for (const int64_t value : values) {
      CARAT_RETURN_IF_ERROR(CheckRange(meta_.file, Key(name), value, min, max));
    }
    return values;
  }
  // The same where all layers must agree.
  Result<int64_t> Uniform(std::string_view name, int64_t layers, int64_t min, int64_t max) const {
    CARAT_ASSIGN_OR_RETURN(const auto values, PerLayer(name, layers, min, max));
    for (const int64_t value : values) {
      if (value != values[0]) {
        return BadFile("{}: \"{}\": expected one value in all layers, found {} and {}", meta_.file,
                       Key(name), values[0], value);
      }
    }
    return values[0];
  }

  bool IsArray(std::string_view name) const {
    const GgufValue* v = meta_.Find(Key(name));
    return v != nullptr && v->type == GgufType::kArray;
  }
  // An array is not copied before its length is known to be right.
  Status CheckCount(std::string_view name, int64_t layers) const {
    const GgufValue* v = meta_.Find(Key(name));
    if (!IsArray(name) || v->count == static_cast<uint64_t>(layers)) return {};
    return BadFile("{}: \"{}\": expected {} elements, one for each layer, found {}", meta_.file,
                   Key(name), layers, Describe(*v));
  }

  Result<std::vector<bool>> Pattern(std::string_view name, int64_t layers) const {
    CARAT_RETURN_IF_ERROR(CheckCount(name, layers));
    return meta_.RequireBools(Key(name));
  }

  // A size that may be written again under another key, where it must be the same.
  Status Same(std::string_view name, int64_t expected) const {
    if (!Has(name)) return {};
    CARAT_ASSIGN_OR_RETURN(const int64_t value, meta_.RequireU32(Key(name)));
    if (value == expected) return {};
    return BadFile("{}: \"{}\": expected {}, found {}", meta_.file, Key(name), expected, value);
  }

  const GgufMetadata& metadata() const { return meta_; }

 private:
  const GgufMetadata& meta_;
  std::string prefix_;
};

// general.type and general.architecture: what is it, and can it be run?
Result<Family> CheckArchitecture(const GgufMetadata& meta) {
  CARAT_ASSIGN_OR_RETURN(const std::string arch, meta.RequireString("general.architecture"));
  CARAT_ASSIGN_OR_RETURN(const std::string type, meta.StringOr("general.type", "model"));
  if (type == "mmproj" || arch == "clip") {
    return BadFile(
        "{}: \"general.type\": expected a text model, found a projector (mmproj), which belongs "
        "beside "
        "the model's own file",
        meta.file);
  }
  if (type == "adapter") {
    return BadFile(
        "{}: \"general.type\": expected a model, found an adapter (LoRA), which needs its "
        "base model",
        meta.file);
  }
  if (type != "model") {
    return BadFile("{}: \"general.type\": expected \"model\", found \"{}\"", meta.file,
                   Printable(type));
  }
  if (arch == "gemma4-assistant" || arch == "gemma4_assistant") {
    return BadFile(
        "{}: \"general.architecture\": expected a whole model, found {}, a drafter that "
        "only works beside its target model",
        meta.file, arch);
  }
  if (arch == "gemma4") return Family::kGemma4;
  if (arch == "gemma3") return Family::kGemma3;
  return BadFile("{}: \"general.architecture\": expected \"gemma4\" or \"gemma3\", found \"{}\"",
                 meta.file, Printable(arch));
}

Status CheckQuantizationVersion(const GgufMetadata& meta) {
  CARAT_ASSIGN_OR_RETURN(const uint32_t version, meta.U32Or("general.quantization_version", 2));
  if (version == 2) return {};
  return BadFile("{}: \"general.quantization_version\": expected 2, found {}", meta.file, version);
}

// Number of strings in tokenizer.ggml.tokens, without looking at them.
Result<int64_t> TokenCount(const GgufMetadata& meta) {
  constexpr std::string_view kKey = "tokenizer.ggml.tokens";
  const GgufValue* v = meta.Find(kKey);
  if (v == nullptr)
    return BadFile("{}: \"{}\": missing, expected array of strings", meta.file, kKey);
  if (v->type != GgufType::kArray || v->elem != GgufType::kString || v->count < 1 ||
      v->count > static_cast<uint64_t>(kMaxVocab)) {
    return BadFile("{}: \"{}\": expected array of 1 to {} strings, found {}", meta.file, kKey,
                   kMaxVocab, Describe(*v));
  }
  return static_cast<int64_t>(v->count);
}

// gemma3 files may hold a few more rows than tokens (2.5, last line); gemma4 files may not.
int64_t EmbeddingRows(const Checkpoint& checkpoint, Family family, int64_t tokens) {
  const TensorEntry* e = checkpoint.Find("token_embd.weight");
  if (family != Family::kGemma3 || e == nullptr || e->shape.size() < 2) return tokens;
  const uint64_t rows = e->shape[e->shape.size() - 2];
  return rows > static_cast<uint64_t>(tokens) && rows <= static_cast<uint64_t>(kMaxVocab)
             ? static_cast<int64_t>(rows)
             : tokens;
}

// The rope_freqs tensor, empty when there is none (2.2, 3.4).
Result<std::vector<float>> ReadRopeFreqs(const Checkpoint& checkpoint, std::string_view file) {
  constexpr std::string_view kName = "rope_freqs.weight";
  const TensorEntry* e = checkpoint.Find(kName);
  if (e == nullptr) return std::vector<float>();
  uint64_t count = 1;
  for (const uint64_t dim : e->shape) {
    if (dim == 0 || dim > static_cast<uint64_t>(kMaxHeadDim)) count = 0;
    if (count > static_cast<uint64_t>(kMaxHeadDim)) count = 0;
    count *= dim;
  }
  if (count == 0 || count > static_cast<uint64_t>(kMaxHeadDim)) {
    return BadFile("{}: tensor \"{}\": expected half of the head size, found [{}]", file, kName,
                   fmt::join(e->shape, ", "));
  }
  if (!IsFloat(e->dtype)) {
    return BadFile("{}: tensor \"{}\": expected type F32, found {}", file, kName, Name(e->dtype));
  }
  std::vector<std::byte> bytes(e->bytes);
  CARAT_RETURN_IF_ERROR(e->file->ReadAt(e->offset, bytes));
  std::vector<float> factors(count);
  DequantRow(e->dtype, bytes.data(), static_cast<int64_t>(count), factors.data());
  for (const float f : factors) {
    // 1e30 stored as F16 is infinite, and means the same: this pair does not turn.
    if (!(f > 0)) {
      return BadFile("{}: tensor \"{}\": expected positive numbers, found {}", file, kName, f);
    }
  }
  return factors;
}

Result<double> ReadRopeFactor(const KeyReader& keys) {
  const std::string type_key = keys.Key("rope.scaling.type");
  CARAT_ASSIGN_OR_RETURN(const std::string type, keys.metadata().StringOr(type_key, "none"));
  if (type == "none") return 1.0;
  if (type != "linear") {
    return BadFile("{}: \"{}\": expected \"linear\" or \"none\", found \"{}\"",
                   keys.metadata().file, type_key, Printable(type));
  }
  return keys.Float("rope.scaling.factor", 1e-3, 1e6);
}

// What gemma4 and gemma3 write alike.
Status ReadCommon(const KeyReader& keys, ConfigSource* s) {
  Config& c = s->config;
  CARAT_ASSIGN_OR_RETURN(const int64_t layers, keys.Int("block_count", 1, kMaxLayers));
  CARAT_ASSIGN_OR_RETURN(const int64_t width, keys.Int("embedding_length", 1, kMaxWidth));
  CARAT_ASSIGN_OR_RETURN(const int64_t heads,
                         keys.Uniform("attention.head_count", layers, 1, kMaxHeads));
  CARAT_ASSIGN_OR_RETURN(c.context, keys.Int("context_length", 1, kMaxContext));
  CARAT_ASSIGN_OR_RETURN(s->ff_width, keys.PerLayer("feed_forward_length", layers, 1, kMaxWidth));
  s->kv_heads.assign(layers, heads);
  if (keys.Has("attention.head_count_kv")) {
    CARAT_ASSIGN_OR_RETURN(s->kv_heads,
                           keys.PerLayer("attention.head_count_kv", layers, 1, kMaxHeads));
  }
  CARAT_ASSIGN_OR_RETURN(const double softcap, keys.FloatOr("final_logit_softcapping", 0, 0, 1e6));
  c.layers = static_cast<int>(layers);
  c.width = static_cast<int>(width);
  c.heads = static_cast<int>(heads);
  c.softcap = static_cast<float>(softcap);
  s->k_eq_v.assign(layers, false);
  return {};
}

Status ReadGemma4Heads(const Checkpoint& checkpoint, const KeyReader& keys, ConfigSource* s) {
  const int layers = s->config.layers;
  CARAT_ASSIGN_OR_RETURN(s->sliding, keys.Pattern("attention.sliding_window_pattern", layers));
  CARAT_ASSIGN_OR_RETURN(const int64_t global, keys.Int("attention.key_length", 2, kMaxHeadDim));
  CARAT_ASSIGN_OR_RETURN(const int64_t local, keys.Int("attention.key_length_swa", 2, kMaxHeadDim));
  CARAT_RETURN_IF_ERROR(keys.Same("attention.value_length", global));
  CARAT_RETURN_IF_ERROR(keys.Same("attention.value_length_swa", local));
  CARAT_RETURN_IF_ERROR(keys.Same("rope.dimension_count", global));
  CARAT_RETURN_IF_ERROR(keys.Same("rope.dimension_count_swa", local));
  for (int l = 0; l < layers; ++l) {
    s->head_dim.push_back(s->sliding[l] ? local : global);
    // Only the missing tensor tells that V is the K projection (2.3).
    s->k_eq_v[l] = !s->sliding[l] &&
                   checkpoint.Find(fmt::format("blk.{}.attn_v.weight", l)) == nullptr &&
                   checkpoint.Find(fmt::format("blk.{}.attn_qkv.weight", l)) == nullptr;
  }
  return {};
}

// Soft-token ids, by text: no key holds them.
Status FindSoftTokens(const GgufMetadata& meta, Config* c) {
  CARAT_ASSIGN_OR_RETURN(const auto tokens, meta.RequireStrings("tokenizer.ggml.tokens"));
  for (size_t id = 0; id < tokens.size(); ++id) {
    const std::string_view text = tokens[id];
    if (text == "<|image|>") c->image_token = static_cast<int32_t>(id);
    if (text == "<|audio|>") c->audio_token = static_cast<int32_t>(id);
    if (text == "<|video|>") c->video_token = static_cast<int32_t>(id);
  }
  return {};
}

Status ReadGemma4(const Checkpoint& checkpoint, const KeyReader& keys, ConfigSource* s) {
  Config& c = s->config;
  CARAT_RETURN_IF_ERROR(ReadGemma4Heads(checkpoint, keys, s));
  CARAT_ASSIGN_OR_RETURN(const double eps,
                         keys.Float("attention.layer_norm_rms_epsilon", 1e-12, 0.1));
  CARAT_ASSIGN_OR_RETURN(const int64_t window, keys.Int("attention.sliding_window", 1, kMaxWindow));
  CARAT_ASSIGN_OR_RETURN(const int64_t ple,
                         keys.Int("embedding_length_per_layer_input", 0, kMaxWidth));
  CARAT_ASSIGN_OR_RETURN(s->shared_layers,
                         keys.IntOr("attention.shared_kv_layers", 0, 0, UINT32_MAX));
  CARAT_ASSIGN_OR_RETURN(const int64_t experts, keys.IntOr("expert_count", 0, 0, kMaxExperts));
  if (experts > 0) {
    CARAT_ASSIGN_OR_RETURN(const int64_t used,
                           keys.Uniform("expert_used_count", c.layers, 1, experts));
    CARAT_ASSIGN_OR_RETURN(const int64_t ff,
                           keys.Uniform("expert_feed_forward_length", c.layers, 1, kMaxWidth));
    c.experts_used = static_cast<int>(used);
    c.expert_ff = static_cast<int>(ff);
  }
  CARAT_ASSIGN_OR_RETURN(s->rope[1].theta,
                         keys.FloatOr("rope.freq_base", 10000, kMinTheta, kMaxTheta));
  CARAT_ASSIGN_OR_RETURN(s->rope[0].theta,
                         keys.FloatOr("rope.freq_base_swa", 10000, kMinTheta, kMaxTheta));
  CARAT_ASSIGN_OR_RETURN(s->rope[1].factor, ReadRopeFactor(keys));
  s->rope[1].partial = 0.25;
  CARAT_ASSIGN_OR_RETURN(s->rope[1].divisors, ReadRopeFreqs(checkpoint, c.file));
  c.eps = static_cast<float>(eps);
  c.window = static_cast<int>(window);
  c.ple_width = static_cast<int>(ple);
  c.experts = static_cast<int>(experts);
  c.vision_blocks = ple == 0;  // no key for it: 12B, 26B and 31B have blocks, E2B and E4B do not
  return FindSoftTokens(keys.metadata(), &c);
}

// A period, an array, or the default period of 6; without a window no layer slides.
Result<std::vector<bool>> Gemma3Pattern(const KeyReader& keys, int layers, bool has_window) {
  constexpr std::string_view kName = "attention.sliding_window_pattern";
  if (!has_window) return std::vector<bool>(layers, false);
  if (keys.IsArray(kName)) return keys.Pattern(kName, layers);
  CARAT_ASSIGN_OR_RETURN(const int64_t period, keys.IntOr(kName, 6, 1, kMaxLayers));
  std::vector<bool> sliding;
  for (int l = 0; l < layers; ++l) sliding.push_back((l + 1) % period != 0);
  return sliding;
}

Status ReadGemma3(const KeyReader& keys, ConfigSource* s) {
  Config& c = s->config;
  CARAT_ASSIGN_OR_RETURN(const int64_t window,
                         keys.IntOr("attention.sliding_window", 0, 0, kMaxWindow));
  CARAT_ASSIGN_OR_RETURN(s->sliding, Gemma3Pattern(keys, c.layers, window > 0));
  CARAT_ASSIGN_OR_RETURN(const int64_t dim,
                         keys.IntOr("attention.key_length", c.width / c.heads, 2, kMaxHeadDim));
  CARAT_RETURN_IF_ERROR(CheckRange(c.file, keys.Key("attention.key_length"), dim, 2, kMaxHeadDim));
  CARAT_RETURN_IF_ERROR(keys.Same("attention.value_length", dim));
  CARAT_RETURN_IF_ERROR(keys.Same("rope.dimension_count", dim));
  s->head_dim.assign(c.layers, dim);
  CARAT_ASSIGN_OR_RETURN(const double eps,
                         keys.FloatOr("attention.layer_norm_rms_epsilon", 1e-6, 1e-12, 0.1));
  // Ollama's names first (2.5, last line); usual files have neither of them.
  CARAT_ASSIGN_OR_RETURN(double theta,
                         keys.FloatOr("rope.global.freq_base", 1e6, kMinTheta, kMaxTheta));
  CARAT_ASSIGN_OR_RETURN(s->rope[1].theta,
                         keys.FloatOr("rope.freq_base", theta, kMinTheta, kMaxTheta));
  CARAT_ASSIGN_OR_RETURN(theta, keys.FloatOr("rope.local.freq_base", 10000, kMinTheta, kMaxTheta));
  CARAT_ASSIGN_OR_RETURN(s->rope[0].theta,
                         keys.FloatOr("rope.freq_base_swa", theta, kMinTheta, kMaxTheta));
  CARAT_ASSIGN_OR_RETURN(s->rope[1].factor, ReadRopeFactor(keys));
  c.eps = static_cast<float>(eps);
  c.window = static_cast<int>(std::max<int64_t>(window, 1));
  // 27B alone was trained with D / Hq instead of the head size, and only its depth tells it.
  const double scalar =
      c.layers == 62 ? static_cast<double>(c.width) / c.heads : static_cast<double>(dim);
  c.attention_scale = static_cast<float>(1 / std::sqrt(scalar));
  c.value_norm = false;
  c.vision_blocks = c.vision_blocks_global = true;
  return {};
}

}  // namespace

Result<ConfigSource> ReadGgufConfig(const Checkpoint& checkpoint) {
  if (checkpoint.metadata == nullptr) {
    return BadFile("{}: expected GGUF metadata, found none", checkpoint.path.string());
  }
  const GgufMetadata& meta = *checkpoint.metadata;
  ConfigSource s;
  Config& c = s.config;
  c.file = meta.file;
  CARAT_ASSIGN_OR_RETURN(c.family, CheckArchitecture(meta));
  CARAT_RETURN_IF_ERROR(CheckQuantizationVersion(meta));
  CARAT_ASSIGN_OR_RETURN(const std::string name, meta.StringOr("general.name", ""));
  c.name = Printable(name.empty() ? checkpoint.path.stem().string() : name);

  const KeyReader keys(meta, c.family == Family::kGemma4 ? "gemma4" : "gemma3");
  s.shared_key = keys.Key("attention.shared_kv_layers");
  s.kv_heads_key = keys.Key("attention.head_count_kv");
  s.head_dim_key = keys.Key("attention.key_length");
  s.ple_key = keys.Key("embedding_length_per_layer_input");
  CARAT_RETURN_IF_ERROR(ReadCommon(keys, &s));
  CARAT_ASSIGN_OR_RETURN(const int64_t tokens, TokenCount(meta));
  c.vocab = EmbeddingRows(checkpoint, c.family, tokens);
  c.ple_vocab = c.vocab;
  CARAT_RETURN_IF_ERROR(c.family == Family::kGemma4 ? ReadGemma4(checkpoint, keys, &s)
                                                    : ReadGemma3(keys, &s));
  return s;
}

}  // namespace carat
