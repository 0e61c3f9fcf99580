// SPDX-License-Identifier: Apache-2.0
#include "text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "text/test_util.h"

namespace carat {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// 0-255 bytes, 256 <pad>, 257 <eos>, 258 <bos>, 259 <unk>, 260 <|turn>, 261 <|channel> (shown),
// 262 \n, 263 ▁, 264 a, 265 b, 266 ab, 267 ▁a, 268 ▁ab, 269 \n\n, 270 ▁▁, 271 <
class MergeVocabulary : public VocabularyMaker {
 public:
  MergeVocabulary() {
    AddBytes();
    Add("<pad>", PieceKind::kControl);
    Add("<eos>", PieceKind::kControl);
    Add("<bos>", PieceKind::kControl);
    Add("<unk>", PieceKind::kControl);
    Add("<|turn>", PieceKind::kControl);
    Add("<|channel>", PieceKind::kUserDefined);
    for (const char* piece : {"\n", "▁", "a", "b", "ab", "▁a", "▁ab", "\n\n", "▁▁", "<"}) {
      Add(piece);
    }
    for (const char* merge : {"▁ ▁", "a b", "▁ a", "▁ ab", "\n \n"}) Merge(merge);
    source().padding = 256;
    source().eos = 257;
    source().bos = 258;
    source().unknown = 259;
    source().match_all_user_defined = false;
  }
};

std::shared_ptr<const Tokenizer> Make(const VocabularySource& source) {
  auto tokenizer = Tokenizer::Create(source);
  EXPECT_TRUE(tokenizer) << tokenizer.error().message;
  return tokenizer ? *tokenizer : nullptr;
}

std::string ErrorOf(const VocabularySource& source) {
  const auto tokenizer = Tokenizer::Create(source);
  if (tokenizer) return "loads";
  EXPECT_EQ(tokenizer.error().code, Code::kBadFile);
  EXPECT_EQ(tokenizer.error().message.find('\n'), std::string::npos);
  return tokenizer.error().message;
}

TEST(Tokenizer, MergesByRankThenPosition) {
  MergeVocabulary v;
  const auto t = Make(v.source());
  EXPECT_THAT(t->Encode("ab"), ElementsAre(266));
  EXPECT_THAT(t->Encode(" ab"), ElementsAre(268));
  EXPECT_THAT(t->Encode("aab b"), ElementsAre(264, 266, 263, 265));
  EXPECT_THAT(t->Encode("a   a"), ElementsAre(264, 270, 267));
  EXPECT_THAT(t->Encode("\n\n\n"), ElementsAre(269, 262));
  EXPECT_THAT(t->Encode(""), ElementsAre());
}

TEST(Tokenizer, KeepsUnknownBytesAsByteTokens) {
  MergeVocabulary v;
  const auto t = Make(v.source());
  EXPECT_THAT(t->Encode("é"), ElementsAre(0xC3, 0xA9));
  EXPECT_THAT(t->Encode("a\xFF\xE2\x96"), ElementsAre(264, 0xFF, 0xE2, 0x96));
  EXPECT_THAT(t->Encode(std::string_view("\0\r", 2)), ElementsAre(0, 13));
  EXPECT_THAT(t->Encode("▁a"), ElementsAre(267)) << "a literal U+2581 is a space";
  EXPECT_THAT(t->Encode("<0x41>"), ElementsAre(271, '0', 'x', '4', '1', '>'));
}

TEST(Tokenizer, RecognisesControlStringsOnlyWhenAsked) {
  MergeVocabulary v;
  const auto t = Make(v.source());
  const std::string text = "<bos>a<|turn><|channel>";
  EXPECT_THAT(t->Encode(text, {.parse_special = true}), ElementsAre(258, 264, 260, 261));
  for (const int32_t id : t->Encode(text)) {
    EXPECT_NE(t->Kind(id), PieceKind::kControl);
    EXPECT_NE(t->Kind(id), PieceKind::kUserDefined);
  }
  EXPECT_EQ(t->Decode(t->Encode(text), true), text);
}

TEST(Tokenizer, PlainTextCannotMergeIntoAControlString) {
  MergeVocabulary v;
  const int32_t control = v.Add("<a", PieceKind::kControl);
  const int32_t shown = v.Add("<b", PieceKind::kUserDefined);
  v.Merge("< a");
  v.Merge("< b");
  const auto hardened = Make(v.source());
  EXPECT_THAT(hardened->Encode("<a<b"), ElementsAre(271, 264, 271, 265));
  EXPECT_THAT(hardened->Encode("<a<b", {.parse_special = true}), ElementsAre(control, shown));
  v.source().match_all_user_defined = true;
  EXPECT_THAT(Make(v.source())->Encode("<a<b"), ElementsAre(271, 264, shown));
}

TEST(Tokenizer, CutsUserDefinedPiecesOutLongestFirst) {
  MergeVocabulary v;
  v.source().match_all_user_defined = true;
  const int32_t two = v.Add("  ", PieceKind::kUserDefined);
  const int32_t three = v.Add("   ", PieceKind::kUserDefined);
  const int32_t tag = v.Add("<ab>", PieceKind::kUserDefined);
  const int32_t longer = v.Add("<ab>a", PieceKind::kControl);
  const auto t = Make(v.source());
  EXPECT_THAT(t->Encode("a  a"), ElementsAre(264, two, 264));
  EXPECT_THAT(t->Encode("    a"), ElementsAre(three, 267));
  EXPECT_THAT(t->Encode("     "), ElementsAre(three, two));
  EXPECT_THAT(t->Encode("<ab>ab"), ElementsAre(tag, 266)) << "a longer control string is no match";
  EXPECT_THAT(t->Encode("<ab>ab", {.parse_special = true}), ElementsAre(longer, 265));
  EXPECT_EQ(t->Decode({two, 264}, true), "  a");
}

TEST(Tokenizer, PutsOneBosInFront) {
  MergeVocabulary v;
  const auto t = Make(v.source());
  EXPECT_THAT(t->Encode("a", {.add_bos = true}), ElementsAre(258, 264));
  EXPECT_THAT(t->Encode("", {.add_bos = true}), ElementsAre(258));
  EXPECT_THAT(t->Encode("<bos>a", {.add_bos = true, .parse_special = true}), ElementsAre(258, 264));
  EXPECT_THAT(t->Encode("<bos><bos>", {.add_bos = true, .parse_special = true}),
              ElementsAre(258, 258));
  EXPECT_EQ(t->Encode("<bos>", {.add_bos = true}).size(), 6u) << "plain text is no BOS";
  std::vector<int32_t> ids = {7};
  t->Encode("<bos>a", {.add_bos = true, .parse_special = true}, &ids);
  EXPECT_THAT(ids, ElementsAre(7, 258, 264)) << "appends";
  v.source().bos = -1;
  EXPECT_THAT(Make(v.source())->Encode("a", {.add_bos = true}), ElementsAre(264));
}

TEST(Tokenizer, DecodesPiecesBytesAndControlStrings) {
  MergeVocabulary v;
  const auto t = Make(v.source());
  EXPECT_EQ(t->Decode({268, 270, 264}, false), " ab  a");
  EXPECT_EQ(t->Decode({258, 264, 260, 261}, false), "<bos>a<|turn><|channel>");
  EXPECT_EQ(t->Decode({258, 264, 260, 261}, true), "a<|channel>");
  EXPECT_EQ(t->Decode({0xC3, 0xA9}, true), "é");
  EXPECT_EQ(t->Decode({0xC3, 258, 0xA9}, true), "é") << "what is hidden does not interrupt";
  EXPECT_EQ(t->Decode({0xC3, 258, 0xA9}, false), "\uFFFD<bos>\uFFFD");
  EXPECT_EQ(t->Decode({0xC3, 0xA9, 0xC3, 264}, true), "\uFFFD\uFFFD\uFFFDa")
      << "a run of bytes is valid as a whole or not at all";
  EXPECT_EQ(t->Decode({0xE2, 0x96, 0x81}, true), "▁") << "spelled in bytes it stays what it is";
  EXPECT_EQ(t->Decode({-1, 9999, 264, INT32_MAX}, false), "a");
}

TEST(Tokenizer, TellsAboutPieces) {
  MergeVocabulary v;
  const auto t = Make(v.source());
  EXPECT_EQ(t->size(), 272);
  EXPECT_EQ(t->PieceText(268), " ab");
  EXPECT_EQ(t->PieceText(0xC3), "\xC3");
  EXPECT_EQ(t->PieceText(-1), "");
  EXPECT_EQ(t->Kind(272), PieceKind::kUnused);
  EXPECT_EQ(t->Find("▁ab"), 268);
  EXPECT_EQ(t->Find(" ab"), -1);
  EXPECT_EQ(t->bos(), 258);
  EXPECT_EQ(t->eos(), 257);
  EXPECT_GT(t->bytes(), 100000u);
}

TEST(Tokenizer, ShowsPiecesThatAreNotUtf8AsReplacementCharacters) {
  MergeVocabulary v;
  const int32_t odd = v.Add("x\xFFy");
  EXPECT_EQ(Make(v.source())->Decode({odd}, false), "x\uFFFDy");
}

TEST(Tokenizer, UsesTheUnknownPieceOnlyWithoutBytePieces) {
  VocabularyMaker v;
  v.Add("<unk>", PieceKind::kUnknown);
  v.Add("a");
  v.Add("b");
  v.Add("ab");
  v.Merge("a b");
  v.source().unknown = 0;
  const auto t = Make(v.source());
  EXPECT_THAT(t->Encode("ab??a \xFF"), ElementsAre(3, 0, 1, 0));
  EXPECT_EQ(t->Decode({1, 0}, true), "a");
  v.source().unknown = -1;
  EXPECT_THAT(ErrorOf(v.source()), HasSubstr("neither byte pieces nor an unknown piece"));
}

TEST(Tokenizer, ScoresJoinTheBestUnionFirst) {
  VocabularyMaker v;
  v.AddBytes();
  const int32_t a = v.Add("a", PieceKind::kNormal, -1), b = v.Add("b", PieceKind::kNormal, -1);
  const int32_t ab = v.Add("ab", PieceKind::kNormal, -3);
  const int32_t bb = v.Add("bb", PieceKind::kNormal, -2);
  const int32_t xy = v.Add("xy", PieceKind::kNormal, -4);  // x and y alone are no pieces
  const int32_t newline = v.Add("\n\n", PieceKind::kUserDefined, -1000);
  v.UseScores();
  const auto t = Make(v.source());
  EXPECT_THAT(t->Encode("abb"), ElementsAre(a, bb));
  EXPECT_THAT(t->Encode("aba"), ElementsAre(ab, a));
  EXPECT_THAT(t->Encode("bbb"), ElementsAre(bb, b));
  EXPECT_THAT(t->Encode("xyx"), ElementsAre(xy, 'x'));
  EXPECT_THAT(t->Encode("\n\n\n"), ElementsAre(newline, '\n'));
}

TEST(Tokenizer, RefusesVocabulariesThatContradictThemselves) {
  const auto with = [](const auto& change) {
    MergeVocabulary v;
    change(v);
    return ErrorOf(v.source());
  };
  EXPECT_EQ(with([](auto&) {}), "loads");
  EXPECT_THAT(with([](auto& v) {
                v.source().pieces.clear();
                v.source().kinds.clear();
              }),
              HasSubstr("the vocabulary is empty"));
  EXPECT_THAT(with([](auto& v) { v.source().kinds.pop_back(); }),
              HasSubstr("271 piece types for 272 pieces"));
  EXPECT_THAT(with([](auto& v) { v.source().scores.assign(271, 0); }),
              HasSubstr("271 scores for 272 pieces"));
  EXPECT_THAT(with([](auto& v) { v.source().merges.clear(); }),
              HasSubstr("neither merges nor scores"));
}

TEST(Tokenizer, RefusesSpecialIdsBeyondTheVocabulary) {
  for (int32_t VocabularySource::*id : {&VocabularySource::bos, &VocabularySource::eos,
                                        &VocabularySource::unknown, &VocabularySource::padding}) {
    MergeVocabulary v;
    v.source().*id = 272;
    EXPECT_THAT(ErrorOf(v.source()), HasSubstr("id 272, expected less than 272 pieces"));
    v.source().*id = -2;
    EXPECT_THAT(ErrorOf(v.source()), HasSubstr("id -2"));
    v.source().*id = 271;
    EXPECT_EQ(ErrorOf(v.source()), "loads");
  }
}

TEST(Tokenizer, RefusesBytePiecesThatAreNotOneByte) {
  for (const char* text : {"<0x-1>", "<0x1>", "<0xZZ>", "<0x100>", "<0x+1>", "<0X01>", "", "A"}) {
    MergeVocabulary v;
    v.source().pieces[3] = text;
    EXPECT_THAT(ErrorOf(v.source()), HasSubstr("byte piece 3 is \"" + std::string(text))) << text;
  }
  MergeVocabulary v;
  v.source().kinds[3] = PieceKind::kNormal;
  EXPECT_THAT(ErrorOf(v.source()), HasSubstr("byte piece <0x03> is missing"));
}

TEST(Tokenizer, RefusesMergesOfWhatAreNotPieces) {
  const std::pair<const char*, const char*> bad[] = {
      {"", "expected two pieces with a space between"},
      {"ab", "expected two pieces with a space between"},
      {" ab", "expected two pieces with a space between"},
      {"a ", "expected two pieces"},
      {"a zz", "\"zz\" is not a piece"},
      {"zz a", "\"zz\" is not a piece"},
      {"b a", "\"ba\" is not a piece"},
      {"a b a", "\"b a\" is not a piece"}};
  for (const auto& [merge, message] : bad) {
    MergeVocabulary v;
    v.Merge(merge);
    EXPECT_THAT(ErrorOf(v.source()), HasSubstr(message)) << merge;
    EXPECT_THAT(ErrorOf(v.source()), HasSubstr("merge 5 is")) << merge;
  }
}

TEST(Tokenizer, ReadsAnEscapedSpaceInAMerge) {
  MergeVocabulary v;
  v.Add(" ");
  v.Add(" a");
  v.Merge("Ġ a");  // pieces with real spaces exist but text never holds one
  EXPECT_THAT(Make(v.source())->Encode(" a"), ElementsAre(267));
}

TEST(Tokenizer, RefusesScoresThatAreNotNumbers) {
  VocabularyMaker v;
  v.AddBytes();
  v.Add("a", PieceKind::kNormal, std::numeric_limits<float>::quiet_NaN());
  v.UseScores();
  EXPECT_THAT(ErrorOf(v.source()), HasSubstr("score 256 is not a number"));
}

}  // namespace
}  // namespace carat
