// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "io/adapter.h"
#include "io/gguf_for_test.h"
#include "io/projector.h"

namespace carat {
namespace {

using test::GgufBytes;
using testing::HasSubstr;

GgufBytes Adapter() {
  GgufBytes bytes;
  bytes.String("general.architecture", "gemma4")
      .String("general.type", "adapter")
      .String("adapter.type", "lora")
      .F32("adapter.lora.alpha", 8);
  return bytes;
}
GgufBytes Base() {
  GgufBytes bytes;
  bytes.String("general.architecture", "gemma4")
      .Tensor("token_embd.weight", {4, 10})
      .Tensor("blk.0.attn_q.weight", {4, 6})
      .Tensor("blk.0.ffn_down_exps.weight", {3, 4, 2});
  return bytes;
}
std::string Problem(const GgufBytes& adapter, const GgufBytes& base) {
  const auto a = adapter.Parse();
  const auto b = base.Parse();
  EXPECT_TRUE(a && b);
  const Checkpoint model = test::CheckpointOf(*b);
  const auto info = CheckAdapter(*a, &model);
  return info ? "accepted" : info.error().message;
}

TEST(Adapter, ReadsPairsOfMatricesEmbeddingsAndExperts) {
  GgufBytes bytes = Adapter();
  bytes.Tensor("blk.0.attn_q.weight.lora_b", {2, 6})
      .Tensor("blk.0.attn_q.weight.lora_a", {4, 2})
      .Tensor("token_embd.weight.lora_a", {3, 10})
      .Tensor("token_embd.weight.lora_b", {3, 4})
      .Tensor("blk.0.ffn_down_exps.weight.lora_a", {3, 1, 2})
      .Tensor("blk.0.ffn_down_exps.weight.lora_b", {1, 4, 2})
      .Tensor("blk.0.attn_norm.weight", {4});
  const auto file = bytes.Parse(), base = Base().Parse();
  ASSERT_TRUE(file && base);
  const Checkpoint checkpoint = test::CheckpointOf(*base);
  for (const Checkpoint* model : {static_cast<const Checkpoint*>(nullptr), &checkpoint}) {
    const auto info = CheckAdapter(*file, model);
    ASSERT_TRUE(info) << info.error().message;
    EXPECT_EQ(info->alpha, 8);
    ASSERT_EQ(info->pairs.size(), 3u);
    EXPECT_EQ(info->pairs[0].base, "blk.0.attn_q.weight");
    EXPECT_EQ(info->pairs[0].rank, 2u);
    EXPECT_EQ(info->pairs[0].in, 4u);
    EXPECT_EQ(info->pairs[0].out, 6u);
    EXPECT_EQ(info->pairs[1].experts, 2u);
    EXPECT_EQ(info->pairs[2].rank, 3u);
    EXPECT_EQ(info->pairs[2].in, 4u);
    EXPECT_EQ(info->pairs[2].out, 10u);
    EXPECT_EQ(info->parameters, 2u * (4 + 6) + 2u * (3 + 4) + 3u * (4 + 10));
  }
}

TEST(Adapter, RefusesWhatDoesNotFitTheModel) {
  GgufBytes turned = Adapter();  // an embedding stored like other matrices
  turned.Tensor("token_embd.weight.lora_a", {4, 3}).Tensor("token_embd.weight.lora_b", {3, 10});
  EXPECT_THAT(Problem(turned, Base()), HasSubstr("different ranks"));
  GgufBytes experts = Adapter();
  experts.Tensor("blk.0.ffn_down_exps.weight.lora_a", {3, 1, 5})
      .Tensor("blk.0.ffn_down_exps.weight.lora_b", {1, 4, 5});
  EXPECT_THAT(Problem(experts, Base()),
              HasSubstr("the adapter fits [5, 4, 3], the model has [2, 4, 3]"));
  GgufBytes uneven = Adapter();
  uneven.Tensor("blk.0.ffn_down_exps.weight.lora_a", {3, 1, 2})
      .Tensor("blk.0.ffn_down_exps.weight.lora_b", {1, 4, 3});
  EXPECT_THAT(Problem(uneven, Base()), HasSubstr("different numbers of experts"));
  GgufBytes flat = Adapter();
  flat.Tensor("x.lora_a", {3}).Tensor("x.lora_b", {3});
  EXPECT_THAT(Problem(flat, Base()), HasSubstr("expected two dimensions each"));
  GgufBytes integers = Adapter();
  integers.TensorAs("x.lora_a", {4, 2}, 26, 0, 32).TensorAs("x.lora_b", {2, 6}, 0, 32, 48);
  EXPECT_THAT(Problem(integers, Base()), HasSubstr("type I32 is not one of weights"));
  EXPECT_THAT(Problem(Adapter(), Base()), HasSubstr("no tensors of an adapter"));
}

// The smallest vision encoder of each kind, with `change` applied to its keys.
struct Keys {
  std::string projector = "gemma4v";
  uint32_t width = 4, feed_forward = 6, blocks = 1, heads = 2, image = 32, patch = 2;
  float epsilon = 1e-6f;
  std::vector<float> mean = {0, 0, 0}, std = {1, 1, 1};
  bool shared_key = false;
};
GgufBytes Vision(const std::function<void(Keys*)>& change, const std::string& left_out = "") {
  Keys k;
  change(&k);
  GgufBytes g;
  const std::string p = "clip.vision.";
  g.String("general.architecture", "clip").String("general.type", "mmproj");
  g.Bool("clip.has_vision_encoder", true);
  g.String(k.shared_key ? "clip.projector_type" : p + "projector_type", k.projector);
  g.U32(p + "embedding_length", k.width).U32(p + "feed_forward_length", k.feed_forward);
  g.U32(p + "block_count", k.blocks).U32(p + "attention.head_count", k.heads);
  g.U32(p + "image_size", k.image).U32(p + "patch_size", k.patch).U32(p + "projection_dim", 8);
  g.F32(p + "attention.layer_norm_epsilon", k.epsilon);
  g.Array(p + "image_mean", GgufType::kF32, k.mean).Array(p + "image_std", GgufType::kF32, k.std);
  const auto tensor = [&](const std::string& name, const std::vector<uint64_t>& ne) {
    if (name != left_out) g.Tensor(name, ne);
  };
  tensor("v.patch_embd.weight", {2, 2, 3, 4});
  tensor("v.position_embd.weight", {4, 9, 2});
  for (const char* n : {"ln1", "ln2", "attn_post_norm", "ffn_post_norm"})
    tensor(fmt::format("v.blk.0.{}.weight", n), {4});
  for (const char* n : {"attn_q_norm", "attn_k_norm"})
    tensor(fmt::format("v.blk.0.{}.weight", n), {2});
  for (const char* n : {"attn_q", "attn_k", "attn_v", "attn_out"})
    tensor(fmt::format("v.blk.0.{}.weight", n), {4, 4});
  for (const char* n : {"ffn_gate", "ffn_up"}) tensor(fmt::format("v.blk.0.{}.weight", n), {4, 6});
  tensor("v.blk.0.ffn_down.weight", {6, 4});
  tensor("mm.input_projection.weight", {4, 8});
  return g;
}
std::string Problem(const GgufBytes& projector) {
  const auto file = projector.Parse();
  EXPECT_TRUE(file) << file.error().message;
  const auto info = CheckProjector(*file);
  return info ? "accepted" : info.error().message;
}

TEST(Projector, AcceptsTheSmallestEncoder) {
  const auto file = Vision([](Keys*) {}).Parse();
  ASSERT_TRUE(file);
  const auto info = CheckProjector(*file);
  ASSERT_TRUE(info) << info.error().message;
  EXPECT_EQ(info->vision->scale_factor, 3u);
  EXPECT_EQ(info->vision->heads, 2u);
  EXPECT_FALSE(info->audio);
  EXPECT_EQ(info->tensors, 16u);
  EXPECT_EQ(info->parameters, 48u + 72 + 16 + 4 + 64 + 48 + 24 + 32);
  EXPECT_EQ(Problem(Vision([](Keys* k) { k->shared_key = true; })), "accepted");
}

TEST(Projector, RefusesKeysOutOfRange) {
  EXPECT_THAT(Problem(Vision([](Keys* k) { k->heads = 3; })), HasSubstr("does not divide"));
  EXPECT_THAT(Problem(Vision([](Keys* k) { k->blocks = 513; })), HasSubstr("expected 1..512"));
  EXPECT_THAT(Problem(Vision([](Keys* k) { k->blocks = 0; })), HasSubstr("expected 1..512"));
  EXPECT_THAT(Problem(Vision([](Keys* k) { k->width = 0; })), HasSubstr("embedding_length"));
  EXPECT_THAT(Problem(Vision([](Keys* k) { k->image = 0; })), HasSubstr("image_size"));
  EXPECT_THAT(Problem(Vision([](Keys* k) { k->patch = 257; })), HasSubstr("expected 1..256"));
  EXPECT_THAT(Problem(Vision([](Keys* k) { k->std[1] = 0; })),
              HasSubstr("image_std\"[1]: expected a finite number other than 0"));
  EXPECT_THAT(Problem(Vision([](Keys* k) { k->mean[2] = std::numeric_limits<float>::infinity(); })),
              HasSubstr("image_mean\"[2]"));
  EXPECT_THAT(
      Problem(Vision([](Keys* k) { k->epsilon = std::numeric_limits<float>::quiet_NaN(); })),
      HasSubstr("layer_norm_epsilon"));
  EXPECT_THAT(Problem(Vision([](Keys* k) { k->projector = "gemma4a"; })),
              HasSubstr("expected gemma4v, gemma4uv or gemma3"));
  EXPECT_THAT(Problem(Vision([](Keys* k) { k->projector = "gemma4uv"; })),
              HasSubstr("block_count\": expected 0 for gemma4uv"));
  EXPECT_THAT(Problem(Vision([](Keys* k) {
                k->projector = "gemma3";
                k->image = 1;
              })),
              HasSubstr("image size 1: expected at least the patch size, 2"));
  GgufBytes none;
  none.String("general.architecture", "clip");
  EXPECT_THAT(Problem(none), HasSubstr("neither a vision nor an audio encoder"));
}

TEST(Projector, ComparesEveryTensorWithTheKeys) {
  EXPECT_THAT(Problem(Vision([](Keys*) {}, "v.blk.0.attn_v.weight")),
              HasSubstr("\"v.blk.0.attn_v.weight\": missing"));
  EXPECT_THAT(Problem(Vision([](Keys* k) { k->blocks = 2; })), HasSubstr("v.blk.1"));
  EXPECT_THAT(Problem(Vision([](Keys* k) { k->feed_forward = 7; })),
              HasSubstr("expected shape [7, 4], found [6, 4]"));
  EXPECT_THAT(Problem(Vision([](Keys*) {}).Tensor("v.blk.0.ffn_up.input_min", {2})),
              HasSubstr("expected shape [1], found [2]"));
  EXPECT_THAT(Problem(Vision([](Keys*) {}).Tensor("v.std_bias", {4})),
              HasSubstr("\"v.std_scale\": missing"));
  const auto file = Vision([](Keys*) {}).Tensor("v.more", {4}).Parse();
  ASSERT_TRUE(file);
  const auto info = CheckProjector(*file);
  ASSERT_TRUE(info);
  EXPECT_THAT(info->warnings, testing::ElementsAre(HasSubstr("1 unknown tensors are ignored")));
}

}  // namespace
}  // namespace carat
