// SPDX-License-Identifier: Apache-2.0
// Sources: file-formats.md 3.1, 3.2, 3.9; text-model.md 3.1, 3.2.
#include "model/tensors_table.h"

#include <fmt/core.h>

#include "base/check.h"

namespace carat {
namespace {

using R = TensorRole;

constexpr TensorSpec kTable[] = {
    {R::kEmbedding, false, {"token_embd.weight"}, {"embed_tokens.weight"}},
    {R::kOutput, false, {"output.weight"}, {"lm_head.weight"}},
    {R::kOutputNorm, false, {"output_norm.weight"}, {"norm.weight"}},
    {R::kPleTable, false, {"per_layer_token_embd.weight"}, {"embed_tokens_per_layer.weight"}},
    {R::kPleProjection,
     false,
     {"per_layer_model_proj.weight"},
     {"per_layer_model_projection.weight"}},
    {R::kPleNorm, false, {"per_layer_proj_norm.weight"}, {"per_layer_projection_norm.weight"}},

    {R::kAttnNorm, true, {"attn_norm.weight"}, {"input_layernorm.weight"}},
    {R::kQ, true, {"attn_q.weight"}, {"self_attn.q_proj.weight"}},
    {R::kK, true, {"attn_k.weight"}, {"self_attn.k_proj.weight"}},
    {R::kV, true, {"attn_v.weight"}, {"self_attn.v_proj.weight"}},
    {R::kQkv, true, {"attn_qkv.weight"}, {}},
    {R::kO, true, {"attn_output.weight"}, {"self_attn.o_proj.weight"}},
    {R::kQNorm, true, {"attn_q_norm.weight"}, {"self_attn.q_norm.weight"}},
    {R::kKNorm, true, {"attn_k_norm.weight"}, {"self_attn.k_norm.weight"}},
    {R::kPostAttnNorm, true, {"post_attention_norm.weight"}, {"post_attention_layernorm.weight"}},
    {R::kFfnNorm, true, {"ffn_norm.weight"}, {"pre_feedforward_layernorm.weight"}},
    {R::kGate, true, {"ffn_gate.weight"}, {"mlp.gate_proj.weight"}},
    {R::kUp, true, {"ffn_up.weight"}, {"mlp.up_proj.weight"}},
    {R::kDown, true, {"ffn_down.weight"}, {"mlp.down_proj.weight"}},
    {R::kPostFfnNorm, true, {"post_ffw_norm.weight"}, {"post_feedforward_layernorm.weight"}},
    {R::kLayerScale, true, {"layer_output_scale.weight"}, {"layer_scalar"}},
    {R::kPleGate, true, {"inp_gate.weight"}, {"per_layer_input_gate.weight"}},
    {R::kPleOut, true, {"proj.weight"}, {"per_layer_projection.weight"}},
    {R::kPlePostNorm, true, {"post_norm.weight"}, {"post_per_layer_input_norm.weight"}},

    {R::kRouter, true, {"ffn_gate_inp.weight"}, {"router.proj.weight"}},
    {R::kRouterScale, true, {"ffn_gate_inp.scale"}, {"router.scale"}},
    {R::kExpertScale,
     true,
     {"ffn_down_exps.scale", "ffn_gate_inp.per_expert_scale"},
     {"router.per_expert_scale"}},
    {R::kExpertGateUp,
     true,
     {"ffn_gate_up_exps.weight"},
     {"experts.gate_up_proj", "experts.gate_up_proj.weight", "moe.gate_up_proj",
      "moe.gate_up_proj.weight"}},
    {R::kExpertGate,
     true,
     {"ffn_gate_exps.weight"},
     {"experts.gate_proj", "experts.gate_proj.weight", "moe.gate_proj", "moe.gate_proj.weight"}},
    {R::kExpertUp,
     true,
     {"ffn_up_exps.weight"},
     {"experts.up_proj", "experts.up_proj.weight", "moe.up_proj", "moe.up_proj.weight"}},
    {R::kExpertDown,
     true,
     {"ffn_down_exps.weight"},
     {"experts.down_proj", "experts.down_proj.weight", "moe.down_proj", "moe.down_proj.weight"}},
    {R::kPostFfnNorm1, true, {"post_ffw_norm_1.weight"}, {"post_feedforward_layernorm_1.weight"}},
    {R::kPreFfnNorm2, true, {"pre_ffw_norm_2.weight"}, {"pre_feedforward_layernorm_2.weight"}},
    {R::kPostFfnNorm2, true, {"post_ffw_norm_2.weight"}, {"post_feedforward_layernorm_2.weight"}},
};

constexpr bool InRoleOrder() {
  for (size_t i = 0; i < std::size(kTable); ++i) {
    if (static_cast<size_t>(kTable[i].role) != i) return false;
  }
  return true;
}
static_assert(InRoleOrder());

}  // namespace

std::span<const TensorSpec> TensorTable() { return kTable; }

Presence PresenceOf(TensorRole role, const Config& config, int layer) {
  const bool ple = config.ple_width > 0, moe = config.experts > 0;
  switch (role) {
    case R::kOutput:
      return Presence::kOptional;  // else the embedding
    case R::kPleTable:
    case R::kPleProjection:
    case R::kPleNorm:
    case R::kPleGate:
    case R::kPleOut:
    case R::kPlePostNorm:
      return ple ? Presence::kRequired : Presence::kAbsent;
    case R::kK:
    case R::kKNorm:
      return config.plan[layer].owns_kv ? Presence::kRequired : Presence::kUnused;
    case R::kV:
      return config.plan[layer].owns_kv && !config.plan[layer].k_eq_v ? Presence::kRequired
                                                                      : Presence::kUnused;
    case R::kQkv:
      return Presence::kOptional;  // else Q, K and V
    case R::kLayerScale:
      // Gemma 3 has no such thing, and its absence means 1.
      return config.family == Family::kGemma4 ? Presence::kOptional : Presence::kAbsent;
    case R::kExpertGateUp:
    case R::kExpertGate:
    case R::kExpertUp:
    case R::kExpertDown:
      return moe ? Presence::kOptional : Presence::kAbsent;  // fused, apart or one by one
    case R::kRouter:
    case R::kRouterScale:
    case R::kExpertScale:
    case R::kPostFfnNorm1:
    case R::kPreFfnNorm2:
    case R::kPostFfnNorm2:
      return moe ? Presence::kRequired : Presence::kAbsent;
    default:
      return Presence::kRequired;
  }
}

std::vector<uint64_t> ShapeOf(TensorRole role, const Config& c, int layer) {
  using U = uint64_t;
  const U width = c.width, ple = c.ple_width, all_ple = U(c.layers) * ple;
  const U experts = c.experts, expert_ff = c.expert_ff;
  const LayerPlan plan = Spec(role).per_layer ? c.plan[layer] : LayerPlan();
  const U head = plan.head_dim, ff = plan.ff_width;
  const U q_rows = head * c.heads, kv_rows = head * plan.kv_heads;
  switch (role) {
    case R::kEmbedding:
    case R::kOutput:
      return {U(c.vocab), width};
    case R::kPleTable:
      return {U(c.ple_vocab), all_ple};
    case R::kPleProjection:
      return {all_ple, width};
    case R::kPleNorm:
      return {ple};
    case R::kQ:
      return {q_rows, width};
    case R::kK:
    case R::kV:
      return {kv_rows, width};
    case R::kQkv:
      return {q_rows + 2 * kv_rows, width};
    case R::kO:
      return {width, q_rows};
    case R::kQNorm:
    case R::kKNorm:
      return {head};
    case R::kGate:
    case R::kUp:
      return {ff, width};
    case R::kDown:
      return {width, ff};
    case R::kLayerScale:
      return {1};
    case R::kPleGate:
      return {ple, width};
    case R::kPleOut:
      return {width, ple};
    case R::kRouter:
      return {experts, width};
    case R::kExpertScale:
      return {experts};
    case R::kExpertGateUp:
      return {experts, 2 * expert_ff, width};
    case R::kExpertGate:
    case R::kExpertUp:
      return {experts, expert_ff, width};
    case R::kExpertDown:
      return {experts, width, expert_ff};
    case R::kOutputNorm:
    case R::kAttnNorm:
    case R::kPostAttnNorm:
    case R::kFfnNorm:
    case R::kPostFfnNorm:
    case R::kPlePostNorm:
    case R::kRouterScale:
    case R::kPostFfnNorm1:
    case R::kPreFfnNorm2:
    case R::kPostFfnNorm2:
      return {width};
  }
  CARAT_CHECK(false);
}

std::optional<std::string> HfTextPrefix(const Checkpoint& checkpoint) {
  for (const char* prefix :
       {"model.language_model.", "language_model.model.", "model.", "language_model.", ""}) {
    if (checkpoint.Find(std::string(prefix) + "embed_tokens.weight") != nullptr) return prefix;
  }
  return std::nullopt;
}

std::vector<std::string> NamesOf(TensorRole role, int layer, CheckpointFormat format,
                                 const std::string& hf_prefix) {
  const TensorSpec& spec = Spec(role);
  std::vector<std::string> names;
  if (format == CheckpointFormat::kGguf) {
    for (const char* name : spec.gguf) {
      if (name == nullptr) break;
      names.push_back(spec.per_layer ? fmt::format("blk.{}.{}", layer, name) : name);
    }
    return names;
  }
  for (const char* name : spec.hf) {
    if (name == nullptr) break;
    if (role == R::kOutput) {
      // The head stands outside the decoder, beside it.
      names.push_back(name);
      names.push_back(std::string("language_model.") + name);
      names.push_back(std::string("model.") + name);
    } else {
      names.push_back(spec.per_layer ? fmt::format("{}layers.{}.{}", hf_prefix, layer, name)
                                     : hf_prefix + name);
    }
  }
  return names;
}

}  // namespace carat
