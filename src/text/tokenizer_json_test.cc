// SPDX-License-Identifier: Apache-2.0
#include "text/tokenizer_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "text/test_util.h"

namespace carat {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// A small file as the `tokenizers` library writes it, with one part replaced.
std::string Json(const std::string& from = "", const std::string& to = "") {
  std::string json = R"({
    "version": "1.0", "truncation": null, "padding": {"strategy": [{"Fixed": [1, 2.5]}]},
    "added_tokens": [
      {"id": 0, "content": "<pad>", "single_word": false, "lstrip": false, "rstrip": false,
       "normalized": false, "special": true},
      {"id": 1, "content": "<bos>", "single_word": false, "lstrip": false, "rstrip": false,
       "normalized": false, "special": true},
      {"id": 8, "content": "<tag>", "single_word": false, "lstrip": false, "rstrip": false,
       "normalized": false, "special": false}],
    "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
    "pre_tokenizer": {"type": "Split", "pattern": {"String": " "},
                      "behavior": "MergedWithPrevious", "invert": false},
    "post_processor": {"type": "TemplateProcessing", "single": []},
    "decoder": {"type": "Sequence", "decoders": [
      {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
      {"type": "ByteFallback"}, {"type": "Fuse"}]},
    "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>",
      "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": true,
      "byte_fallback": true, "ignore_merges": false,
      "vocab": {"<pad>": 0, "<bos>": 1, "<unk>": 2, "a": 3, "b": 4, "ab": 5, "▁": 6, "▁ab": 7},
      "merges": [["a", "b"], ["▁", "ab"]]}})";
  if (!from.empty()) {
    const size_t at = json.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    json.replace(at, from.size(), to);
  }
  return json;
}

std::string ErrorOf(const std::string& json) {
  const auto tokenizer = Tokenizer::FromTokenizerJson(json, "dir/tokenizer.json");
  if (tokenizer) return "loads";
  EXPECT_EQ(tokenizer.error().code, Code::kBadFile);
  EXPECT_THAT(tokenizer.error().message, HasSubstr("dir/tokenizer.json: "));
  EXPECT_EQ(tokenizer.error().message.find('\n'), std::string::npos);
  return tokenizer.error().message;
}

std::shared_ptr<const Tokenizer> Make(const std::string& json) {
  auto tokenizer = Tokenizer::FromTokenizerJson(json, "test");
  EXPECT_TRUE(tokenizer) << tokenizer.error().message;
  return *tokenizer;
}

TEST(TokenizerJson, ReadsPiecesMergesAndAddedTokens) {
  const auto t = Make(Json());
  EXPECT_EQ(t->size(), 9);
  EXPECT_EQ(t->bos(), 1);
  EXPECT_EQ(t->eos(), -1);
  EXPECT_EQ(t->Kind(1), PieceKind::kControl);
  EXPECT_EQ(t->Kind(2), PieceKind::kUnknown);
  EXPECT_EQ(t->Kind(8), PieceKind::kUserDefined) << "beyond the vocabulary";
  EXPECT_THAT(t->Encode(" ab ab"), ElementsAre(7, 7));
  EXPECT_THAT(t->Encode("<tag>a"), ElementsAre(8, 3)) << "added and not special: always matched";
  EXPECT_THAT(t->Encode("<bos>a"), ElementsAre(2, 4, 2, 3));
  EXPECT_THAT(t->Encode("<bos>a", {.parse_special = true}), ElementsAre(1, 3));
}

TEST(TokenizerJson, ReadsMergesOfOlderFiles) {
  const auto t = Make(Json(R"([["a", "b"], ["▁", "ab"]])", R"(["a b", "▁ ab"])"));
  EXPECT_THAT(t->Encode(" ab"), ElementsAre(7));
}

TEST(TokenizerJson, RunsOfUnknownCharactersAreFusedIfTheFileSaysSo) {
  EXPECT_THAT(Make(Json())->Encode("xyza"), ElementsAre(2, 3));
  EXPECT_THAT(Make(Json(R"("fuse_unk": true)", R"("fuse_unk": false)"))->Encode("xyza"),
              ElementsAre(2, 2, 2, 3));
}

TEST(TokenizerJson, AcceptsWhatMayBeAbsent) {
  EXPECT_EQ(ErrorOf(Json(R"("type": "BPE",)")), "loads");
  EXPECT_EQ(ErrorOf(Json(R"("ignore_merges": false,)")), "loads");
  EXPECT_EQ(
      ErrorOf(Json(R"("continuing_subword_prefix": null)", R"("continuing_subword_prefix": "")")),
      "loads");
  EXPECT_EQ(ErrorOf(Json(R"([["a", "b"], ["▁", "ab"]])", "[]")), "loads");
}

TEST(TokenizerJson, RefusesOtherWaysOfEncoding) {
  const struct {
    const char *from, *to, *message;
  } cases[] = {
      {R"("type": "BPE")", R"("type": "Unigram")", "model.type is \"Unigram\", expected \"BPE\""},
      {R"("dropout": null)", R"("dropout": 0.1)", "model.dropout is \"0.1\""},
      {R"("continuing_subword_prefix": null)", R"("continuing_subword_prefix": "##")",
       "model.continuing_subword_prefix is \"##\""},
      {R"("end_of_word_suffix": null)", R"("end_of_word_suffix": "</w>")",
       "model.end_of_word_suffix is \"</w>\""},
      {R"("byte_fallback": true)", R"("byte_fallback": false)", "model.byte_fallback is \"false\""},
      {R"("ignore_merges": false)", R"("ignore_merges": true)", "model.ignore_merges is \"true\""},
      {R"("type": "Replace", "pattern": {"String": " "}, "content": "▁")", R"("type": "NFC")",
       "normalizer.type is \"NFC\""},
      {R"("content": "▁"})", R"("content": "_"})", "normalizer.content is \"_\""},
      {R"("type": "Split")", R"("type": "ByteLevel")", "pre_tokenizer.type is \"ByteLevel\""},
      {R"({"type": "ByteFallback"})", R"({"type": "Strip"})",
       "decoder.decoders.1.type is \"Strip\""},
      {R"({"type": "Fuse"}])", R"({"type": "Fuse"}, {"type": "Strip"}])",
       "decoder.decoders.3.type is \"Strip\""},
      {R"("unk_token": "<unk>")", R"("unk_token": "[UNK]")", "\"[UNK]\" is not a piece"},
      {R"("lstrip": false, "rstrip": false)", R"("lstrip": true, "rstrip": false)",
       "added token \"<pad>\" sets lstrip"},
      {R"("content": "<tag>", "single_word": false, "lstrip": false, "rstrip": false,
       "normalized": false)",
       R"("content": "a b", "normalized": true)", "\"a b\" is normalized and holds a space"},
  };
  for (const auto& c : cases) {
    EXPECT_THAT(ErrorOf(Json(c.from, c.to)), HasSubstr(c.message)) << c.from;
  }
}

TEST(TokenizerJson, RefusesContradictions) {
  const struct {
    const char *from, *to, *message;
  } cases[] = {
      {R"("a": 3)", R"("a": 4)", "id 4 is both \"a\" and \"b\""},
      {R"("a": 3)", R"("a": -3)", "id -3 in model.vocab, expected 0..16777215"},
      {R"("a": 3)", R"("a": 3.5)", "id 3.5 in model.vocab"},
      {R"("a": 3)", R"("a": 16777216)", "id 16777216 in model.vocab"},
      {R"("a": 3)", R"("a": 9999999)", "ids up to 9999999 for 11 pieces"},
      {R"("a": 3)", R"("a": "3")", "id 3 in model.vocab"},
      {R"("a": 3)", R"("a": null)", "id null in model.vocab"},
      {R"("a": 3)", R"("a": [3])", "an array in model.vocab"},
      {R"("id": 8)", R"("id": 5)", "\"<tag>\" has id 5, which is \"ab\""},
      {R"("id": 8)", R"("id": -1)", "id -1 in added_tokens"},
      {R"("id": 8, )", "", "added token \"<tag>\" has no id"},
      {R"("content": "<tag>")", R"("content": "")", "added token 8 has no text"},
      {R"(["a", "b"])", R"(["a"])", "merge 0 has 1 pieces, expected 2"},
      {R"(["a", "b"])", R"(["a", "b", "a"])", "merge 0 has more than 2 pieces"},
      {R"(["a", "b"])", R"([])", "merge 0 has 0 pieces"},
      {R"(["a", "b"])", R"("ab")", "merge 0 is \"ab\", expected two pieces"},
      {R"(["a", "b"])", R"(["a", 1])", "\"1\" in model.merges, expected texts"},
      {R"(["a", "b"])", R"({"a": "b"})", "an object in model.merges, expected an array"},
      {R"(["a", "b"])", R"(["a", ["b"]])", "an array in model.merges"},
      {R"(["a", "b"])", R"(["b", "a"])", "\"ba\" is not a piece"},
      {R"("added_tokens": [)", R"("added_tokens": [7,)", "\"7\" in added_tokens"},
      {R"("added_tokens": [)", R"("added_tokens": [[],)", "an array in added_tokens"},
      {R"("merges": [[)", R"("type": "BPE", "merges": [[)", "\"model.type\" twice"},
      {R"("merges": [[)", R"("vocab": {}, "merges": [[)", "\"model.vocab\" twice"},
      {R"("vocab": {"<pad>": 0, "<bos>": 1, "<unk>": 2, "a": 3, "b": 4, "ab": 5, "▁": 6, "▁ab": 7})",
       R"("vocab": ["a"])", "an array in \"vocab\", expected an object"},
      {R"("vocab")", R"("words")", "no model.vocab"},
  };
  for (const auto& c : cases) {
    EXPECT_THAT(ErrorOf(Json(c.from, c.to)), HasSubstr(c.message)) << c.from << " " << c.to;
  }
}

TEST(TokenizerJson, RefusesWhatIsNotJson) {
  EXPECT_THAT(ErrorOf(""), HasSubstr("byte 1"));
  EXPECT_THAT(ErrorOf("[]"), HasSubstr("the document is an array"));
  EXPECT_THAT(ErrorOf("{}"), HasSubstr("no model.vocab"));
  EXPECT_THAT(ErrorOf("7"), HasSubstr("no model.vocab"));
  EXPECT_THAT(ErrorOf(R"({"model": 7})"), HasSubstr("no model.vocab"));
  EXPECT_THAT(ErrorOf(Json("\"a\": 3", "\"a\xFF\": 3")), HasSubstr("invalid"));
  const std::string json = Json();
  EXPECT_THAT(ErrorOf(json + '\0'), HasSubstr("NUL"));
  for (size_t length = 0; length < json.size(); ++length) {
    EXPECT_NE(ErrorOf(json.substr(0, length)), "loads") << length;
  }
}

TEST(TokenizerJson, RefusesDeepNesting) {
  const std::string deep = std::string(100000, '[') + std::string(100000, ']');
  EXPECT_THAT(ErrorOf(Json(R"("truncation": null)", R"("truncation": )" + deep)),
              HasSubstr("nested deeper than 64"));
}

TEST(TokenizerJson, RefusesEndlessSettings) {
  std::string many = "{";
  for (int i = 0; i < 10000; ++i) many += fmt::format("\"{}\": 1, ", i);
  EXPECT_THAT(ErrorOf(Json(R"("invert": false)", R"("more": )" + many + "\"x\": 1}")),
              HasSubstr("too many settings"));
}

TEST(TokenizerJson, IdsThatNobodyHasAreUnused) {
  const auto t = Make(Json(R"("id": 8)", R"("id": 20)"));
  EXPECT_EQ(t->size(), 21);
  EXPECT_EQ(t->Kind(15), PieceKind::kUnused);
  EXPECT_EQ(t->PieceText(15), "");
}

}  // namespace
}  // namespace carat
