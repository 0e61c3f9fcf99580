// SPDX-License-Identifier: Apache-2.0
// Tokenizers from checkpoints, and whole models from the malformed and the unusual files of
// tests/golden.
#include "runtime/vocabulary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>

#include "base/golden_for_test.h"
#include "io/checkpoint.h"
#include "model/checkpoint_for_test.h"
#include "model/config.h"
#include "model/tensors.h"

namespace carat {
namespace {

namespace fs = std::filesystem;
using test::FileOf;
using test::GgufMaker;
using test::Golden;
using test::ReadIndex;
using testing::ElementsAre;
using testing::HasSubstr;

struct Whole {
  Config config;
  ModelTensors tensors;
  std::shared_ptr<const Tokenizer> tokenizer;
  GenerationDefaults generation;
};

// Everything that is read before a model runs.
Result<Whole> Load(const fs::path& path) {
  CARAT_ASSIGN_OR_RETURN(const Checkpoint checkpoint, OpenCheckpoint(path));
  Whole w;
  CARAT_ASSIGN_OR_RETURN(w.config, ReadConfig(checkpoint));
  CARAT_ASSIGN_OR_RETURN(w.tensors, ResolveTensors(checkpoint, w.config));
  CARAT_ASSIGN_OR_RETURN(w.tokenizer, LoadTokenizer(checkpoint, w.config));
  CARAT_ASSIGN_OR_RETURN(w.generation, ReadGenerationDefaults(checkpoint, w.config));
  AddStopIds(*w.tokenizer, w.config.family, &w.generation.stop_ids);
  return w;
}

// What the message must speak of, by the beginning of the file's name.
std::string ReasonOf(const std::string& file) {
  const std::pair<const char*, const char*> reasons[] = {
      {"m-no-arch", "general.architecture"},
      {"m-arch-clip", "projector"},
      {"m-arch", "general.architecture"},
      {"m-type-mmproj", "projector"},
      {"m-type-adapter", "adapter"},
      {"m-blocks-3", "expected 3 elements"},
      {"m-block", "block_count"},
      {"m-no-blocks", "block_count"},
      {"m-heads", "head_count"},
      {"m-eps", "layer_norm_rms_epsilon"},
      {"m-no-eps", "layer_norm_rms_epsilon"},
      {"m-pattern", "sliding_window_pattern"},
      {"m-no-pattern", "sliding_window_pattern"},
      {"m-scores", "tokenizer.ggml.scores"},
      {"m-types", "tokenizer.ggml.token_type"},
      {"m-tokens-short", "275"},
      {"m-tokens", "tokenizer.ggml.tokens"},
      {"m-no-tokens", "tokenizer.ggml.tokens"},
      {"m-ff", "feed_forward_length"},
      {"m-kv", "head_count_kv"},
      {"m-shared", "shared_kv_layers"},
      {"m-experts-used", "expert_used_count"},
      {"m-experts-1025", "expert_count"},
      {"m-d-0", "embedding_length"},
      {"m-key-0", "key_length"},
      {"m-key-swa-0", "key_length_swa"},
      {"m-d-64", "expected shape"},
      {"m-ple-claimed", "missing"},
      {"m-ple-huge", "embedding_length_per_layer_input"},
      {"m-no-token_embd", "token_embd.weight"},
      {"m-no-output_norm", "output_norm.weight"},
      {"m-no-blk.0.attn_k.weight", "blk.0.attn_k.weight"},
      {"m-no-blk.1.ffn_up", "blk.1.ffn_up.weight"},
      {"m-no-blk.1.attn_k_norm", "blk.1.attn_k_norm.weight"},
      {"m-embd-i16", "I16"},
      {"m-embd", "token_embd.weight"},
      {"m-q-", "attn_q.weight"},
      {"m-norm-long", "attn_norm.weight"},
      {"m-hd-swapped", "expected shape"},
      {"m-rope-short", "rope_freqs.weight"},
      {"m-norm-q8_0", "Q8_0"},
      {"m-norm-i32", "I32"},
      {"m-scale-i8", "I8"},
      {"m-bos", "bos_token_id"},
      {"m-eos", "eos_token_id"},
      {"m-unknown", "unknown_token_id"},
      {"m-padding", "padding_token_id"},
      {"m-byte", "<0x"},
      {"m-merge", "merge"},
      {"m-no-merges", "tokenizer.ggml.merges"},
      {"m-suppress", "suppress_tokens"},
      {"m-tokenizer-unknown", "tokenizer.ggml.model"},
      {"m-qv", "general.quantization_version"},
  };
  for (const auto& [start, reason] : reasons) {
    if (file.rfind(start, 0) == 0) return reason;
  }
  return file;  // in every message
}

TEST(GoldenFiles, EveryBadModelIsRefusedForItsReason) {
  const fs::path folder = Golden("gguf/bad");
  int seen = 0;
  for (const Json& item : ReadIndex(folder)) {
    if (item["level"] != "model") continue;
    const std::string file = item["file"];
    SCOPED_TRACE(file + ": " + item["wrong"].get<std::string>());
    const auto whole = Load(FileOf(folder, item));
    ++seen;
    if (whole) {
      ADD_FAILURE() << "accepted";
      continue;
    }
    const std::string& message = whole.error().message;
    EXPECT_EQ(whole.error().code, Code::kBadFile) << message;
    EXPECT_THAT(message, HasSubstr(file));
    EXPECT_THAT(message, HasSubstr(ReasonOf(file)));
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
  EXPECT_GE(seen, 1);
}

TEST(GoldenFiles, EveryOddModelLoads) {
  const fs::path folder = Golden("gguf/weird");
  int seen = 0;
  for (const Json& item : ReadIndex(folder)) {
    if (item["kind"] != "model") continue;
    const std::string file = item["file"];
    SCOPED_TRACE(file + ": " + item["unusual"].get<std::string>());
    const auto whole = Load(FileOf(folder, item));
    ++seen;
    if (!whole) {
      ADD_FAILURE() << whole.error().message;
      continue;
    }
    // All of them are the same model in another dress.
    EXPECT_EQ(whole->tokenizer->size(), 276);
    EXPECT_EQ(whole->config.layers, 2);
    EXPECT_EQ(whole->config.plan[0].head_dim, 32);
    EXPECT_EQ(whole->config.plan[1].head_dim, 64);
    EXPECT_EQ(whole->config.rope[1].inv_freq.size(), 8u);
    EXPECT_EQ(whole->tensors.layers[1].q.rows, 128);
    EXPECT_EQ(whole->tensors.layers[1].v.rows, 64);
    EXPECT_FALSE(whole->config.plan[1].k_eq_v);
    const bool unknown = file == "name-63.gguf" || file == "unknown-tensors.gguf";
    EXPECT_EQ(whole->tensors.warnings.size(), unknown ? 1u : 0u);
    EXPECT_THAT(whole->generation.stop_ids, ElementsAre(1, 6));  // <eos>, <turn|>
    EXPECT_THAT(whole->tokenizer->Encode("ab cd"), testing::Not(testing::IsEmpty()));
  }
  EXPECT_GE(seen, 1);
}

TEST(GoldenFiles, EveryTinyModelLoads) {
  const fs::path folder = Golden("gguf/tiny");
  for (const Json& item : ReadIndex(folder)) {
    const fs::path file = folder / item["files"][0].get<std::string>();
    SCOPED_TRACE(file);
    const auto whole = Load(file);
    ASSERT_TRUE(whole) << whole.error().message;
    EXPECT_EQ(whole->tokenizer->size(), 512);
    EXPECT_EQ(whole->tokenizer->bos(), 2);
    EXPECT_EQ(whole->generation.stop_ids[0], 1);
    EXPECT_EQ(whole->generation.stop_ids.size(), item["arch"] == "gemma3" ? 2u : 3u);
  }
}

TEST(GoldenFiles, EveryTextCheckpointLoads) {
  for (const fs::path& folder : test::TextCheckpoints()) {
    SCOPED_TRACE(folder);
    const auto whole = Load(folder);
    ASSERT_TRUE(whole) << whole.error().message;
    EXPECT_EQ(whole->tokenizer->size(), 640);
    // Gemma 3's tiny tokenizer has no <end_of_turn>; 106 comes from the file.
    EXPECT_THAT(whole->generation.stop_ids, testing::IsSupersetOf({1, 106}));
    EXPECT_THAT(whole->generation.stop_ids, testing::Not(testing::Contains(212)));  // </s>
  }
}

// Nine pieces and all bytes, in the form of Gemma 4 files.
GgufMaker Gemma4Vocabulary() {
  std::vector<std::string> pieces = {
      "<pad>",      "<eos>", "<bos>", "<unk>", "<turn|>", "</s>", "<|tool_response>",
      "<|channel>", "a",     "b",     "ab"};
  std::vector<int32_t> types = {3, 1, 3, 3, 4, 3, 1, 3, 1, 1, 1};
  for (int byte = 0; byte < 256; ++byte) {
    pieces.push_back(fmt::format("<0x{:02X}>", byte));
    types.push_back(6);
  }
  GgufMaker m;
  m.String("tokenizer.ggml.model", "gemma4")
      .Strings("tokenizer.ggml.tokens", pieces)
      .Ints("tokenizer.ggml.token_type", types)
      .Floats("tokenizer.ggml.scores", std::vector<float>(pieces.size(), -1000))
      .Strings("tokenizer.ggml.merges", {"a b"})
      .U32("tokenizer.ggml.bos_token_id", 2)
      .U32("tokenizer.ggml.eos_token_id", 1)
      .U32("tokenizer.ggml.unknown_token_id", 3);
  return m;
}

Config ConfigWith(Family family, int64_t vocab) {
  Config c;
  c.family = family;
  c.vocab = vocab;
  return c;
}

TEST(Vocabulary, Gemma4FilesGetTheirControlKindsRight) {
  GgufMaker m = Gemma4Vocabulary();
  const auto t = LoadTokenizer(m.checkpoint(), ConfigWith(Family::kGemma4, 11 + 256));
  ASSERT_TRUE(t) << t.error().message;
  EXPECT_EQ((*t)->bos(), 2);
  EXPECT_EQ((*t)->eos(), 1);
  EXPECT_EQ((*t)->Kind(1), PieceKind::kControl);      // was normal
  EXPECT_EQ((*t)->Kind(4), PieceKind::kControl);      // was user-defined
  EXPECT_EQ((*t)->Kind(5), PieceKind::kNormal);       // </s>, was control
  EXPECT_EQ((*t)->Kind(6), PieceKind::kUserDefined);  // was normal
  EXPECT_EQ((*t)->Kind(7), PieceKind::kControl);      // stays
  EXPECT_EQ((*t)->Kind(10), PieceKind::kNormal);
  EXPECT_THAT((*t)->Encode("ab"), ElementsAre(10));
  // Control strings count when asked for, and never otherwise.
  EXPECT_THAT((*t)->Encode("<turn|>", {.parse_special = true}), ElementsAre(4));
  EXPECT_THAT((*t)->Encode("<|tool_response>", {.parse_special = true}), ElementsAre(6));
  EXPECT_THAT((*t)->Encode("<|tool_response>"), testing::Not(testing::Contains(6)));

  std::vector<int32_t> stop = {106, 1};
  AddStopIds(**t, Family::kGemma4, &stop);
  EXPECT_THAT(stop, ElementsAre(106, 1, 4, 6));
}

TEST(Vocabulary, UnsetIdsMayBeAbsentOrMinusOne) {
  GgufMaker m = Gemma4Vocabulary();
  m.U32("tokenizer.ggml.bos_token_id", UINT32_MAX)
      .I32("tokenizer.ggml.unknown_token_id", -1)
      .Erase("tokenizer.ggml.eos_token_id");
  const auto t = LoadTokenizer(m.checkpoint(), ConfigWith(Family::kGemma4, 11 + 256));
  ASSERT_TRUE(t) << t.error().message;
  EXPECT_EQ((*t)->bos(), -1);
  EXPECT_EQ((*t)->eos(), -1);
}

TEST(Vocabulary, OllamasGemma4IsMergedToo) {
  GgufMaker m = Gemma4Vocabulary();
  m.String("tokenizer.ggml.model", "llama").String("tokenizer.ggml.pre", "gemma4");
  const auto t = LoadTokenizer(m.checkpoint(), ConfigWith(Family::kGemma4, 11 + 256));
  ASSERT_TRUE(t) << t.error().message;
  EXPECT_THAT((*t)->Encode("ab"), ElementsAre(10));  // all scores are equal: only merges join
}

TEST(Vocabulary, ScoresRuleInGemma3Files) {
  GgufMaker m = Gemma4Vocabulary();
  std::vector<float> scores(11 + 256, 0);
  scores[10] = -1;
  m.String("tokenizer.ggml.model", "llama")
      .Erase("tokenizer.ggml.merges")
      .Floats("tokenizer.ggml.scores", scores);
  // More rows than tokens are allowed.
  const auto t = LoadTokenizer(m.checkpoint(), ConfigWith(Family::kGemma3, 11 + 256 + 64));
  ASSERT_TRUE(t) << t.error().message;
  EXPECT_EQ((*t)->size(), 11 + 256);
  EXPECT_EQ((*t)->Kind(5), PieceKind::kControl);  // kinds are left alone
  EXPECT_THAT((*t)->Encode("ab"), ElementsAre(10));
  EXPECT_FALSE(LoadTokenizer(m.checkpoint(), ConfigWith(Family::kGemma3, 11 + 255)));
}

TEST(Vocabulary, RefusesWhatDoesNotFit) {
  const std::pair<std::function<void(GgufMaker&)>, const char*> cases[] = {
      {[](auto& m) { m.Erase("tokenizer.ggml.tokens"); }, "tokenizer.ggml.tokens"},
      {[](auto& m) { m.Strings("tokenizer.ggml.tokens", {"a"}); }, "expected 267 tokens, found 1"},
      {[](auto& m) { m.Erase("tokenizer.ggml.token_type"); }, "tokenizer.ggml.token_type"},
      {[](auto& m) { m.Ints("tokenizer.ggml.token_type", {1}); }, "267 elements"},
      {[](auto& m) { m.Ints("tokenizer.ggml.token_type", std::vector<int32_t>(267, 7)); },
       "1 to 6, found 7"},
      {[](auto& m) { m.Ints("tokenizer.ggml.token_type", std::vector<int32_t>(267, 0)); },
       "1 to 6, found 0"},
      {[](auto& m) { m.Floats("tokenizer.ggml.scores", {1}); }, "267 elements"},
      {[](auto& m) { m.Ints("tokenizer.ggml.scores", std::vector<int32_t>(267)); },
       "tokenizer.ggml.scores"},
      {[](auto& m) { m.Erase("tokenizer.ggml.merges"); }, "tokenizer.ggml.merges"},
      {[](auto& m) { m.Strings("tokenizer.ggml.merges", {}); }, "found none"},
      {[](auto& m) { m.Erase("tokenizer.ggml.model"); }, "tokenizer.ggml.model"},
      {[](auto& m) { m.String("tokenizer.ggml.model", "gpt2"); }, "found \"gpt2\""},
      {[](auto& m) {
         m.String("tokenizer.ggml.model", "llama")
             .Erase("tokenizer.ggml.merges")
             .Erase("tokenizer.ggml.scores");
       },
       "tokenizer.ggml.scores\": missing"},
      {[](auto& m) { m.U32("tokenizer.ggml.bos_token_id", 267); }, "0 to 266, found 267"},
      {[](auto& m) { m.I32("tokenizer.ggml.bos_token_id", -2); }, "found -2"},
      {[](auto& m) { m.F32("tokenizer.ggml.bos_token_id", 2); }, "bos_token_id"},
      {[](auto& m) { m.Ints("tokenizer.ggml.eos_token_id", {1}); }, "eos_token_id"},
      {[](auto& m) { m.U32("tokenizer.ggml.mask_token_id", 1u << 31); }, "mask_token_id"},
  };
  for (size_t i = 0; i < std::size(cases); ++i) {
    GgufMaker m = Gemma4Vocabulary();
    cases[i].first(m);
    const auto t = LoadTokenizer(m.checkpoint(), ConfigWith(Family::kGemma4, 11 + 256));
    ASSERT_FALSE(t) << "case " << i;
    EXPECT_EQ(t.error().code, Code::kBadFile);
    EXPECT_THAT(t.error().message, HasSubstr(cases[i].second)) << "case " << i;
  }
}

TEST(Vocabulary, HuggingFaceDirectoryNeedsItsTokenizer) {
  Checkpoint c = test::HfCheckpoint(Json::object());
  auto t = LoadTokenizer(c, ConfigWith(Family::kGemma4, 10));
  ASSERT_FALSE(t);
  EXPECT_THAT(t.error().message, HasSubstr("dir/model/tokenizer.json: missing"));
  c.texts["tokenizer.json"] = "{";
  t = LoadTokenizer(c, ConfigWith(Family::kGemma4, 10));
  ASSERT_FALSE(t);
  EXPECT_EQ(t.error().code, Code::kBadFile);
}

TEST(Vocabulary, HuggingFaceTokenizerFitsTheEmbedding) {
  const fs::path folder = Golden("text/e2b");
  const auto c = OpenCheckpoint(folder);
  ASSERT_TRUE(c) << c.error().message;
  EXPECT_TRUE(LoadTokenizer(*c, ConfigWith(Family::kGemma4, 640)));
  const auto t = LoadTokenizer(*c, ConfigWith(Family::kGemma4, 639));
  ASSERT_FALSE(t);
  EXPECT_THAT(t.error().message, HasSubstr("at most 639 tokens"));
}

}  // namespace
}  // namespace carat
