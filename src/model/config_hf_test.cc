// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "model/checkpoint_for_test.h"
#include "model/config.h"

namespace carat {
namespace {

using test::HfCheckpoint;
using testing::ElementsAre;
using testing::HasSubstr;

// text-model.md 1.1, the columns that make a plan.
struct FullSize {
  const char* name;
  const char* model_type;
  int layers, width, heads, kv, global_kv, ff, window, shared, ple, period;
  bool k_eq_v, double_wide, moe, vision;
  int64_t context;
  // 1.2
  int owners, sliding_donor, global_donor;
};

const FullSize kFullSizes[] = {
    {"E2B", "gemma4", 35,    1536, 8,     1,     0,      6144, 512, 20,
     256,   5,        false, true, false, false, 131072, 15,   13,  14},
    {"E4B", "gemma4", 42,    2560,  8,     2,     0,      10240, 512, 18,
     256,   6,        false, false, false, false, 131072, 24,    22,  23},
    {"12B", "gemma4_unified", 48, 3840, 16, 8, 1, 15360, 1024, 0, 0, 6, true, false, false,
     true,  262144,           48, -1,   -1},
    {"26B-A4B", "gemma4", 30,   2816,  16,   8,    2,      2112, 1024, 0,
     0,         6,        true, false, true, true, 262144, 30,   -1,   -1},
    {"31B", "gemma4", 60,   5376,  32,    16,   4,      21504, 1024, 0,
     0,     6,        true, false, false, true, 262144, 60,    -1,   -1},
};

Json FullSizeJson(const FullSize& m) {
  Json text = {{"model_type", std::string(m.model_type) + "_text"},
               {"num_hidden_layers", m.layers},
               {"hidden_size", m.width},
               {"num_attention_heads", m.heads},
               {"num_key_value_heads", m.kv},
               {"num_global_key_value_heads", m.global_kv == 0 ? Json() : Json(m.global_kv)},
               {"head_dim", 256},
               {"global_head_dim", 512},
               {"attention_k_eq_v", m.k_eq_v},
               {"intermediate_size", m.ff},
               {"use_double_wide_mlp", m.double_wide},
               {"sliding_window", m.window},
               {"num_kv_shared_layers", m.shared},
               {"hidden_size_per_layer_input", m.ple},
               {"vocab_size_per_layer_input", 262144},
               {"vocab_size", 262144},
               {"max_position_embeddings", m.context},
               {"final_logit_softcapping", 30.0},
               {"rms_norm_eps", 1e-6},
               {"hidden_activation", "gelu_pytorch_tanh"},
               {"enable_moe_block", m.moe},
               {"num_experts", m.moe ? Json(128) : Json()},
               {"top_k_experts", m.moe ? Json(8) : Json()},
               {"moe_intermediate_size", m.moe ? Json(704) : Json()},
               {"use_bidirectional_attention", m.vision ? Json("vision") : Json()},
               {"rope_parameters",
                {{"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 10000.0}}},
                 {"full_attention",
                  {{"rope_type", "proportional"},
                   {"partial_rotary_factor", 0.25},
                   {"rope_theta", 1000000.0}}}}}};
  text["layer_types"] = Json::array();
  for (int l = 0; l < m.layers; ++l) {
    text["layer_types"].push_back((l + 1) % m.period == 0 ? "full_attention" : "sliding_attention");
  }
  return {{"model_type", m.model_type},
          {"image_token_id", 258880},
          {"audio_token_id", 258881},
          {"text_config", text}};
}

Json Text(int index) { return FullSizeJson(kFullSizes[index])["text_config"]; }

// The configuration after `change`, or the message.
std::string ErrorOf(const Json& json) {
  const auto config = ReadConfig(HfCheckpoint(json));
  if (config) return "no error";
  EXPECT_EQ(config.error().code, Code::kBadFile);
  EXPECT_EQ(config.error().message.find('\n'), std::string::npos);
  EXPECT_THAT(config.error().message, HasSubstr("config.json"));
  return config.error().message;
}

Config ConfigOf(const Json& json) {
  auto config = ReadConfig(HfCheckpoint(json));
  EXPECT_TRUE(config) << config.error().message;
  return config ? std::move(*config) : Config();
}

class FullSizeTest : public testing::TestWithParam<FullSize> {};

TEST_P(FullSizeTest, HasTheLayerMapOfTheSpecification) {
  const FullSize& m = GetParam();
  const Config c = ConfigOf(FullSizeJson(m));
  ASSERT_EQ(c.plan.size(), static_cast<size_t>(m.layers));
  EXPECT_EQ(c.first_shared(), m.owners);
  for (int l = 0; l < m.layers; ++l) {
    SCOPED_TRACE(l);
    const LayerPlan& p = c.plan[l];
    const bool global = l % m.period == m.period - 1;
    EXPECT_EQ(p.sliding, !global);
    EXPECT_EQ(p.rope, global ? 1 : 0);
    EXPECT_EQ(p.head_dim, global ? 512 : 256);
    EXPECT_EQ(p.kv_heads, global && m.global_kv > 0 ? m.global_kv : m.kv);
    EXPECT_EQ(p.k_eq_v, global && m.k_eq_v);
    EXPECT_EQ(p.owns_kv, l < m.owners);
    EXPECT_EQ(p.kv_layer, l < m.owners ? l : global ? m.global_donor : m.sliding_donor);
    EXPECT_EQ(p.ff_width, m.double_wide && l >= m.owners ? 2 * m.ff : m.ff);
  }
  EXPECT_EQ(c.family, Family::kGemma4);
  EXPECT_EQ(c.width, m.width);
  EXPECT_EQ(c.window, m.window);
  EXPECT_EQ(c.vocab, 262144);
  EXPECT_EQ(c.context, m.context);
  EXPECT_EQ(c.ple_width, m.ple);
  EXPECT_EQ(c.ple_vocab, m.ple > 0 ? 262144 : 0);
  EXPECT_EQ(c.experts, m.moe ? 128 : 0);
  EXPECT_EQ(c.experts_used, m.moe ? 8 : 0);
  EXPECT_EQ(c.expert_ff, m.moe ? 704 : 0);
  EXPECT_EQ(c.vision_blocks, m.vision);
  EXPECT_FALSE(c.vision_blocks_global);
  EXPECT_EQ(c.softcap, 30);
  EXPECT_EQ(c.attention_scale, 1);
  EXPECT_FALSE(c.norms_add_one);
  EXPECT_TRUE(c.value_norm);
  EXPECT_EQ(c.embedding_scale, std::sqrt(m.width));
  EXPECT_EQ(c.image_token, 258880);
  EXPECT_EQ(c.audio_token, 258881);
  EXPECT_EQ(c.video_token, 258884);  // left out of the file: the official id
  EXPECT_EQ(c.name, "model");
  EXPECT_THAT(c.warnings, ElementsAre());
}

INSTANTIATE_TEST_SUITE_P(Models, FullSizeTest, testing::ValuesIn(kFullSizes),
                         [](const auto& model) {
                           std::string name = model.param.name;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(HfConfig, RopeFrequenciesAreThoseOfTheReference) {
  const Config c = ConfigOf(Text(0));
  const std::vector<float>& sliding = c.rope[0].inv_freq;
  const std::vector<float>& global = c.rope[1].inv_freq;
  ASSERT_EQ(sliding.size(), 128u);
  ASSERT_EQ(global.size(), 64u);  // floor(0.25 * 512 / 2): the rest stands still
  EXPECT_FLOAT_EQ(sliding[0], 1.0f);
  EXPECT_FLOAT_EQ(sliding[1], 0.93057203f);
  EXPECT_FLOAT_EQ(sliding[2], 0.86596435f);
  EXPECT_FLOAT_EQ(sliding[31], 0.10746078f);
  EXPECT_FLOAT_EQ(sliding[63], 0.010746079f);
  EXPECT_FLOAT_EQ(sliding[64], 0.01f);
  EXPECT_FLOAT_EQ(sliding[127], 0.000107460786f);
  EXPECT_FLOAT_EQ(global[1], 0.9474635f);
  EXPECT_FLOAT_EQ(global[2], 0.89768714f);
  EXPECT_FLOAT_EQ(global[31], 0.18768843f);
  EXPECT_FLOAT_EQ(global[63], 0.033376247f);
}

TEST(HfConfig, PartialRotationRoundsPairsDown) {
  Json text = Text(0);
  text["global_head_dim"] = 12;  // 0.25 * 12 / 2 = 1.5
  EXPECT_EQ(ConfigOf(text).rope[1].inv_freq.size(), 1u);
  text["global_head_dim"] = 8;
  EXPECT_EQ(ConfigOf(text).rope[1].inv_freq.size(), 1u);
  text["global_head_dim"] = 6;
  EXPECT_EQ(ConfigOf(text).rope[1].inv_freq.size(), 0u);
}

TEST(HfConfig, RopeFactorDividesFrequencies) {
  Json text = Text(0);
  text["rope_parameters"]["full_attention"]["factor"] = 4.0;
  const Config c = ConfigOf(text);
  EXPECT_FLOAT_EQ(c.rope[1].inv_freq[0], 0.25f);
  EXPECT_FLOAT_EQ(c.rope[0].inv_freq[0], 1.0f);
}

TEST(HfConfig, PerLayerConfigReplacesTheOlderKeys) {
  Json text = Text(4);
  text.erase("global_head_dim");
  text.erase("num_global_key_value_heads");
  for (int l = 5; l < 60; l += 6) {
    text["per_layer_config"][std::to_string(l)] = {{"head_dim", 512}, {"num_key_value_heads", 4}};
  }
  const Config newer = ConfigOf(text), older = ConfigOf(Text(4));
  for (int l = 0; l < 60; ++l) {
    EXPECT_EQ(newer.plan[l].head_dim, older.plan[l].head_dim) << l;
    EXPECT_EQ(newer.plan[l].kv_heads, older.plan[l].kv_heads) << l;
  }
  // Empty: no layer differs.
  text["per_layer_config"] = Json::object();
  EXPECT_EQ(ConfigOf(text).plan[5].head_dim, 256);
  EXPECT_EQ(ConfigOf(text).plan[5].kv_heads, 16);
}

TEST(HfConfig, GlobalKvHeadsNeedKEqV) {
  Json text = Text(4);
  text["attention_k_eq_v"] = false;
  EXPECT_EQ(ConfigOf(text).plan[5].kv_heads, 16);
  EXPECT_FALSE(ConfigOf(text).plan[5].k_eq_v);
}

TEST(HfConfig, AbsentKeysHaveTheOfficialDefaults) {
  const Config c = ConfigOf({{"model_type", "gemma4_text"},
                             {"num_hidden_layers", 7},
                             {"hidden_size", 64},
                             {"intermediate_size", 32}});
  EXPECT_EQ(c.heads, 8);
  EXPECT_EQ(c.vocab, 262144);
  EXPECT_EQ(c.window, 512);
  EXPECT_EQ(c.context, 131072);
  EXPECT_EQ(c.ple_width, 256);
  EXPECT_EQ(c.softcap, 0);
  EXPECT_FALSE(c.vision_blocks);
  EXPECT_EQ(c.image_token, -1);  // a text-only checkpoint has no placeholders
  EXPECT_EQ(c.rope[1].inv_freq.size(), 64u);
  std::vector<bool> sliding;
  for (const LayerPlan& p : c.plan) sliding.push_back(p.sliding);
  // Every sixth layer is global, and so is the last one.
  EXPECT_THAT(sliding, ElementsAre(true, true, true, true, true, false, false));

  const Config unified = ConfigOf({{"model_type", "gemma4_unified_text"},
                                   {"num_hidden_layers", 6},
                                   {"hidden_size", 64},
                                   {"intermediate_size", 32}});
  EXPECT_EQ(unified.window, 1024);
  EXPECT_EQ(unified.ple_width, 0);
  EXPECT_TRUE(unified.vision_blocks);
}

TEST(HfConfig, LastLayerIsGlobalWhateverTheListSays) {
  Json text = Text(1);
  text["layer_types"][41] = "sliding_attention";
  const Config c = ConfigOf(text);
  EXPECT_FALSE(c.plan[41].sliding);
  EXPECT_THAT(c.warnings, ElementsAre(HasSubstr("layer_types")));
}

TEST(HfConfig, ExpertWidthHasAnOlderName) {
  Json text = Text(3);
  text.erase("moe_intermediate_size");
  text["expert_intermediate_size"] = 96;
  EXPECT_EQ(ConfigOf(text).expert_ff, 96);
}

TEST(HfConfig, VocabularyIsTheEmbeddingsWhereTheFileIsSilent) {
  Json text = Text(0);
  text.erase("vocab_size");
  Checkpoint checkpoint = HfCheckpoint(text);
  test::AddTensor(&checkpoint, "model.embed_tokens.weight", {321, 4});
  const auto c = ReadConfig(checkpoint);
  ASSERT_TRUE(c) << c.error().message;
  EXPECT_EQ(c->vocab, 321);
}

// google/gemma-3-4b-it writes no more than this.
Json Gemma3Nested() {
  return {{"model_type", "gemma3"},
          {"image_token_index", 262144},
          {"text_config",
           {{"model_type", "gemma3_text"},
            {"num_hidden_layers", 34},
            {"hidden_size", 2560},
            {"intermediate_size", 10240},
            {"rope_scaling", {{"factor", 8.0}, {"rope_type", "linear"}}},
            {"sliding_window", 1024}}}};
}

TEST(HfConfig, Gemma3ReadsTheSparseNestedForm) {
  const Config c = ConfigOf(Gemma3Nested());
  EXPECT_EQ(c.family, Family::kGemma3);
  EXPECT_EQ(c.vocab, 262208);
  EXPECT_EQ(c.heads, 8);
  EXPECT_EQ(c.window, 1024);
  EXPECT_FLOAT_EQ(c.attention_scale, 1.0f / 16);
  EXPECT_TRUE(c.norms_add_one);
  EXPECT_FALSE(c.value_norm);
  EXPECT_TRUE(c.vision_blocks);
  EXPECT_TRUE(c.vision_blocks_global);
  EXPECT_EQ(c.ple_width, 0);
  EXPECT_EQ(c.image_token, 262144);
  for (int l = 0; l < 34; ++l) {
    EXPECT_EQ(c.plan[l].sliding, l % 6 != 5) << l;
    EXPECT_EQ(c.plan[l].head_dim, 256);
    EXPECT_EQ(c.plan[l].kv_heads, 4);
    EXPECT_TRUE(c.plan[l].owns_kv);
  }
  EXPECT_TRUE(c.plan[33].sliding);  // the last layer is not forced to be global
  ASSERT_EQ(c.rope[1].inv_freq.size(), 128u);
  EXPECT_FLOAT_EQ(c.rope[0].inv_freq[64], 0.01f);
  EXPECT_FLOAT_EQ(c.rope[1].inv_freq[64], 0.001f / 8);
}

TEST(HfConfig, Gemma3ReadsTheNewRopeForm) {
  Json json = Gemma3Nested();
  Json& text = json["text_config"];
  text.erase("rope_scaling");
  text["rope_parameters"] = {
      {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 10000}}},
      {"full_attention", {{"rope_type", "linear"}, {"factor", 8.0}, {"rope_theta", 1000000}}}};
  const Config newer = ConfigOf(json), older = ConfigOf(Gemma3Nested());
  for (const int kind : {0, 1}) {
    EXPECT_EQ(newer.rope[kind].inv_freq, older.rope[kind].inv_freq) << kind;
  }
}

TEST(HfConfig, Gemma3TakesScaleAndPattern) {
  Json json = Gemma3Nested();
  json["text_config"]["query_pre_attn_scalar"] = 168;
  json["text_config"]["sliding_window_pattern"] = 4;
  const Config c = ConfigOf(json);
  EXPECT_FLOAT_EQ(c.attention_scale, static_cast<float>(1 / std::sqrt(168.0)));
  EXPECT_TRUE(c.plan[2].sliding);
  EXPECT_FALSE(c.plan[3].sliding);
  json["text_config"]["layer_types"] = std::vector<std::string>(34, "full_attention");
  EXPECT_FALSE(ConfigOf(json).plan[0].sliding);
}

TEST(HfConfig, RefusesWhatItCannotRun) {
  const struct {
    const char* key;
    Json value;
    const char* message;
  } cases[] = {
      {"num_hidden_layers", 0, "1 to 512, found 0"},
      {"num_hidden_layers", 513, "1 to 512, found 513"},
      {"num_hidden_layers", "35", "num_hidden_layers"},
      {"num_hidden_layers", 35.5, "num_hidden_layers"},
      {"num_hidden_layers", Json(), "num_hidden_layers"},
      {"num_hidden_layers", 34, "layer_types"},
      {"hidden_size", -1, "hidden_size"},
      {"hidden_size", int64_t{1} << 40, "hidden_size"},
      {"intermediate_size", 0, "intermediate_size"},
      {"num_attention_heads", 0, "num_attention_heads"},
      {"num_key_value_heads", 0, "num_key_value_heads"},
      {"num_key_value_heads", 3, "divisor of the 8 query heads, found 3"},
      {"head_dim", 255, "even"},
      {"global_head_dim", 1, "global_head_dim"},
      {"global_head_dim", 1 << 30, "global_head_dim"},
      {"vocab_size", 0, "vocab_size"},
      {"vocab_size", int64_t{1} << 33, "vocab_size"},
      {"sliding_window", 0, "sliding_window"},
      {"num_kv_shared_layers", 35, "0 to 34, found 35"},
      {"num_kv_shared_layers", 32, "expected a global layer before layer 3"},
      {"hidden_size_per_layer_input", int64_t{1} << 31, "hidden_size_per_layer_input"},
      {"hidden_size_per_layer_input", 1 << 20, "hidden_size_per_layer_input"},
      {"vocab_size_per_layer_input", 0, "vocab_size_per_layer_input"},
      {"rms_norm_eps", 0.0, "rms_norm_eps"},
      {"rms_norm_eps", "tiny", "rms_norm_eps"},
      {"final_logit_softcapping", -1.0, "final_logit_softcapping"},
      {"hidden_activation", "relu", "relu"},
      {"attention_bias", true, "attention_bias"},
      {"attn_logit_softcapping", 50.0, "attn_logit_softcapping"},
      {"use_bidirectional_attention", "all", "all"},
      {"layer_types", {"sliding_attention"}, "35 elements"},
      {"layer_types", "full_attention", "layer_types"},
      {"rope_parameters", {{"rope_theta", 1e4}}, "found neither"},
      {"rope_parameters", {{"full_attention", {{"rope_type", "yarn"}}}}, "yarn"},
      {"rope_parameters", {{"full_attention", {{"rope_theta", 0}}}}, "rope_theta"},
      {"per_layer_config", {{"35", {{"head_dim", 512}}}}, "layer of 0 to 34"},
      {"per_layer_config", {{"x", {{"head_dim", 512}}}}, "layer of 0 to 34"},
      {"per_layer_config", {{"", {{"head_dim", 512}}}}, "layer of 0 to 34"},
      {"per_layer_config", {{"4", 512}}, "object"},
      {"per_layer_config", {{"4", {{"head_dim", 512}}}}, "every global layer"},
      {"per_layer_config", {{"4", {{"num_experts", 3}}}}, "num_experts"},
      {"enable_moe_block", true, "num_experts"},
      {"model_type", "llama", "llama"},
      {"model_type", "gemma3n_text", "gemma3n_text"},
      {"model_type", "gemma4_assistant", "drafter"},
      {"model_type", Json(), "found none"},
      {"quantization_config", {{"quant_method", "gptq"}}, "gptq"},
      {"quantization", {{"group_size", 64}}, "mlx"},
  };
  for (const auto& c : cases) {
    Json text = Text(0);
    text[c.key] = c.value;
    EXPECT_THAT(ErrorOf(text), HasSubstr(c.message)) << c.key << " = " << c.value.dump();
  }
}

TEST(HfConfig, RefusesTooManyExpertsInUse) {
  Json text = Text(3);
  text["top_k_experts"] = 129;
  EXPECT_THAT(ErrorOf(text), HasSubstr("1 to 128, found 129"));
  text["top_k_experts"] = 0;
  EXPECT_THAT(ErrorOf(text), HasSubstr("found 0"));
  text["num_experts"] = 1025;
  EXPECT_THAT(ErrorOf(text), HasSubstr("1 to 1024, found 1025"));
}

TEST(HfConfig, RefusesTextThatIsNoObject) {
  Checkpoint checkpoint = HfCheckpoint(Json::array());
  for (const char* text : {"", "[]", "{", "null", "{\"a\":1,\"a\":2}", "\xFF"}) {
    checkpoint.texts["config.json"] = text;
    const auto c = ReadConfig(checkpoint);
    ASSERT_FALSE(c) << text;
    EXPECT_EQ(c.error().code, Code::kBadFile);
  }
  checkpoint.texts.clear();
  const auto c = ReadConfig(checkpoint);
  ASSERT_FALSE(c);
  EXPECT_THAT(c.error().message, HasSubstr("dir/model/config.json: missing"));
}

TEST(HfGeneration, ReadsIdsAsNumberOrList) {
  Checkpoint checkpoint = HfCheckpoint(Text(0));
  const auto config = ReadConfig(checkpoint);
  ASSERT_TRUE(config);
  checkpoint.texts["generation_config.json"] =
      R"({"eos_token_id": [1, 106, 50], "temperature": 0.5, "top_k": 7, "top_p": 0.25,
          "suppress_tokens": [258883, 258882]})";
  auto d = ReadGenerationDefaults(checkpoint, *config);
  ASSERT_TRUE(d) << d.error().message;
  EXPECT_THAT(d->stop_ids, ElementsAre(1, 106, 50));
  EXPECT_THAT(d->suppress, ElementsAre(258883, 258882));
  EXPECT_EQ(d->temperature, 0.5f);
  EXPECT_EQ(d->top_k, 7);
  EXPECT_EQ(d->top_p, 0.25f);

  checkpoint.texts["generation_config.json"] = R"({"eos_token_id": 106, "do_sample": false})";
  d = ReadGenerationDefaults(checkpoint, *config);
  ASSERT_TRUE(d) << d.error().message;
  EXPECT_THAT(d->stop_ids, ElementsAre(106));
  EXPECT_EQ(d->temperature, 0);
}

TEST(HfGeneration, TakesTheUnionWithConfigJson) {
  Json json = FullSizeJson(kFullSizes[0]);
  json["eos_token_id"] = {1, 106};
  json["text_config"]["eos_token_id"] = 7;
  Checkpoint checkpoint = HfCheckpoint(json);
  const auto config = ReadConfig(checkpoint);
  ASSERT_TRUE(config);
  auto d = ReadGenerationDefaults(checkpoint, *config);
  ASSERT_TRUE(d) << d.error().message;
  EXPECT_THAT(d->stop_ids, ElementsAre(1, 106, 7));
  EXPECT_EQ(d->temperature, 1);
  EXPECT_EQ(d->top_k, 64);
  checkpoint.texts["generation_config.json"] = R"({"eos_token_id": [50, 1]})";
  d = ReadGenerationDefaults(checkpoint, *config);
  ASSERT_TRUE(d) << d.error().message;
  EXPECT_THAT(d->stop_ids, ElementsAre(50, 1, 106, 7));
}

TEST(HfGeneration, RefusesIdsOutsideTheVocabulary) {
  Checkpoint checkpoint = HfCheckpoint(Text(0));
  const auto config = ReadConfig(checkpoint);
  ASSERT_TRUE(config);
  for (const char* text : {R"({"suppress_tokens": [262144]})", R"({"suppress_tokens": [-5]})",
                           R"({"eos_token_id": 4294967297})", R"({"eos_token_id": "1"})",
                           R"({"top_p": 2})", R"({"temperature": -1})", R"([1])"}) {
    checkpoint.texts["generation_config.json"] = text;
    const auto d = ReadGenerationDefaults(checkpoint, *config);
    ASSERT_FALSE(d) << text;
    EXPECT_EQ(d.error().code, Code::kBadFile);
    EXPECT_THAT(d.error().message, HasSubstr("generation_config.json"));
  }
}

}  // namespace
}  // namespace carat
