// SPDX-License-Identifier: Apache-2.0
#include "model/tensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/checkpoint_for_test.h"
#include "model/tensors_table.h"
#include "tensor/half.h"

namespace carat {
namespace {

using test::AddFloats;
using test::AddTensor;
using testing::ElementsAre;
using testing::HasSubstr;

enum Kind { kPle, kMoe, kPlain3 };

// Two owners (sliding, global) and, with per-layer inputs, two layers that share and are wider.
Config MakeConfig(Kind kind) {
  Config c;
  c.file = "test file";
  c.family = kind == kPlain3 ? Family::kGemma3 : Family::kGemma4;
  c.layers = kind == kPle ? 4 : 2;
  c.width = 64;
  c.heads = 4;
  c.vocab = 10;
  c.window = 8;
  if (kind == kPle) {
    c.ple_width = 32;
    c.ple_vocab = 9;
  }
  if (kind == kMoe) {
    c.experts = 3;
    c.experts_used = 2;
    c.expert_ff = 32;
  }
  for (int l = 0; l < c.layers; ++l) {
    LayerPlan p;
    p.sliding = l % 2 == 0;
    p.rope = l % 2;
    p.head_dim = p.sliding ? 16 : 32;
    p.kv_heads = p.sliding ? 2 : 1;
    p.owns_kv = l < 2;
    p.kv_layer = l % 2;
    p.k_eq_v = kind == kMoe && l == 1;
    p.ff_width = l < 2 ? 96 : 128;
    c.plan.push_back(p);
  }
  return c;
}

struct Named {
  const char* gguf;
  const char* hf;
  std::vector<uint64_t> shape;
};

// What a file of `config` holds, written out once more and not taken from the table under test.
std::vector<Named> LayerTensorsOf(const Config& c, int l) {
  const LayerPlan& p = c.plan[l];
  const uint64_t d = c.width, ff = p.ff_width, dh = p.head_dim, q = 4 * dh, kv = p.kv_heads * dh;
  std::vector<Named> t = {
      {"attn_norm.weight", "input_layernorm.weight", {d}},
      {"attn_q.weight", "self_attn.q_proj.weight", {q, d}},
      {"attn_output.weight", "self_attn.o_proj.weight", {d, q}},
      {"attn_q_norm.weight", "self_attn.q_norm.weight", {dh}},
      {"post_attention_norm.weight", "post_attention_layernorm.weight", {d}},
      {"ffn_norm.weight", "pre_feedforward_layernorm.weight", {d}},
      {"ffn_gate.weight", "mlp.gate_proj.weight", {ff, d}},
      {"ffn_up.weight", "mlp.up_proj.weight", {ff, d}},
      {"ffn_down.weight", "mlp.down_proj.weight", {d, ff}},
      {"post_ffw_norm.weight", "post_feedforward_layernorm.weight", {d}},
  };
  if (p.owns_kv) {
    t.push_back({"attn_k.weight", "self_attn.k_proj.weight", {kv, d}});
    t.push_back({"attn_k_norm.weight", "self_attn.k_norm.weight", {dh}});
    if (!p.k_eq_v) t.push_back({"attn_v.weight", "self_attn.v_proj.weight", {kv, d}});
  }
  if (c.family == Family::kGemma4) {
    t.push_back({"layer_output_scale.weight", "layer_scalar", {1}});
  }
  if (c.ple_width > 0) {
    t.push_back({"inp_gate.weight", "per_layer_input_gate.weight", {32, d}});
    t.push_back({"proj.weight", "per_layer_projection.weight", {d, 32}});
    t.push_back({"post_norm.weight", "post_per_layer_input_norm.weight", {d}});
  }
  if (c.experts > 0) {
    t.push_back({"ffn_gate_inp.weight", "router.proj.weight", {3, d}});
    t.push_back({"ffn_gate_inp.scale", "router.scale", {d}});
    t.push_back({"ffn_down_exps.scale", "router.per_expert_scale", {3}});
    t.push_back({"ffn_gate_up_exps.weight", "experts.gate_up_proj", {3, 64, d}});
    t.push_back({"ffn_down_exps.weight", "experts.down_proj", {3, d, 32}});
    t.push_back({"post_ffw_norm_1.weight", "post_feedforward_layernorm_1.weight", {d}});
    t.push_back({"pre_ffw_norm_2.weight", "pre_feedforward_layernorm_2.weight", {d}});
    t.push_back({"post_ffw_norm_2.weight", "post_feedforward_layernorm_2.weight", {d}});
  }
  return t;
}

std::vector<Named> ModelTensorsOf(const Config& c) {
  std::vector<Named> t = {{"token_embd.weight", "embed_tokens.weight", {10, 64}},
                          {"output_norm.weight", "norm.weight", {64}}};
  if (c.ple_width > 0) {
    t.push_back({"per_layer_token_embd.weight", "embed_tokens_per_layer.weight", {9, 128}});
    t.push_back({"per_layer_model_proj.weight", "per_layer_model_projection.weight", {128, 64}});
    t.push_back({"per_layer_proj_norm.weight", "per_layer_projection_norm.weight", {32}});
  }
  return t;
}

Checkpoint MakeCheckpoint(const Config& c, bool gguf, const std::string& prefix = "model.") {
  Checkpoint k;
  k.format = gguf ? CheckpointFormat::kGguf : CheckpointFormat::kHuggingFace;
  for (const Named& t : ModelTensorsOf(c)) AddTensor(&k, gguf ? t.gguf : prefix + t.hf, t.shape);
  for (int l = 0; l < c.layers; ++l) {
    for (const Named& t : LayerTensorsOf(c, l)) {
      AddTensor(&k,
                gguf ? fmt::format("blk.{}.{}", l, t.gguf)
                     : fmt::format("{}layers.{}.{}", prefix, l, t.hf),
                t.shape);
    }
  }
  return k;
}

ModelTensors Resolved(const Checkpoint& k, const Config& c) {
  auto t = ResolveTensors(k, c);
  EXPECT_TRUE(t) << t.error().message;
  if (t) return std::move(*t);
  ModelTensors none;
  none.layers.resize(c.layers);
  return none;
}

std::string ErrorOf(const Checkpoint& k, const Config& c) {
  const auto t = ResolveTensors(k, c);
  if (t) return "no error";
  EXPECT_EQ(t.error().code, Code::kBadFile);
  EXPECT_THAT(t.error().message, testing::StartsWith("test file: tensor \""));
  EXPECT_EQ(t.error().message.find('\n'), std::string::npos);
  return t.error().message;
}

void ExpectView(const MatrixView& v, const TensorEntry& e, int64_t rows, int64_t cols,
                uint64_t first_row = 0) {
  EXPECT_EQ(v.data, e.data() + first_row * RowBytes(e.dtype, cols).value_or(0)) << e.name;
  EXPECT_EQ(v.rows, rows) << e.name;
  EXPECT_EQ(v.cols, cols) << e.name;
  EXPECT_EQ(v.dtype, e.dtype) << e.name;
}

class BothForms : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Tensors, BothForms, testing::Bool(),
                         [](const auto& form) { return form.param ? "Gguf" : "HuggingFace"; });

TEST_P(BothForms, EveryRoleIsFoundUnderItsName) {
  for (const Kind kind : {kPle, kMoe, kPlain3}) {
    const Config c = MakeConfig(kind);
    Checkpoint k = MakeCheckpoint(c, GetParam());
    const auto entry = [&](int l, const char* gguf, const char* hf) -> const TensorEntry& {
      const std::string name = GetParam() ? (l < 0 ? gguf : fmt::format("blk.{}.{}", l, gguf))
                               : l < 0    ? fmt::format("model.{}", hf)
                                          : fmt::format("model.layers.{}.{}", l, hf);
      const TensorEntry* e = k.Find(name);
      EXPECT_NE(e, nullptr) << name;
      return *e;
    };
    const ModelTensors t = Resolved(k, c);
    EXPECT_THAT(t.warnings, ElementsAre());
    EXPECT_EQ(t.embedding.rows, 10);
    EXPECT_EQ(t.embedding.cols, 64);
    ExpectView(t.output, entry(-1, "token_embd.weight", "embed_tokens.weight"), 10, 64);
    EXPECT_EQ(t.output_norm.size(), 64u);
    EXPECT_EQ(t.ple_table.rows, kind == kPle ? 9 : 0);
    EXPECT_EQ(t.ple_norm.size(), kind == kPle ? 32u : 0u);
    ASSERT_EQ(t.layers.size(), static_cast<size_t>(c.layers));
    for (int l = 0; l < c.layers; ++l) {
      SCOPED_TRACE(l);
      const LayerTensors& x = t.layers[l];
      const LayerPlan& p = c.plan[l];
      const int64_t q = 4 * p.head_dim, kv = p.kv_heads * p.head_dim;
      ExpectView(x.q, entry(l, "attn_q.weight", "self_attn.q_proj.weight"), q, 64);
      ExpectView(x.o, entry(l, "attn_output.weight", "self_attn.o_proj.weight"), 64, q);
      ExpectView(x.gate, entry(l, "ffn_gate.weight", "mlp.gate_proj.weight"), p.ff_width, 64);
      ExpectView(x.up, entry(l, "ffn_up.weight", "mlp.up_proj.weight"), p.ff_width, 64);
      ExpectView(x.down, entry(l, "ffn_down.weight", "mlp.down_proj.weight"), 64, p.ff_width);
      EXPECT_EQ(x.k.data != nullptr, p.owns_kv);
      EXPECT_EQ(x.v.data != nullptr, p.owns_kv && !p.k_eq_v);
      EXPECT_EQ(x.k_norm.size(), p.owns_kv ? p.head_dim : 0u);
      if (p.owns_kv) ExpectView(x.k, entry(l, "attn_k.weight", "self_attn.k_proj.weight"), kv, 64);
      if (x.v.data) ExpectView(x.v, entry(l, "attn_v.weight", "self_attn.v_proj.weight"), kv, 64);
      EXPECT_EQ(x.q_norm.size(), static_cast<size_t>(p.head_dim));
      EXPECT_EQ(x.attn_norm.size(), 64u);
      EXPECT_EQ(x.post_ffn_norm.size(), 64u);
      EXPECT_EQ(x.ple_gate.data != nullptr, kind == kPle);
      EXPECT_EQ(x.ple_post_norm.size(), kind == kPle ? 64u : 0u);
      EXPECT_EQ(x.expert_down.size(), kind == kMoe ? 3u : 0u);
      EXPECT_EQ(x.router.data != nullptr, kind == kMoe);
    }
  }
}

TEST_P(BothForms, EveryRequiredTensorIsMissed) {
  for (const Kind kind : {kPle, kMoe, kPlain3}) {
    const Config c = MakeConfig(kind);
    const Checkpoint whole = MakeCheckpoint(c, GetParam());
    for (const auto& [name, entry] : whole.tensors) {
      Checkpoint k = whole;
      k.tensors.erase(name);
      if (name.find("layer_output_scale") != std::string::npos ||
          name.find("layer_scalar") != std::string::npos) {
        EXPECT_EQ(ErrorOf(k, c), "no error") << name;
      } else if (name == "model.embed_tokens.weight") {
        EXPECT_THAT(ErrorOf(k, c), HasSubstr("missing")) << name;  // nor is the prefix known
      } else {
        EXPECT_THAT(ErrorOf(k, c), HasSubstr(fmt::format("tensor \"{}\": missing", name)));
      }
    }
  }
}

TEST_P(BothForms, EveryShapeIsExact) {
  for (const Kind kind : {kPle, kMoe, kPlain3}) {
    const Config c = MakeConfig(kind);
    const Checkpoint whole = MakeCheckpoint(c, GetParam());
    for (const auto& [name, entry] : whole.tensors) {
      std::vector<std::vector<uint64_t>> shapes;
      for (size_t i = 0; i < entry.shape.size(); ++i) {
        for (const uint64_t dim : {entry.shape[i] + 1, entry.shape[i] * 2, uint64_t{0}}) {
          shapes.push_back(entry.shape);
          shapes.back()[i] = dim;
        }
      }
      shapes.push_back(entry.shape);
      shapes.back().push_back(2);
      if (entry.shape.size() > 1 && entry.shape[0] != entry.shape[1]) {
        shapes.push_back(entry.shape);
        std::swap(shapes.back()[0], shapes.back()[1]);
        shapes.push_back({entry.shape[0] * entry.shape[1]});
      }
      for (const auto& shape : shapes) {
        Checkpoint k = whole;
        AddTensor(&k, name, shape);
        EXPECT_THAT(ErrorOf(k, c), HasSubstr(fmt::format("tensor \"{}\": expected shape", name)))
            << testing::PrintToString(shape);
      }
    }
  }
}

TEST_P(BothForms, TypesFitTheRole) {
  for (const Kind kind : {kPle, kMoe, kPlain3}) {
    const Config c = MakeConfig(kind);
    const Checkpoint whole = MakeCheckpoint(c, GetParam());
    for (const auto& [name, entry] : whole.tensors) {
      const bool vector = entry.shape.size() == 1;
      for (const DType type : {DType::kF16, DType::kBF16, DType::kQ8_0, DType::kI32, DType::kF64}) {
        Checkpoint k = whole;
        if (type == DType::kQ8_0 && entry.shape.back() % 32 != 0) continue;
        AddTensor(&k, name, entry.shape, type);
        const bool good = IsFloat(type) || (!vector && type == DType::kQ8_0);
        EXPECT_THAT(ErrorOf(k, c), HasSubstr(good ? "no error" : Name(type))) << name;
      }
    }
  }
}

TEST(Tensors, DeadKeysAndValuesAreIgnoredWhateverTheyAre) {
  const Config c = MakeConfig(kPle);
  Checkpoint k = MakeCheckpoint(c, true);
  AddTensor(&k, "blk.2.attn_k.weight", {7, 5});
  AddTensor(&k, "blk.2.attn_v.weight", {32, 64});
  AddTensor(&k, "blk.3.attn_k_norm.weight", {1}, DType::kI8);
  AddTensor(&k, "blk.3.attn_v.scale", {1});
  const ModelTensors t = Resolved(k, c);
  EXPECT_EQ(t.layers[2].k.data, nullptr);
  EXPECT_EQ(t.layers[2].v.data, nullptr);
  EXPECT_THAT(t.layers[3].k_norm, ElementsAre());
  EXPECT_THAT(t.warnings, ElementsAre());
}

TEST(Tensors, ValueOfKEqVLayerIsIgnored) {
  const Config c = MakeConfig(kMoe);
  Checkpoint k = MakeCheckpoint(c, false);
  AddTensor(&k, "model.layers.1.self_attn.v_proj.weight", {32, 64});
  const ModelTensors t = Resolved(k, c);
  EXPECT_EQ(t.layers[1].v.data, nullptr);
  EXPECT_NE(t.layers[0].v.data, nullptr);
  EXPECT_THAT(t.warnings, ElementsAre());
}

TEST(Tensors, EveryPrefixOfHuggingFaceIsFound) {
  const Config c = MakeConfig(kPle);
  for (const char* prefix :
       {"model.language_model.", "model.", "language_model.model.", "language_model.", ""}) {
    const Checkpoint k = MakeCheckpoint(c, false, prefix);
    EXPECT_NE(Resolved(k, c).layers[3].ple_out.data, nullptr) << prefix;
  }
}

TEST(Tensors, EncodersAreIgnoredSilently) {
  const Config c = MakeConfig(kPlain3);
  Checkpoint k = MakeCheckpoint(c, false, "model.language_model.");
  for (const char* name :
       {"model.vision_tower.encoder.layers.0.mlp.up_proj.linear.weight",
        "model.audio_tower.subsample.weight", "model.embed_vision.embedding_projection.weight",
        "model.embed_audio.embedding_projection.weight", "vision_tower.vision_model.post.weight",
        "multi_modal_projector.mm_input_projection_weight", "model.vision_embedder.pos_embedding",
        "model.language_model.rotary_emb.inv_freq"}) {
    AddTensor(&k, name, {2});
  }
  EXPECT_THAT(Resolved(k, c).warnings, ElementsAre());
  Checkpoint g = MakeCheckpoint(c, true);
  for (const char* name : {"v.blk.0.attn_q.weight", "a.conv.weight", "mm.input_projection.weight",
                           "rope_freqs.weight"}) {
    AddTensor(&g, name, {2});
  }
  EXPECT_THAT(Resolved(g, c).warnings, ElementsAre());
}

TEST(Tensors, UnknownOnesGiveOneWarning) {
  const Config c = MakeConfig(kPlain3);
  Checkpoint k = MakeCheckpoint(c, true);
  AddTensor(&k, "blk.0.extra\n.weight", {2}, DType::kI64);
  EXPECT_THAT(Resolved(k, c).warnings,
              ElementsAre(testing::AllOf(HasSubstr("1 unknown tensor ignored: blk.0.extra"),
                                         testing::Not(HasSubstr("\n")))));
  for (int i = 0; i < 9; ++i) AddTensor(&k, fmt::format("blk.{}.attn_q.weight", 2 + i), {0, 3});
  EXPECT_THAT(Resolved(k, c).warnings, ElementsAre(HasSubstr("10 unknown tensors ignored")));
}

TEST(Tensors, WhatTheConfigurationDeniesIsRefused) {
  const Config c = MakeConfig(kPlain3);
  for (const char* name : {"per_layer_token_embd.weight", "blk.1.inp_gate.weight",
                           "blk.0.ffn_gate_inp.weight", "blk.1.layer_output_scale.weight"}) {
    Checkpoint k = MakeCheckpoint(c, true);
    AddTensor(&k, name, {1});
    EXPECT_THAT(ErrorOf(k, c), HasSubstr(std::string(name) + "\": expected no such tensor"));
  }
}

TEST(Tensors, OutputMatrixOfItsOwnIsTaken) {
  const Config c = MakeConfig(kPlain3);
  Checkpoint g = MakeCheckpoint(c, true);
  ExpectView(Resolved(g, c).output, *g.Find("token_embd.weight"), 10, 64);
  AddTensor(&g, "output.weight", {10, 64}, DType::kQ8_0);
  ExpectView(Resolved(g, c).output, *g.Find("output.weight"), 10, 64);
  Checkpoint h = MakeCheckpoint(c, false, "model.language_model.");
  AddTensor(&h, "lm_head.weight", {10, 64});
  ExpectView(Resolved(h, c).output, *h.Find("lm_head.weight"), 10, 64);
  AddTensor(&h, "lm_head.weight", {9, 64});
  EXPECT_THAT(ErrorOf(h, c), HasSubstr("lm_head.weight"));
}

TEST(Tensors, FusedQkvIsCutByRows) {
  const Config c = MakeConfig(kPle);
  for (const DType type : {DType::kF32, DType::kQ4_0}) {
    Checkpoint k = MakeCheckpoint(c, true);
    for (int l = 0; l < 4; ++l) {
      for (const char* part : {"q", "k", "v"}) {
        k.tensors.erase(fmt::format("blk.{}.attn_{}.weight", l, part));
      }
      const uint64_t rows = l % 2 == 0 ? 64 + 2 * 32 : 128 + 2 * 32;
      AddTensor(&k, fmt::format("blk.{}.attn_qkv.weight", l), {rows, 64}, type);
    }
    const ModelTensors t = Resolved(k, c);
    const TensorEntry& e = *k.Find("blk.1.attn_qkv.weight");
    ExpectView(t.layers[1].q, e, 128, 64, 0);
    ExpectView(t.layers[1].k, e, 32, 64, 128);
    ExpectView(t.layers[1].v, e, 32, 64, 160);
    EXPECT_EQ(t.layers[2].k.data, nullptr);
    ExpectView(t.layers[2].q, *k.Find("blk.2.attn_qkv.weight"), 64, 64);
    AddTensor(&k, "blk.0.attn_qkv.weight", {64 + 32, 64}, type);
    EXPECT_THAT(ErrorOf(k, c), HasSubstr("expected shape [128, 64], found [96, 64]"));
  }
}

// The same three experts in every form that files have.
TEST(Tensors, ExpertsHaveFourForms) {
  const Config c = MakeConfig(kMoe);
  const auto without = [&](bool gguf) {
    Checkpoint k = MakeCheckpoint(c, gguf);
    for (int l = 0; l < 2; ++l) {
      for (const char* name :
           {"blk.{}.ffn_gate_up_exps.weight", "blk.{}.ffn_down_exps.weight",
            "model.layers.{}.experts.gate_up_proj", "model.layers.{}.experts.down_proj"}) {
        k.tensors.erase(fmt::format(fmt::runtime(name), l));
      }
    }
    return k;
  };
  {  // fused
    const Checkpoint k = MakeCheckpoint(c, true);
    const ModelTensors t = Resolved(k, c);
    const TensorEntry& e = *k.Find("blk.1.ffn_gate_up_exps.weight");
    ASSERT_EQ(t.layers[1].expert_up.size(), 3u);
    for (uint64_t i = 0; i < 3; ++i) {
      ExpectView(t.layers[1].expert_gate[i], e, 32, 64, i * 64);
      ExpectView(t.layers[1].expert_up[i], e, 32, 64, i * 64 + 32);
      ExpectView(t.layers[1].expert_down[i], *k.Find("blk.1.ffn_down_exps.weight"), 64, 32, i * 64);
    }
  }
  {  // gate and up apart, in a quantised type
    Checkpoint k = without(true);
    for (int l = 0; l < 2; ++l) {
      AddTensor(&k, fmt::format("blk.{}.ffn_gate_exps.weight", l), {3, 32, 64}, DType::kQ8_0);
      AddTensor(&k, fmt::format("blk.{}.ffn_up_exps.weight", l), {3, 32, 64}, DType::kQ4_0);
      AddTensor(&k, fmt::format("blk.{}.ffn_down_exps.weight", l), {3, 64, 32}, DType::kQ5_0);
    }
    const ModelTensors t = Resolved(k, c);
    ExpectView(t.layers[0].expert_gate[2], *k.Find("blk.0.ffn_gate_exps.weight"), 32, 64, 64);
    ExpectView(t.layers[0].expert_up[2], *k.Find("blk.0.ffn_up_exps.weight"), 32, 64, 64);
    ExpectView(t.layers[0].expert_down[2], *k.Find("blk.0.ffn_down_exps.weight"), 64, 32, 128);
    k.tensors.erase("blk.0.ffn_up_exps.weight");
    EXPECT_THAT(ErrorOf(k, c), HasSubstr("blk.0.ffn_up_exps.weight\": missing"));
  }
  {  // one tensor for each expert, fused or not, under either group name
    for (const char* group : {"experts", "moe"}) {
      for (const char* suffix : {"", ".weight"}) {
        for (const bool fused : {true, false}) {
          Checkpoint k = without(false);
          for (int l = 0; l < 2; ++l) {
            for (int i = 0; i < 3; ++i) {
              const std::string at = fmt::format("model.layers.{}.{}.{}.", l, group, i);
              if (fused) {
                AddTensor(&k, at + "gate_up_proj" + suffix, {64, 64});
              } else {
                AddTensor(&k, at + "gate_proj" + suffix, {32, 64});
                AddTensor(&k, at + "up_proj" + suffix, {32, 64});
              }
              AddTensor(&k, at + "down_proj" + suffix, {64, 32});
            }
          }
          const ModelTensors t = Resolved(k, c);
          EXPECT_THAT(t.warnings, ElementsAre());
          ASSERT_EQ(t.layers[1].expert_up.size(), 3u);
          const std::string at = fmt::format("model.layers.1.{}.2.", group);
          ExpectView(t.layers[1].expert_down[2], *k.Find(at + "down_proj" + suffix), 64, 32);
          ExpectView(t.layers[1].expert_up[2],
                     *k.Find(at + (fused ? "gate_up_proj" : "up_proj") + suffix), 32, 64,
                     fused ? 32 : 0);
          k.tensors.erase(at + "down_proj" + suffix);
          EXPECT_THAT(ErrorOf(k, c), HasSubstr("expected 3 experts, found 2"));
        }
      }
    }
  }
}

TEST(Tensors, OllamasNameOfTheExpertScaleIsKnown) {
  const Config c = MakeConfig(kMoe);
  Checkpoint k = MakeCheckpoint(c, true);
  k.tensors.erase("blk.0.ffn_down_exps.scale");
  AddFloats(&k, "blk.0.ffn_gate_inp.per_expert_scale", {3}, {1, 2, 3});
  EXPECT_THAT(Resolved(k, c).layers[0].expert_scale, ElementsAre(1, 2, 3));
}

TEST(Tensors, Nvfp4HasFactors) {
  const Config c = MakeConfig(kMoe);
  Checkpoint k = MakeCheckpoint(c, true);
  AddTensor(&k, "token_embd.weight", {10, 64}, DType::kNVFP4);
  AddFloats(&k, "token_embd.scale", {1}, {0.5f});
  AddTensor(&k, "blk.0.attn_q.weight", {64, 64}, DType::kNVFP4);
  AddFloats(&k, "blk.0.attn_q.scale", {1}, {0.25f});
  AddFloats(&k, "blk.0.attn_q.input_scale", {1}, {9});
  AddTensor(&k, "blk.0.ffn_gate_up_exps.weight", {3, 64, 64}, DType::kNVFP4);
  AddFloats(&k, "blk.0.ffn_gate_up_exps.scale", {3}, {2, 3, 4});
  AddTensor(&k, "blk.1.ffn_gate_up_exps.weight", {3, 64, 64}, DType::kNVFP4);
  AddFloats(&k, "blk.1.ffn_gate_up_exps.scale", {1}, {7});
  const ModelTensors t = Resolved(k, c);
  EXPECT_THAT(t.warnings, ElementsAre());
  EXPECT_EQ(t.embedding.scale, 0.5f);
  EXPECT_EQ(t.output.scale, 0.5f);
  EXPECT_EQ(t.layers[0].q.scale, 0.25f);
  EXPECT_EQ(t.layers[1].q.scale, 1.0f);
  EXPECT_EQ(t.layers[0].expert_gate[1].scale, 3);
  EXPECT_EQ(t.layers[0].expert_up[2].scale, 4);
  EXPECT_EQ(t.layers[1].expert_up[2].scale, 7);
  EXPECT_EQ(t.layers[0].expert_down[1].scale, 1);  // its factor is the expert's own

  AddFloats(&k, "blk.0.attn_q.scale", {2}, {1, 1});
  EXPECT_THAT(ErrorOf(k, c), HasSubstr("attn_q.scale\": expected shape [1], found [2]"));
  k.tensors.erase("blk.0.attn_q.scale");
  AddFloats(&k, "blk.0.ffn_up.scale", {1}, {1});
  EXPECT_THAT(ErrorOf(k, c), HasSubstr("NVFP4, found type F32"));
}

TEST(Tensors, NormsBecomeFloatsWithTheirOffset) {
  Config c = MakeConfig(kPlain3);
  Checkpoint k = MakeCheckpoint(c, false);
  std::vector<uint16_t> bf16(64), f16(64);
  std::vector<float> f32(64);
  for (int i = 0; i < 64; ++i) {
    f32[i] = static_cast<float>(i) / 8 - 2;
    bf16[i] = FloatToBf16(f32[i]);
    f16[i] = FloatToF16(f32[i]);
  }
  AddFloats(&k, "model.norm.weight", {64}, f32);
  AddTensor(&k, "model.layers.0.input_layernorm.weight", {64}, DType::kBF16, test::BytesOf(bf16));
  AddTensor(&k, "model.layers.1.input_layernorm.weight", {64}, DType::kF16, test::BytesOf(f16));
  for (const bool add_one : {false, true}) {
    c.norms_add_one = add_one;
    const ModelTensors t = Resolved(k, c);
    for (int i = 0; i < 64; ++i) {
      const float expected = f32[i] + (add_one ? 1 : 0);
      EXPECT_EQ(t.output_norm[i], expected);
      EXPECT_EQ(t.layers[0].attn_norm[i], expected);
      EXPECT_EQ(t.layers[1].attn_norm[i], expected);
    }
  }
}

TEST(Tensors, OffsetIsNotForScales) {
  Config c = MakeConfig(kMoe);
  c.norms_add_one = true;
  Checkpoint k = MakeCheckpoint(c, false);
  AddFloats(&k, "model.layers.0.layer_scalar", {1}, {0.5f});
  AddFloats(&k, "model.layers.0.router.per_expert_scale", {3}, {1, 2, 3});
  const ModelTensors t = Resolved(k, c);
  EXPECT_EQ(t.layers[0].layer_scale, 0.5f);
  EXPECT_EQ(t.layers[1].layer_scale, 0.0f);  // what the file has, not the default
  EXPECT_THAT(t.layers[0].expert_scale, ElementsAre(1, 2, 3));
  k.tensors.erase("model.layers.1.layer_scalar");
  EXPECT_EQ(Resolved(k, c).layers[1].layer_scale, 1.0f);
}

TEST(Tensors, NormsMustBeFinite) {
  const Config c = MakeConfig(kPlain3);
  Checkpoint k = MakeCheckpoint(c, true);
  std::vector<float> values(64, 1.0f);
  values[63] = INFINITY;
  AddFloats(&k, "blk.1.ffn_norm.weight", {64}, values);
  EXPECT_THAT(ErrorOf(k, c), HasSubstr("blk.1.ffn_norm.weight\": expected finite values"));
}

TEST(Tensors, GgufToleratesDimensionsOfOne) {
  Config c = MakeConfig(kMoe);
  Checkpoint k = MakeCheckpoint(c, true);
  AddTensor(&k, "blk.0.attn_q.weight", {1, 1, 64, 64});
  AddTensor(&k, "blk.0.attn_norm.weight", {1, 1, 1, 64});
  AddTensor(&k, "blk.0.layer_output_scale.weight", {});
  AddTensor(&k, "blk.1.layer_output_scale.weight", {1, 1, 1, 1});
  EXPECT_NE(Resolved(k, c).layers[0].q.data, nullptr);
  // Writers drop them too: a router for one expert is a vector.
  c.experts = c.experts_used = 1;
  Checkpoint one = MakeCheckpoint(MakeConfig(kMoe), true);
  for (int l = 0; l < 2; ++l) {
    AddTensor(&one, fmt::format("blk.{}.ffn_gate_inp.weight", l), {64});
    AddTensor(&one, fmt::format("blk.{}.ffn_down_exps.scale", l), {1});
    AddTensor(&one, fmt::format("blk.{}.ffn_gate_up_exps.weight", l), {64, 64});
    AddTensor(&one, fmt::format("blk.{}.ffn_down_exps.weight", l), {64, 32});
  }
  const ModelTensors t = Resolved(one, c);
  EXPECT_EQ(t.layers[0].router.rows, 1);
  EXPECT_EQ(t.layers[0].expert_down.size(), 1u);
}

TEST(Tensors, RowsAreReadWithoutTheMap) {
  for (const DType type : {DType::kF32, DType::kBF16, DType::kQ8_0}) {
    const int64_t rows = 3, cols = 32 * 320;  // F32: 40 KB, several pieces
    RowTable t;
    t.dtype = type;
    t.rows = rows;
    t.cols = cols;
    t.offset = 100;
    std::vector<std::byte> bytes(100 + rows * *RowBytes(type, cols));
    const auto value = [](int64_t r, int64_t i) { return static_cast<float>((r * 31 + i) % 100); };
    for (int64_t r = 0; r < rows; ++r) {
      std::byte* row = bytes.data() + 100 + r * *RowBytes(type, cols);
      for (int64_t i = 0; i < cols; ++i) {
        const float v = value(r, i);
        const uint16_t half = type == DType::kBF16 ? FloatToBf16(v) : FloatToF16(1.0f);
        if (type == DType::kF32) std::memcpy(row + i * 4, &v, 4);
        if (type == DType::kBF16) std::memcpy(row + i * 2, &half, 2);
        if (type == DType::kQ8_0) {
          std::memcpy(row + i / 32 * 34, &half, 2);
          row[i / 32 * 34 + 2 + i % 32] = static_cast<std::byte>(static_cast<int8_t>(v));
        }
      }
    }
    t.file = MappedFile::FromBytes(bytes, "rows.bin");
    for (const float scale : {1.0f, 0.5f}) {
      t.scale = scale;
      for (int64_t r = 0; r < rows; ++r) {
        std::vector<float> out(cols + 1, -7.0f);
        ASSERT_TRUE(t.Read(r, out.data()));
        for (int64_t i = 0; i < cols; ++i) ASSERT_EQ(out[i], value(r, i) * scale) << r << " " << i;
        EXPECT_EQ(out[cols], -7.0f);
      }
    }
    t.offset += 1;  // the last row now ends behind the file
    std::vector<float> out(cols);
    EXPECT_FALSE(t.Read(rows - 1, out.data()));
  }
}

TEST(Tensors, FilesAreKeptAlive) {
  const Config c = MakeConfig(kPlain3);
  Checkpoint k = MakeCheckpoint(c, true);
  std::weak_ptr<const MappedFile> q = k.Find("blk.0.attn_q.weight")->file;
  ModelTensors t = Resolved(k, c);
  k = Checkpoint();
  EXPECT_FALSE(q.expired());
  t = ModelTensors();
  EXPECT_TRUE(q.expired());
}

}  // namespace
}  // namespace carat
