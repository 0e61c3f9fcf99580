// SPDX-License-Identifier: Apache-2.0
#include "model/tensors.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <unordered_set>

#include "base/printable.h"
#include "model/tensors_internal.h"
#include "model/tensors_table.h"

namespace carat {
namespace {

using R = TensorRole;

bool EndsWith(std::string_view s, std::string_view end) {
  return s.size() >= end.size() && s.substr(s.size() - end.size()) == end;
}
bool StartsWith(std::string_view s, std::string_view start) {
  return s.substr(0, start.size()) == start;
}

// GGUF drops or adds dimensions of 1 at its slow end, our front.
std::span<const uint64_t> WithoutLeadingOnes(const std::vector<uint64_t>& shape) {
  std::span<const uint64_t> s = shape;
  while (s.size() > 1 && s.front() == 1) s = s.subspan(1);
  return s;
}

// One walk over the table for one checkpoint.
class Resolver {
 public:
  Resolver(const Checkpoint& checkpoint, const Config& config)
      : checkpoint_(checkpoint),
        config_(config),
        gguf_(checkpoint.format == CheckpointFormat::kGguf) {}

  Result<ModelTensors> Run();

 private:
  const TensorEntry* FindNamed(const std::string& name);
  const TensorEntry* Find(R role, int layer);
  Result<const TensorEntry*> Require(R role, int layer);
  tl::unexpected<Error> Missing(R role, int layer) const;

  Status CheckShape(const TensorEntry& e, const std::vector<uint64_t>& shape) const;
  Status CheckWeight(const TensorEntry& e) const;
  // The NVFP4 factors that belong to a weight: 1, or one for each of `count` matrices.
  Result<std::vector<float>> Factors(const TensorEntry& e, R role, uint64_t count);

  Status Norm(R role, int layer, std::vector<float>* out);
  Status Scale(R role, int layer, std::vector<float>* out);
  Status Matrix(R role, int layer, MatrixView* out);
  Status Table(R role, RowTable* out);
  MatrixView Rows(const TensorEntry& e, uint64_t first, uint64_t rows, uint64_t cols,
                  float scale) const;

  Status Model(ModelTensors* out);
  Status Layer(int layer, LayerTensors* out);
  Status Attention(int layer, LayerTensors* out);
  Status FusedAttention(int layer, const TensorEntry& qkv, LayerTensors* out);
  Status Experts(int layer, LayerTensors* out);
  // Stacked in one tensor (false: there is none) or one tensor for each expert.
  Result<bool> StackedExperts(R role, int layer, std::vector<MatrixView>* out);
  Result<bool> SingleExperts(R role, int layer, std::vector<MatrixView>* out);
  Status CheckAbsent() const;
  bool Silent(std::string_view name) const;
  void WarnUnknown(ModelTensors* out) const;

  const Checkpoint& checkpoint_;
  const Config& config_;
  const bool gguf_;
  std::string prefix_;  // of Hugging Face names
  std::unordered_set<const TensorEntry*> known_;
};

const TensorEntry* Resolver::FindNamed(const std::string& name) {
  const TensorEntry* e = checkpoint_.Find(name);
  if (e != nullptr) known_.insert(e);
  return e;
}

const TensorEntry* Resolver::Find(R role, int layer) {
  for (const std::string& name : NamesOf(role, layer, checkpoint_.format, prefix_)) {
    if (const TensorEntry* e = FindNamed(name)) return e;
  }
  return nullptr;
}

tl::unexpected<Error> Resolver::Missing(R role, int layer) const {
  return BadFile("{}: tensor \"{}\": missing, expected a tensor of shape [{}]", config_.file,
                 NamesOf(role, layer, checkpoint_.format, prefix_)[0],
                 fmt::join(ShapeOf(role, config_, layer), ", "));
}

Result<const TensorEntry*> Resolver::Require(R role, int layer) {
  const TensorEntry* e = Find(role, layer);
  if (e == nullptr) return Missing(role, layer);
  CARAT_RETURN_IF_ERROR(CheckShape(*e, ShapeOf(role, config_, layer)));
  return e;
}

Status Resolver::CheckShape(const TensorEntry& e, const std::vector<uint64_t>& shape) const {
  bool same;
  if (gguf_ || shape == std::vector<uint64_t>{1}) {
    const auto a = WithoutLeadingOnes(e.shape), b = WithoutLeadingOnes(shape);
    same = std::equal(a.begin(), a.end(), b.begin(), b.end()) ||
           (a.empty() && b.size() == 1 && b[0] == 1);  // no dimensions at all: one element
  } else {
    same = e.shape == shape;
  }
  if (same) return {};  // no dimension of ours is 0
  return BadFile("{}: tensor \"{}\": expected shape [{}], found [{}]", config_.file,
                 Printable(e.name), fmt::join(shape, ", "), fmt::join(e.shape, ", "));
}

Status Resolver::CheckWeight(const TensorEntry& e) const {
  if (IsWeight(e.dtype)) return {};
  return BadFile(
      "{}: tensor \"{}\": expected a weight type (F32, F16, BF16 or a quantized one), found {}",
      config_.file, Printable(e.name), Name(e.dtype));
}

Result<std::vector<float>> Resolver::Factors(const TensorEntry& e, R role, uint64_t count) {
  std::vector<float> factors(count, 1.0f);
  // These two `.scale` names are roles of their own; the experts' factor is folded into theirs
  // (3.4).
  if (!gguf_ || !EndsWith(e.name, ".weight") || role == R::kRouter || role == R::kExpertDown) {
    return factors;
  }
  const std::string stem = e.name.substr(0, e.name.size() - std::string_view(".weight").size());
  FindNamed(stem + ".input_scale");  // of activations that others quantise: nothing for us
  const TensorEntry* scale = FindNamed(stem + ".scale");
  if (scale == nullptr) return factors;
  if (e.dtype != DType::kNVFP4) {
    return BadFile("{}: tensor \"{}\": expected beside a tensor of type NVFP4, found type {}",
                   config_.file, Printable(scale->name), Name(e.dtype));
  }
  const bool each =
      count > 1 && WithoutLeadingOnes(scale->shape).size() == 1 && scale->shape.back() == count;
  CARAT_RETURN_IF_ERROR(CheckShape(*scale, {each ? count : 1}));
  CARAT_ASSIGN_OR_RETURN(const auto values, ReadFloats(config_.file, *scale, 0));
  for (uint64_t i = 0; i < count; ++i) factors[i] = values[each ? i : 0];
  return factors;
}

Status Resolver::Norm(R role, int layer, std::vector<float>* out) {
  CARAT_ASSIGN_OR_RETURN(const TensorEntry* e, Require(role, layer));
  CARAT_ASSIGN_OR_RETURN(*out, ReadFloats(config_.file, *e, config_.norms_add_one ? 1.0f : 0.0f));
  return {};
}

Status Resolver::Scale(R role, int layer, std::vector<float>* out) {
  CARAT_ASSIGN_OR_RETURN(const TensorEntry* e, Require(role, layer));
  CARAT_ASSIGN_OR_RETURN(*out, ReadFloats(config_.file, *e, 0));
  return {};
}

MatrixView Resolver::Rows(const TensorEntry& e, uint64_t first, uint64_t rows, uint64_t cols,
                          float scale) const {
  // The container checked the whole tensor's size, of which these rows are a part.
  const uint64_t row_bytes = RowBytes(e.dtype, cols).value_or(0);
  return MatrixView{.dtype = e.dtype,
                    .data = e.data() + first * row_bytes,
                    .rows = static_cast<int64_t>(rows),
                    .cols = static_cast<int64_t>(cols),
                    .scale = scale};
}

Status Resolver::Matrix(R role, int layer, MatrixView* out) {
  CARAT_ASSIGN_OR_RETURN(const TensorEntry* e, Require(role, layer));
  CARAT_RETURN_IF_ERROR(CheckWeight(*e));
  CARAT_ASSIGN_OR_RETURN(const auto factors, Factors(*e, role, 1));
  const auto shape = ShapeOf(role, config_, layer);
  *out = Rows(*e, 0, shape[0], shape[1], factors[0]);
  return {};
}

Status Resolver::Table(R role, RowTable* out) {
  CARAT_ASSIGN_OR_RETURN(const TensorEntry* e, Require(role, -1));
  CARAT_RETURN_IF_ERROR(CheckWeight(*e));
  CARAT_ASSIGN_OR_RETURN(const auto factors, Factors(*e, role, 1));
  const auto shape = ShapeOf(role, config_, -1);
  *out = RowTable{.file = e->file,
                  .offset = e->offset,
                  .dtype = e->dtype,
                  .rows = static_cast<int64_t>(shape[0]),
                  .cols = static_cast<int64_t>(shape[1]),
                  .scale = factors[0]};
  return {};
}

Status Resolver::Model(ModelTensors* out) {
  CARAT_RETURN_IF_ERROR(Table(R::kEmbedding, &out->embedding));
  if (Find(R::kOutput, -1) != nullptr) {
    CARAT_RETURN_IF_ERROR(Matrix(R::kOutput, -1, &out->output));
  } else {
    CARAT_RETURN_IF_ERROR(Matrix(R::kEmbedding, -1, &out->output));
  }
  CARAT_RETURN_IF_ERROR(Norm(R::kOutputNorm, -1, &out->output_norm));
  if (config_.ple_width > 0) {
    CARAT_RETURN_IF_ERROR(Table(R::kPleTable, &out->ple_table));
    CARAT_RETURN_IF_ERROR(Matrix(R::kPleProjection, -1, &out->ple_projection));
    CARAT_RETURN_IF_ERROR(Norm(R::kPleNorm, -1, &out->ple_norm));
  }
  return {};
}

Status Resolver::FusedAttention(int layer, const TensorEntry& qkv, LayerTensors* out) {
  CARAT_RETURN_IF_ERROR(CheckShape(qkv, ShapeOf(R::kQkv, config_, layer)));
  CARAT_RETURN_IF_ERROR(CheckWeight(qkv));
  CARAT_ASSIGN_OR_RETURN(const auto factors, Factors(qkv, R::kQkv, 1));
  const uint64_t cols = static_cast<uint64_t>(config_.width);
  const uint64_t q = ShapeOf(R::kQ, config_, layer)[0], kv = ShapeOf(R::kK, config_, layer)[0];
  out->q = Rows(qkv, 0, q, cols, factors[0]);
  if (!config_.plan[layer].owns_kv) return {};
  out->k = Rows(qkv, q, kv, cols, factors[0]);
  if (!config_.plan[layer].k_eq_v) out->v = Rows(qkv, q + kv, kv, cols, factors[0]);
  return {};
}

Status Resolver::Attention(int layer, LayerTensors* out) {
  const LayerPlan& plan = config_.plan[layer];
  if (const TensorEntry* qkv = Find(R::kQkv, layer)) {
    CARAT_RETURN_IF_ERROR(FusedAttention(layer, *qkv, out));
  } else {
    CARAT_RETURN_IF_ERROR(Matrix(R::kQ, layer, &out->q));
    if (plan.owns_kv) CARAT_RETURN_IF_ERROR(Matrix(R::kK, layer, &out->k));
    if (plan.owns_kv && !plan.k_eq_v) CARAT_RETURN_IF_ERROR(Matrix(R::kV, layer, &out->v));
  }
  CARAT_RETURN_IF_ERROR(Matrix(R::kO, layer, &out->o));
  CARAT_RETURN_IF_ERROR(Norm(R::kQNorm, layer, &out->q_norm));
  if (plan.owns_kv) CARAT_RETURN_IF_ERROR(Norm(R::kKNorm, layer, &out->k_norm));
  return {};
}

Result<bool> Resolver::StackedExperts(R role, int layer, std::vector<MatrixView>* out) {
  const TensorEntry* e = Find(role, layer);
  if (e == nullptr) return false;
  const auto shape = ShapeOf(role, config_, layer);
  CARAT_RETURN_IF_ERROR(CheckShape(*e, shape));
  CARAT_RETURN_IF_ERROR(CheckWeight(*e));
  CARAT_ASSIGN_OR_RETURN(const auto factors, Factors(*e, role, shape[0]));
  for (uint64_t i = 0; i < shape[0]; ++i) {
    out->push_back(Rows(*e, i * shape[1], shape[1], shape[2], factors[i]));
  }
  return true;
}

Result<bool> Resolver::SingleExperts(R role, int layer, std::vector<MatrixView>* out) {
  if (gguf_) return false;
  auto shape = ShapeOf(role, config_, layer);
  shape.erase(shape.begin());
  for (int i = 0; i < config_.experts; ++i) {
    const TensorEntry* e = nullptr;
    // "experts.gate_up_proj" becomes "experts.7.gate_up_proj".
    for (std::string name : NamesOf(role, layer, checkpoint_.format, prefix_)) {
      const size_t group = name.find(".moe.") != std::string::npos ? name.find(".moe.") + 5
                                                                   : name.find(".experts.") + 9;
      name.insert(group, fmt::format("{}.", i));
      e = FindNamed(name);
      if (e != nullptr) break;
    }
    if (e == nullptr && i == 0) return false;
    if (e == nullptr) {
      return BadFile("{}: tensor \"{}\": expected {} experts, found {}", config_.file,
                     NamesOf(role, layer, checkpoint_.format, prefix_)[0], config_.experts, i);
    }
    CARAT_RETURN_IF_ERROR(CheckShape(*e, shape));
    CARAT_RETURN_IF_ERROR(CheckWeight(*e));
    out->push_back(Rows(*e, 0, shape[0], shape[1], 1));
  }
  return true;
}

Status Resolver::Experts(int layer, LayerTensors* out) {
  CARAT_RETURN_IF_ERROR(Matrix(R::kRouter, layer, &out->router));
  CARAT_RETURN_IF_ERROR(Scale(R::kRouterScale, layer, &out->router_scale));
  CARAT_RETURN_IF_ERROR(Scale(R::kExpertScale, layer, &out->expert_scale));
  CARAT_RETURN_IF_ERROR(Norm(R::kPostFfnNorm1, layer, &out->post_ffn_norm_1));
  CARAT_RETURN_IF_ERROR(Norm(R::kPreFfnNorm2, layer, &out->pre_ffn_norm_2));
  CARAT_RETURN_IF_ERROR(Norm(R::kPostFfnNorm2, layer, &out->post_ffn_norm_2));

  const auto find = [&](R role, std::vector<MatrixView>* views) -> Result<bool> {
    CARAT_ASSIGN_OR_RETURN(bool found, StackedExperts(role, layer, views));
    if (!found) {
      CARAT_ASSIGN_OR_RETURN(found, SingleExperts(role, layer, views));
    }
    return found;
  };
  std::vector<MatrixView> fused;
  CARAT_ASSIGN_OR_RETURN(bool found, find(R::kExpertGateUp, &fused));
  for (MatrixView view : fused) {  // gate rows first (text-model.md 2.9)
    view.rows = config_.expert_ff;
    out->expert_gate.push_back(view);
    const auto row_bytes = RowBytes(view.dtype, static_cast<uint64_t>(view.cols)).value_or(0);
    view.data += row_bytes * static_cast<uint64_t>(config_.expert_ff);
    out->expert_up.push_back(view);
  }
  if (!found) {
    CARAT_ASSIGN_OR_RETURN(found, find(R::kExpertGate, &out->expert_gate));
    if (!found) return Missing(R::kExpertGateUp, layer);
    CARAT_ASSIGN_OR_RETURN(found, find(R::kExpertUp, &out->expert_up));
    if (!found) return Missing(R::kExpertUp, layer);
  }
  CARAT_ASSIGN_OR_RETURN(found, find(R::kExpertDown, &out->expert_down));
  if (!found) return Missing(R::kExpertDown, layer);
  return {};
}

Status Resolver::Layer(int layer, LayerTensors* out) {
  CARAT_RETURN_IF_ERROR(Norm(R::kAttnNorm, layer, &out->attn_norm));
  CARAT_RETURN_IF_ERROR(Attention(layer, out));
  CARAT_RETURN_IF_ERROR(Norm(R::kPostAttnNorm, layer, &out->post_attn_norm));
  CARAT_RETURN_IF_ERROR(Norm(R::kFfnNorm, layer, &out->ffn_norm));
  CARAT_RETURN_IF_ERROR(Matrix(R::kGate, layer, &out->gate));
  CARAT_RETURN_IF_ERROR(Matrix(R::kUp, layer, &out->up));
  CARAT_RETURN_IF_ERROR(Matrix(R::kDown, layer, &out->down));
  CARAT_RETURN_IF_ERROR(Norm(R::kPostFfnNorm, layer, &out->post_ffn_norm));
  if (config_.family == Family::kGemma4 && Find(R::kLayerScale, layer) != nullptr) {
    std::vector<float> scale;
    CARAT_RETURN_IF_ERROR(Scale(R::kLayerScale, layer, &scale));
    out->layer_scale = scale[0];
  }
  if (config_.ple_width > 0) {
    CARAT_RETURN_IF_ERROR(Matrix(R::kPleGate, layer, &out->ple_gate));
    CARAT_RETURN_IF_ERROR(Matrix(R::kPleOut, layer, &out->ple_out));
    CARAT_RETURN_IF_ERROR(Norm(R::kPlePostNorm, layer, &out->ple_post_norm));
  }
  if (config_.experts > 0) CARAT_RETURN_IF_ERROR(Experts(layer, out));
  return {};
}

// A tensor that the configuration says the model does not have: one of the two is wrong, and the
// results would be too. (Dead K and V of sharing layers are Presence::kUnused.)
Status Resolver::CheckAbsent() const {
  for (const TensorSpec& spec : TensorTable()) {
    const int layers = spec.per_layer ? config_.layers : 1;
    for (int l = 0; l < layers; ++l) {
      if (PresenceOf(spec.role, config_, l) != Presence::kAbsent) break;  // alike in all layers
      for (const std::string& name : NamesOf(spec.role, l, checkpoint_.format, prefix_)) {
        if (checkpoint_.Find(name) == nullptr) continue;
        return BadFile(
            "{}: tensor \"{}\": expected no such tensor by the file's own configuration, found one",
            config_.file, name);
      }
    }
  }
  return {};
}

// Parts of a file that are no business of the decoder: encoders, projectors, rotary buffers.
bool Resolver::Silent(std::string_view name) const {
  if (gguf_) {
    return name == "rope_freqs.weight" || StartsWith(name, "v.") || StartsWith(name, "a.") ||
           StartsWith(name, "mm.");
  }
  if (EndsWith(name, ".inv_freq")) return true;
  for (const std::string_view outer : {"model.", ""}) {
    if (!StartsWith(name, outer)) continue;
    const std::string_view rest = name.substr(outer.size());
    for (const std::string_view part : {"vision_", "audio_", "embed_vision.", "embed_audio.",
                                        "multi_modal_projector.", "multimodal_"}) {
      if (StartsWith(rest, part)) return true;
    }
  }
  return false;
}

void Resolver::WarnUnknown(ModelTensors* out) const {
  std::unordered_set<std::string> unused;  // K and V of sharing layers, V of K=V layers
  for (int l = 0; l < config_.layers; ++l) {
    for (const R role : {R::kK, R::kV, R::kKNorm}) {
      if (PresenceOf(role, config_, l) != Presence::kUnused) continue;
      for (std::string& name : NamesOf(role, l, checkpoint_.format, prefix_)) {
        unused.insert(std::move(name));
      }
    }
  }
  size_t count = 0;
  std::string shown;
  for (const auto& [name, entry] : checkpoint_.tensors) {
    if (known_.count(&entry) != 0 || Silent(name)) continue;
    std::string weight = name;
    for (const std::string_view suffix : {".input_scale", ".scale"}) {
      if (!EndsWith(name, suffix)) continue;
      weight = name.substr(0, name.size() - suffix.size()) + ".weight";
      break;
    }
    if (unused.count(name) != 0 || unused.count(weight) != 0) continue;
    if (++count > 3) continue;
    shown += (count > 1 ? ", " : "") + Printable(name, 64);
  }
  if (count == 0) return;
  out->warnings.push_back(fmt::format("{}: {} unknown tensor{} ignored: {}{}", config_.file, count,
                                      count > 1 ? "s" : "", shown, count > 3 ? ", ..." : ""));
}

Result<ModelTensors> Resolver::Run() {
  if (!gguf_) {
    const auto prefix = HfTextPrefix(checkpoint_);
    prefix_ = prefix.value_or("model.language_model.");
  }
  ModelTensors out;
  CARAT_RETURN_IF_ERROR(CheckAbsent());
  CARAT_RETURN_IF_ERROR(Model(&out));
  out.layers.resize(static_cast<size_t>(config_.layers));
  for (int l = 0; l < config_.layers; ++l) CARAT_RETURN_IF_ERROR(Layer(l, &out.layers[l]));
  std::unordered_set<const MappedFile*> seen;
  for (const TensorEntry* e : known_) {
    if (e->file != nullptr && seen.insert(e->file.get()).second) out.files.push_back(e->file);
  }
  WarnUnknown(&out);
  return out;
}

}  // namespace

Result<ModelTensors> ResolveTensors(const Checkpoint& checkpoint, const Config& config) {
  return Resolver(checkpoint, config).Run();
}

}  // namespace carat
