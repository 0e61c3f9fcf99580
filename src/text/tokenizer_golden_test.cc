// SPDX-License-Identifier: Apache-2.0
// Tokenizers against ids made by the official implementations: the tiny checkpoints, Gemma's full
// vocabulary (skipped where tools/derive_vocabulary.py could not bring it), and the published
// cases.
#include <gtest/gtest.h>

#include <unordered_map>

#include "base/golden_for_test.h"
#include "base/rng.h"
#include "text/bpe_tokenizer.h"
#include "text/stream_decoder.h"
#include "text/test_util.h"
#include "text/tokenizer_json.h"

namespace carat {
namespace {

namespace fs = std::filesystem;
using test::Golden;
using test::ReadFile;
using test::ReadJson;

std::shared_ptr<const Tokenizer> Load(const fs::path& path) {
  auto tokenizer = Tokenizer::FromTokenizerJson(ReadFile(path), path.string());
  EXPECT_TRUE(tokenizer) << tokenizer.error().message;
  return tokenizer ? *tokenizer : nullptr;
}

void ExpectIds(const Tokenizer& tokenizer, const Json& one, const EncodeOptions& options) {
  const std::string text = one["text"];
  EXPECT_EQ(tokenizer.Encode(text, options), one["ids"].get<std::vector<int32_t>>()) << text;
}

TEST(TokenizerGolden, TinyCheckpoints) {
  for (const fs::path& folder : test::TextCheckpoints()) {
    const auto tokenizer = Load(folder / "tokenizer.json");
    ASSERT_NE(tokenizer, nullptr);
    int texts = 0;
    for (const auto& prompt : ReadJson(folder / "prompts.json")) {
      if (!prompt.contains("text")) continue;
      ++texts;
      ExpectIds(*tokenizer, prompt, {.parse_special = true});
      // A text that begins with <bos> gets no second one.
      ExpectIds(*tokenizer, prompt, {.add_bos = true, .parse_special = true});
    }
    EXPECT_GT(texts, 0) << folder;
  }
}

TEST(TokenizerGolden, TinyGgufModels) {
  const fs::path folder = Golden("gguf/tiny");
  const auto tokenizer = Load(folder / "tokenizer-gemma4.json");
  ASSERT_NE(tokenizer, nullptr);
  const Json prompts = ReadJson(folder / "prompts.json")["gemma4"];
  ASSERT_GT(prompts.size(), 0u);
  for (const auto& prompt : prompts) {
    ExpectIds(*tokenizer, prompt, {.add_bos = true, .parse_special = true});
  }
}

// The full vocabularies, loaded once.
class FullVocabulary : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    for (const auto& [name, tokenizer] :
         {std::pair("gemma3", &gemma3_), std::pair("gemma4-derived", &gemma4_)}) {
      if (fs::exists(DerivedVocabulary(name))) *tokenizer = Load(DerivedVocabulary(name));
    }
  }
  static void TearDownTestSuite() {
    gemma3_.reset();
    gemma4_.reset();
  }
  void SetUp() override {
    if (gemma3_ != nullptr && gemma4_ != nullptr) return;
    GTEST_SKIP() << test::Loudly("Gemma's full vocabulary is not in the cache (" +
                                 DerivedVocabulary("gemma4-derived") +
                                 "); run tools/derive_vocabulary.py with a network");
  }
  static std::shared_ptr<const Tokenizer> gemma3_, gemma4_;
};
std::shared_ptr<const Tokenizer> FullVocabulary::gemma3_, FullVocabulary::gemma4_;

TEST_F(FullVocabulary, TokenizeCases) {
  const Json cases = ReadJson(Golden("prompting-cases.json"))["tokenize"];
  ASSERT_GE(cases.size(), 32u);
  for (const auto& one : cases) ExpectIds(*gemma4_, one, {.parse_special = true});
}

TEST_F(FullVocabulary, DetokenizeCases) {
  const Json cases = ReadJson(Golden("prompting-cases.json"))["detokenize"];
  ASSERT_GE(cases.size(), 4u);
  for (const auto& one : cases) {
    const auto ids = one["ids"].get<std::vector<int32_t>>();
    EXPECT_EQ(gemma4_->Decode(ids, false), one["text"]) << one;
    StreamDecoder decoder(gemma4_.get(), false);
    std::vector<std::string> stream;
    for (const int32_t id : ids) stream.push_back(decoder.Push(id));
    stream.back() += decoder.Flush();
    std::string all;
    for (const std::string& text : stream) all += text;
    EXPECT_EQ(all, one["text"]) << one;
    if (one.contains("stream")) {
      EXPECT_EQ(Json(stream), one["stream"]) << one;
    }
  }
}

TEST_F(FullVocabulary, RealPrompts) {
  const Json prompts = ReadJson(Golden("real/prompts.json"));
  ASSERT_GE(prompts.size(), 30u);
  for (const auto& prompt : prompts) {
    ExpectIds(*gemma3_, prompt, {.add_bos = true});
    ExpectIds(*gemma4_, prompt, {.add_bos = true});
  }
}

// The vocabulary as Gemma 3's GGUF files hold it (file-formats.md 2.5): scores instead of merges.
TEST_F(FullVocabulary, ScoresGiveTheIdsOfMerges) {
  VocabularyMaker maker;
  for (int32_t id = 0; id < 262144; ++id) {
    const std::string_view shown = gemma3_->PieceText(id);
    PieceKind kind = gemma3_->Kind(id);
    float score = -1000;
    std::string text(shown);
    if (kind == PieceKind::kByte) {
      text = fmt::format("<0x{:02X}>", static_cast<uint8_t>(shown[0]));
      score = 0;
    } else if (kind == PieceKind::kUserDefined && text.rfind("<unused", 0) == 0) {
      kind = PieceKind::kControl;
    } else if (kind == PieceKind::kNormal) {
      text.clear();
      for (const char c : shown) c == ' ' ? text.append(kMetaSpaceUtf8) : text.append(1, c);
      score = static_cast<float>(-(id - 494));
    }
    maker.Add(text, kind, score);
  }
  maker.UseScores();
  maker.source().bos = 2;
  const auto tokenizer = Tokenizer::Create(maker.source());
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  const Json prompts = ReadJson(Golden("real/prompts.json"));
  for (const auto& prompt : prompts) ExpectIds(**tokenizer, prompt, {.add_bos = true});
}

// Texts that hit the vocabulary's seams: random pieces, runs, digits, markup, broken UTF-8.
std::string RandomText(const Tokenizer& tokenizer, uint64_t seed) {
  static const char* const kSeams[] = {" ",        "  ", "\n", "\t", "> </",
                                       ">",        "</", "<",  "7",  "42",
                                       "\r",       "▁",  "é",  "日", "👩‍👩‍👧",
                                       "\xF0\x9F", "1.", "…",  "'s", ". ",
                                       " ,",       "=="};
  uint64_t counter = 0;
  const auto below = [&](uint64_t n) { return CounterRandom(seed, 3, counter++) % n; };
  std::string text;
  for (uint64_t parts = 1 + below(12); parts > 0; --parts) {
    if (below(2) == 0) {
      const auto id = static_cast<int32_t>(494 + below(255000));
      text += tokenizer.PieceText(id);
    } else {
      const std::string seam = kSeams[below(std::size(kSeams))];
      for (uint64_t n = below(6) == 0 ? below(40) : 1; n > 0; --n) text += seam;
    }
  }
  return text;
}

TEST_F(FullVocabulary, EqualsThePlainRuleOnRandomTexts) {
  const std::string file = ReadFile(DerivedVocabulary("gemma4-derived"));
  const auto contents = ReadTokenizerJson(file, "test");
  ASSERT_TRUE(contents);
  std::unordered_map<std::string, uint32_t> ranks;
  for (const auto& [left, right] : contents->merges) {
    ranks.emplace(std::string(contents->Text(left)) + ' ' + std::string(contents->Text(right)),
                  static_cast<uint32_t>(ranks.size()));
  }
  const auto rank_of = [&](const std::string& l, const std::string& r) -> std::optional<double> {
    const auto it = ranks.find(l + ' ' + r);
    return it == ranks.end() ? std::nullopt : std::optional<double>(it->second);
  };
  const auto whole = TokenizerFromJson(file, "test", {.cut = false});
  ASSERT_TRUE(whole);
  for (uint64_t seed = 0; seed < 3000; ++seed) {
    const std::string text = RandomText(*gemma4_, seed);
    const std::vector<int32_t> expected = IdsOf(MergePlainly(text, rank_of), *gemma4_);
    ASSERT_EQ(gemma4_->Encode(text), expected) << "seed " << seed << " text " << text;
    ASSERT_EQ((*whole)->Encode(text), expected) << "seed " << seed << " text " << text;
  }
}

TEST_F(FullVocabulary, DecodingGivesRandomTextsBack) {
  for (uint64_t seed = 5000; seed < 7000; ++seed) {
    std::string text = RandomText(*gemma4_, seed);
    if (!IsValidUtf8(text) || text.find(kMetaSpaceUtf8) != std::string::npos) continue;
    ASSERT_EQ(gemma4_->Decode(gemma4_->Encode(text), false), text) << "seed " << seed;
  }
}

// Every control string comes out as text when it stands in plain text.
TEST_F(FullVocabulary, PlainTextHoldsNoControlIds) {
  for (int32_t id = 0; id < gemma4_->size(); ++id) {
    if (gemma4_->Kind(id) != PieceKind::kControl) continue;
    const std::string text(gemma4_->PieceText(id));
    EXPECT_EQ(gemma4_->Encode(text, {.parse_special = true}), std::vector<int32_t>{id});
    const std::vector<int32_t> plain = gemma4_->Encode(text);
    EXPECT_GT(plain.size(), 1u) << text;
    for (const int32_t one : plain) EXPECT_NE(gemma4_->Kind(one), PieceKind::kControl) << text;
    EXPECT_EQ(gemma4_->Decode(plain, true), text);
  }
}

}  // namespace
}  // namespace carat
