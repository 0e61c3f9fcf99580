// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "model/checkpoint_for_test.h"
#include "model/config.h"

namespace carat {
namespace {

using test::AddFloats;
using test::AddTensor;
using test::GgufMaker;
using testing::ElementsAre;
using testing::HasSubstr;

// Five layers, of which the last two share; s s g s g.
GgufMaker Gemma4() {
  GgufMaker m;
  m.String("general.architecture", "gemma4")
      .String("general.type", "model")
      .String("general.name", "Tiny")
      .U32("gemma4.block_count", 5)
      .U32("gemma4.context_length", 4096)
      .U32("gemma4.embedding_length", 64)
      .Ints("gemma4.feed_forward_length", {32, 32, 32, 96, 96})
      .U32("gemma4.attention.head_count", 4)
      .Ints("gemma4.attention.head_count_kv", {2, 2, 1, 2, 1})
      .U32("gemma4.attention.key_length", 32)
      .U32("gemma4.attention.value_length", 32)
      .U32("gemma4.attention.key_length_swa", 16)
      .F32("gemma4.attention.layer_norm_rms_epsilon", 1e-6f)
      .U32("gemma4.attention.sliding_window", 24)
      .Bools("gemma4.attention.sliding_window_pattern", {1, 1, 0, 1, 0})
      .U32("gemma4.attention.shared_kv_layers", 2)
      .U32("gemma4.embedding_length_per_layer_input", 8)
      .F32("gemma4.rope.freq_base", 1e6f)
      .F32("gemma4.rope.freq_base_swa", 1e4f)
      .F32("gemma4.final_logit_softcapping", 30)
      .Strings("tokenizer.ggml.tokens", {"<pad>", "<eos>", "<|image|>", "a", "<|audio|>"})
      .U32("tokenizer.ggml.eos_token_id", 1);
  for (int l = 0; l < 5; ++l) {
    AddTensor(&m.checkpoint(), fmt::format("blk.{}.attn_v.weight", l), {2, 2});
  }
  return m;
}

GgufMaker Gemma3(int layers = 7) {
  GgufMaker m;
  m.String("general.architecture", "gemma3")
      .U32("gemma3.block_count", static_cast<uint32_t>(layers))
      .U32("gemma3.context_length", 32768)
      .U32("gemma3.embedding_length", 640)
      .U32("gemma3.feed_forward_length", 2048)
      .U32("gemma3.attention.head_count", 4)
      .U32("gemma3.attention.head_count_kv", 1)
      .U32("gemma3.attention.key_length", 256)
      .U32("gemma3.attention.value_length", 256)
      .F32("gemma3.attention.layer_norm_rms_epsilon", 1e-6f)
      .U32("gemma3.attention.sliding_window", 512)
      .F32("gemma3.rope.freq_base", 1e6f)
      .Strings("tokenizer.ggml.tokens", {"a", "b", "c"});
  return m;
}

Config ConfigOf(GgufMaker& m) {
  auto c = ReadConfig(m.checkpoint());
  EXPECT_TRUE(c) << c.error().message;
  return c ? std::move(*c) : Config();
}

std::string ErrorOf(GgufMaker& m) {
  const auto c = ReadConfig(m.checkpoint());
  if (c) return "no error";
  EXPECT_EQ(c.error().code, Code::kBadFile);
  EXPECT_THAT(c.error().message, testing::StartsWith("test.gguf: "));
  EXPECT_EQ(c.error().message.find('\n'), std::string::npos);
  return c.error().message;
}

TEST(GgufConfig, ReadsGemma4) {
  GgufMaker m = Gemma4();
  const Config c = ConfigOf(m);
  EXPECT_EQ(c.family, Family::kGemma4);
  EXPECT_EQ(c.name, "Tiny");
  EXPECT_EQ(c.layers, 5);
  EXPECT_EQ(c.width, 64);
  EXPECT_EQ(c.heads, 4);
  EXPECT_EQ(c.vocab, 5);
  EXPECT_EQ(c.ple_vocab, 5);
  EXPECT_EQ(c.ple_width, 8);
  EXPECT_EQ(c.window, 24);
  EXPECT_EQ(c.context, 4096);
  EXPECT_EQ(c.softcap, 30);
  EXPECT_EQ(c.attention_scale, 1);
  EXPECT_FALSE(c.vision_blocks);  // models with per-layer inputs have none
  EXPECT_FALSE(c.norms_add_one);
  EXPECT_EQ(c.image_token, 2);
  EXPECT_EQ(c.audio_token, 4);
  EXPECT_EQ(c.video_token, -1);
  EXPECT_EQ(c.first_shared(), 3);
  std::vector<int> dims, kv, donors, ff;
  for (const LayerPlan& p : c.plan) {
    dims.push_back(p.head_dim);
    kv.push_back(p.kv_heads);
    donors.push_back(p.kv_layer);
    ff.push_back(p.ff_width);
  }
  EXPECT_THAT(dims, ElementsAre(16, 16, 32, 16, 32));
  EXPECT_THAT(kv, ElementsAre(2, 2, 1, 2, 1));
  EXPECT_THAT(donors, ElementsAre(0, 1, 2, 1, 2));
  EXPECT_THAT(ff, ElementsAre(32, 32, 32, 96, 96));
}

TEST(GgufConfig, DonorIsTheLastOwnerOfTheSameKind) {
  // g s s | s g: the last owner but one is sliding, so counting back from the end would be wrong.
  GgufMaker m = Gemma4();
  m.Bools("gemma4.attention.sliding_window_pattern", {0, 1, 1, 1, 0})
      .U32("gemma4.attention.head_count_kv", 2);
  const Config c = ConfigOf(m);
  EXPECT_EQ(c.plan[3].kv_layer, 2);
  EXPECT_EQ(c.plan[4].kv_layer, 0);
}

TEST(GgufConfig, ScalarStandsForAllLayers) {
  GgufMaker m = Gemma4();
  m.U32("gemma4.feed_forward_length", 48).U32("gemma4.attention.head_count_kv", 2);
  for (const LayerPlan& p : ConfigOf(m).plan) {
    EXPECT_EQ(p.ff_width, 48);
    EXPECT_EQ(p.kv_heads, 2);
  }
  m.Erase("gemma4.attention.head_count_kv").Ints("gemma4.attention.head_count", {4, 4, 4, 4, 4});
  for (const LayerPlan& p : ConfigOf(m).plan) EXPECT_EQ(p.kv_heads, 4);
}

TEST(GgufConfig, MissingValueTensorMeansKEqVOnGlobalLayersOnly) {
  GgufMaker m = Gemma4();
  m.checkpoint().tensors.clear();
  const Config c = ConfigOf(m);
  EXPECT_FALSE(c.plan[0].k_eq_v);
  EXPECT_FALSE(c.plan[1].k_eq_v);
  EXPECT_TRUE(c.plan[2].k_eq_v);
  EXPECT_FALSE(c.plan[4].k_eq_v);  // shares its donor's values
  AddTensor(&m.checkpoint(), "blk.2.attn_qkv.weight", {2, 2});
  EXPECT_FALSE(ConfigOf(m).plan[2].k_eq_v);
}

TEST(GgufConfig, RopeFreqsDivide) {
  GgufMaker m = Gemma4();
  EXPECT_EQ(ConfigOf(m).rope[1].inv_freq.size(), 4u);  // the rule: floor(0.25 * 32 / 2)
  const std::vector<float> rule = ConfigOf(m).rope[1].inv_freq;
  std::vector<float> f(16, 1e30f);
  std::fill_n(f.begin(), 4, 1.0f);
  AddFloats(&m.checkpoint(), "rope_freqs.weight", {16}, f);
  EXPECT_EQ(ConfigOf(m).rope[1].inv_freq, rule);
  EXPECT_EQ(ConfigOf(m).rope[0].inv_freq.size(), 8u);  // sliding layers do not use it
  std::fill(f.begin() + 4, f.end(), INFINITY);
  AddFloats(&m.checkpoint(), "rope_freqs.weight", {16}, f);
  EXPECT_EQ(ConfigOf(m).rope[1].inv_freq, rule);
  std::fill(f.begin() + 4, f.end(), 1e30f);

  f[1] = 4;
  f[6] = 2;  // a pair that turns behind some that do not
  AddFloats(&m.checkpoint(), "rope_freqs.weight", {16}, f);
  const std::vector<float> inv = ConfigOf(m).rope[1].inv_freq;
  ASSERT_EQ(inv.size(), 7u);
  EXPECT_FLOAT_EQ(inv[1], rule[1] / 4);
  EXPECT_EQ(inv[4], 0);
  EXPECT_EQ(inv[5], 0);
  EXPECT_FLOAT_EQ(inv[6], static_cast<float>(std::pow(1e6, -12.0 / 32) / 2));
}

TEST(GgufConfig, RefusesOddRopeFreqs) {
  GgufMaker m = Gemma4();
  for (const uint64_t size : {8, 15, 17, 32}) {
    AddFloats(&m.checkpoint(), "rope_freqs.weight", {size}, std::vector<float>(size, 1.0f));
    EXPECT_THAT(ErrorOf(m), HasSubstr("expected 16 values")) << size;
  }
  for (const float bad : {0.0f, -1.0f, NAN, -INFINITY}) {
    std::vector<float> f(16, 1.0f);
    f[3] = bad;
    AddFloats(&m.checkpoint(), "rope_freqs.weight", {16}, f);
    EXPECT_THAT(ErrorOf(m), HasSubstr("positive numbers")) << bad;
  }
  AddTensor(&m.checkpoint(), "rope_freqs.weight", {32}, DType::kQ8_0);
  EXPECT_THAT(ErrorOf(m), HasSubstr("Q8_0"));
}

TEST(GgufConfig, ReadsExperts) {
  GgufMaker m = Gemma4();
  m.U32("gemma4.expert_count", 8)
      .U32("gemma4.expert_used_count", 2)
      .Ints("gemma4.expert_feed_forward_length", {24, 24, 24, 24, 24});
  const Config c = ConfigOf(m);
  EXPECT_EQ(c.experts, 8);
  EXPECT_EQ(c.experts_used, 2);
  EXPECT_EQ(c.expert_ff, 24);
  m.Ints("gemma4.expert_used_count", {2, 2, 3, 2, 2});
  EXPECT_THAT(ErrorOf(m), HasSubstr("one value in all layers"));
}

TEST(GgufConfig, ReadsGemma3) {
  GgufMaker m = Gemma3();
  const Config c = ConfigOf(m);
  EXPECT_EQ(c.family, Family::kGemma3);
  EXPECT_EQ(c.name, "test");  // no general.name: the file's
  EXPECT_FLOAT_EQ(c.attention_scale, 1.0f / 16);
  EXPECT_FALSE(c.norms_add_one);  // these files hold 1 + w
  EXPECT_FALSE(c.value_norm);
  EXPECT_TRUE(c.vision_blocks_global);
  EXPECT_EQ(c.window, 512);
  ASSERT_EQ(c.plan.size(), 7u);
  for (int l = 0; l < 7; ++l) EXPECT_EQ(c.plan[l].sliding, l != 5) << l;
  ASSERT_EQ(c.rope[0].inv_freq.size(), 128u);
  ASSERT_EQ(c.rope[1].inv_freq.size(), 128u);      // full rotation
  EXPECT_FLOAT_EQ(c.rope[0].inv_freq[64], 0.01f);  // the default, as in the real 270M file
  EXPECT_FLOAT_EQ(c.rope[1].inv_freq[64], 0.001f);
}

TEST(GgufConfig, Gemma3ScalesGlobalRotationsLinearly) {
  GgufMaker m = Gemma3();
  m.String("gemma3.rope.scaling.type", "linear").F32("gemma3.rope.scaling.factor", 8);
  const Config c = ConfigOf(m);
  EXPECT_FLOAT_EQ(c.rope[0].inv_freq[0], 1);
  EXPECT_FLOAT_EQ(c.rope[1].inv_freq[0], 0.125f);
  m.String("gemma3.rope.scaling.type", "yarn");
  EXPECT_THAT(ErrorOf(m), HasSubstr("yarn"));
}

TEST(GgufConfig, Gemma3KnowsItsLargestSize) {
  GgufMaker m = Gemma3(62);
  m.U32("gemma3.embedding_length", 5376).U32("gemma3.attention.head_count", 32);
  EXPECT_FLOAT_EQ(ConfigOf(m).attention_scale, static_cast<float>(1 / std::sqrt(168.0)));
}

TEST(GgufConfig, Gemma3PatternHasThreeForms) {
  GgufMaker m = Gemma3();
  m.U32("gemma3.attention.sliding_window_pattern", 2);
  EXPECT_FALSE(ConfigOf(m).plan[1].sliding);
  EXPECT_TRUE(ConfigOf(m).plan[2].sliding);
  m.Bools("gemma3.attention.sliding_window_pattern", {0, 1, 0, 0, 0, 0, 0});
  EXPECT_FALSE(ConfigOf(m).plan[0].sliding);
  EXPECT_TRUE(ConfigOf(m).plan[1].sliding);
  m.Erase("gemma3.attention.sliding_window");
  for (const LayerPlan& p : ConfigOf(m).plan) EXPECT_FALSE(p.sliding);
}

TEST(GgufConfig, Gemma3TakesOllamasNamesAndExtraRows) {
  GgufMaker m = Gemma3();
  m.Erase("gemma3.rope.freq_base")
      .Erase("gemma3.attention.layer_norm_rms_epsilon")
      .F32("gemma3.rope.global.freq_base", 1e5f)
      .F32("gemma3.rope.local.freq_base", 1e3f);
  AddTensor(&m.checkpoint(), "token_embd.weight", {67, 640});
  const Config c = ConfigOf(m);
  EXPECT_FLOAT_EQ(c.rope[1].inv_freq[64], static_cast<float>(std::pow(1e5, -0.5)));
  EXPECT_FLOAT_EQ(c.rope[0].inv_freq[64], static_cast<float>(std::pow(1e3, -0.5)));
  EXPECT_FLOAT_EQ(c.eps, 1e-6f);
  EXPECT_EQ(c.vocab, 67);
}

TEST(GgufConfig, RefusesWhatItCannotRun) {
  const struct {
    std::function<void(GgufMaker&)> change;
    const char* message;
  } cases[] = {
      {[](auto& m) { m.Erase("general.architecture"); }, "general.architecture"},
      {[](auto& m) { m.U32("general.architecture", 4); }, "general.architecture"},
      {[](auto& m) { m.String("general.architecture", "llama"); }, "found \"llama\""},
      {[](auto& m) { m.String("general.architecture", "clip"); }, "projector (mmproj)"},
      {[](auto& m) { m.String("general.type", "mmproj"); }, "projector (mmproj)"},
      {[](auto& m) { m.String("general.type", "adapter"); }, "adapter (LoRA)"},
      {[](auto& m) { m.String("general.type", "imatrix"); }, "imatrix"},
      {[](auto& m) { m.String("general.architecture", "gemma4-assistant"); }, "drafter"},
      {[](auto& m) { m.U32("general.quantization_version", 3); }, "expected 2, found 3"},
      {[](auto& m) { m.Erase("gemma4.block_count"); }, "gemma4.block_count"},
      {[](auto& m) { m.U32("gemma4.block_count", 0); }, "1 to 512, found 0"},
      {[](auto& m) { m.U32("gemma4.block_count", 513); }, "1 to 512, found 513"},
      {[](auto& m) { m.F32("gemma4.block_count", 5); }, "gemma4.block_count"},
      {[](auto& m) { m.U32("gemma4.embedding_length", 0); }, "embedding_length"},
      {[](auto& m) { m.U32("gemma4.embedding_length", UINT32_MAX); }, "embedding_length"},
      {[](auto& m) { m.Ints("gemma4.feed_forward_length", {32}); }, "5 elements"},
      {[](auto& m) { m.Ints("gemma4.feed_forward_length", {}); }, "5 elements"},
      {[](auto& m) {
         m.Ints("gemma4.feed_forward_length", {1, 1, -1, 1, 1});
       },
       "found -1"},
      {[](auto& m) { m.U32("gemma4.attention.head_count", 0); }, "head_count"},
      {[](auto& m) { m.U32("gemma4.attention.head_count_kv", 3); }, "divisor of the 4 query heads"},
      {[](auto& m) {
         m.Ints("gemma4.attention.head_count_kv", {2, 2, 1, 2, 2});
       },
       "expected 1 in layer 4 as in layer 2"},
      {[](auto& m) {
         m.U32("gemma4.attention.key_length", 33).Erase("gemma4.attention.value_length");
       },
       "even head size"},
      {[](auto& m) { m.U32("gemma4.attention.value_length", 16); }, "expected 32, found 16"},
      {[](auto& m) { m.U32("gemma4.rope.dimension_count", 16); }, "expected 32, found 16"},
      {[](auto& m) { m.Erase("gemma4.attention.key_length_swa"); }, "key_length_swa"},
      {[](auto& m) { m.Erase("gemma4.attention.layer_norm_rms_epsilon"); }, "rms_epsilon"},
      {[](auto& m) { m.F32("gemma4.attention.layer_norm_rms_epsilon", NAN); }, "rms_epsilon"},
      {[](auto& m) { m.U32("gemma4.attention.sliding_window", 0); }, "sliding_window"},
      {[](auto& m) {
         m.Bools("gemma4.attention.sliding_window_pattern", {1, 1, 0, 1});
       },
       "5 elements"},
      {[](auto& m) {
         m.Bools("gemma4.attention.sliding_window_pattern", {1, 1, 0, 1, 0, 1});
       },
       "5 elements"},
      {[](auto& m) { m.Ints("gemma4.feed_forward_length", std::vector<int32_t>(6, 32)); },
       "5 elements"},
      {[](auto& m) { m.U32("gemma4.attention.sliding_window_pattern", 6); },
       "sliding_window_pattern"},
      {[](auto& m) { m.Erase("gemma4.attention.sliding_window_pattern"); },
       "sliding_window_pattern"},
      {[](auto& m) { m.U32("gemma4.attention.shared_kv_layers", 5); }, "0 to 4, found 5"},
      {[](auto& m) { m.U32("gemma4.attention.shared_kv_layers", UINT32_MAX); }, "0 to 4"},
      {[](auto& m) { m.U32("gemma4.attention.shared_kv_layers", 3); },
       "expected a global layer before layer 2"},
      {[](auto& m) { m.Erase("gemma4.embedding_length_per_layer_input"); }, "per_layer_input"},
      {[](auto& m) { m.U32("gemma4.embedding_length_per_layer_input", 1u << 31); },
       "per_layer_input"},
      {[](auto& m) { m.U32("gemma4.expert_count", 1025); }, "0 to 1024, found 1025"},
      {[](auto& m) { m.U32("gemma4.expert_count", 4); }, "expert_used_count"},
      {[](auto& m) {
         m.U32("gemma4.expert_count", 4)
             .U32("gemma4.expert_used_count", 5)
             .U32("gemma4.expert_feed_forward_length", 8);
       },
       "expert_used_count\": expected 1 to 4, found 5"},
      {[](auto& m) { m.F32("gemma4.rope.freq_base", 0); }, "rope.freq_base"},
      {[](auto& m) { m.F32("gemma4.final_logit_softcapping", INFINITY); }, "softcapping"},
      {[](auto& m) { m.Erase("tokenizer.ggml.tokens"); }, "tokenizer.ggml.tokens"},
      {[](auto& m) { m.Ints("tokenizer.ggml.tokens", {1}); }, "tokenizer.ggml.tokens"},
      {[](auto& m) { m.Strings("tokenizer.ggml.tokens", {}); }, "tokenizer.ggml.tokens"},
  };
  for (size_t i = 0; i < std::size(cases); ++i) {
    GgufMaker m = Gemma4();
    cases[i].change(m);
    EXPECT_THAT(ErrorOf(m), HasSubstr(cases[i].message)) << "case " << i;
  }
}

TEST(GgufConfig, NameFromTheFileIsMadePrintable) {
  GgufMaker m = Gemma4();
  m.String("general.name", "a\nb\xFF");
  const std::string name = ConfigOf(m).name;
  EXPECT_EQ(name.find('\n'), std::string::npos);
  EXPECT_EQ(name.find('\xFF'), std::string::npos);
}

TEST(GgufGeneration, ReadsSamplingAndIds) {
  GgufMaker m = Gemma4();
  const Config c = ConfigOf(m);
  auto d = ReadGenerationDefaults(m.checkpoint(), c);
  ASSERT_TRUE(d) << d.error().message;
  EXPECT_EQ(d->temperature, 1);
  EXPECT_EQ(d->top_k, 64);
  EXPECT_EQ(d->top_p, 0.95f);
  EXPECT_THAT(d->stop_ids, ElementsAre(1));
  EXPECT_THAT(d->suppress, ElementsAre());
  m.I32("general.sampling.top_k", 20)
      .F32("general.sampling.top_p", 0.5f)
      .F32("general.sampling.temp", 0.25f)
      .U32("tokenizer.ggml.eot_token_id", 3)
      .U32("tokenizer.ggml.eom_token_id", UINT32_MAX)
      .Ints("tokenizer.ggml.suppress_tokens", {4, 2});
  d = ReadGenerationDefaults(m.checkpoint(), c);
  ASSERT_TRUE(d) << d.error().message;
  EXPECT_EQ(d->temperature, 0.25f);
  EXPECT_EQ(d->top_k, 20);
  EXPECT_EQ(d->top_p, 0.5f);
  EXPECT_THAT(d->stop_ids, ElementsAre(1, 3));
  EXPECT_THAT(d->suppress, ElementsAre(4, 2));
}

TEST(GgufGeneration, RefusesIdsOutsideTheVocabulary) {
  const std::function<void(GgufMaker&)> changes[] = {
      [](auto& m) { m.U32("tokenizer.ggml.eos_token_id", 5); },
      [](auto& m) { m.Ints("tokenizer.ggml.suppress_tokens", {5}); },
      [](auto& m) { m.Ints("tokenizer.ggml.suppress_tokens", {-5}); },
      [](auto& m) { m.U32("tokenizer.ggml.suppress_tokens", 1); },
      [](auto& m) { m.F32("general.sampling.temp", -1); },
      [](auto& m) { m.F32("general.sampling.top_k", 1); },
  };
  for (const auto& change : changes) {
    GgufMaker m = Gemma4();
    const Config c = ConfigOf(m);
    change(m);
    const auto d = ReadGenerationDefaults(m.checkpoint(), c);
    ASSERT_FALSE(d);
    EXPECT_EQ(d.error().code, Code::kBadFile);
  }
}

}  // namespace
}  // namespace carat
