// SPDX-License-Identifier: Apache-2.0
// The merge engine against the rule written down plainly (test_util.h), and cutting against not
// cutting, on vocabularies and texts made at random.
#include "text/bpe.h"

#include <gtest/gtest.h>

#include <chrono>
#include <set>
#include <thread>

#include "base/rng.h"
#include "text/bpe_tokenizer.h"
#include "text/test_util.h"

namespace carat {
namespace {

class Random {
 public:
  explicit Random(uint64_t seed) : seed_(seed) {}
  // 0..n-1.
  uint64_t Below(uint64_t n) { return CounterRandom(seed_, 7, counter_++) % n; }
  template <class T>
  const T& Of(const std::vector<T>& list) {
    return list[Below(list.size())];
  }

 private:
  uint64_t seed_, counter_ = 0;
};

const std::vector<std::string> kAlphabet = {"a", "b", "c", "▁", "\n", "\t", "1", "é", "日", "😀"};
// What texts hold besides: a space, characters that are no pieces, broken UTF-8.
const std::vector<std::string> kOthers = {" ",    " ",    " ",        "\r", "ß",
                                          "🙂", "\xFF", "\xE6\x97", "▁"};

std::string RandomText(Random* random, size_t max_characters) {
  std::string text;
  for (size_t n = random->Below(max_characters + 1); n > 0; --n) {
    const std::string& c = random->Below(4) == 0 ? random->Of(kOthers) : random->Of(kAlphabet);
    // Runs, also longer than any piece.
    for (size_t repeat = random->Below(8) == 0 ? random->Below(70) : 1; repeat > 0; --repeat) {
      text += c;
    }
  }
  return text;
}

// Merges in any order of ranks: unlike a trained list, later ones may have the lower rank.
struct RandomMerges {
  VocabularyMaker maker;
  PairRank ranks;

  explicit RandomMerges(Random* random) {
    maker.AddBytes();
    std::vector<std::string> pieces(kAlphabet);
    std::set<std::string> known(pieces.begin(), pieces.end());
    std::vector<std::pair<std::string, std::string>> pairs;
    for (size_t i = 5 + random->Below(60); i > 0; --i) {
      const std::string left = random->Of(pieces), right = random->Of(pieces);
      if (left.size() + right.size() > 60) continue;
      pairs.emplace_back(left, right);
      if (known.insert(left + right).second) pieces.push_back(left + right);
    }
    for (const std::string& piece : pieces) maker.Add(piece);
    for (size_t i = pairs.size(); i > 1; --i) std::swap(pairs[i - 1], pairs[random->Below(i)]);
    for (const auto& pair : pairs) {
      if (!ranks.emplace(pair, ranks.size()).second) continue;
      maker.Merge(pair.first + " " + pair.second);
    }
  }
  std::shared_ptr<const Tokenizer> Make(bool cut) {
    const auto merges = SplitMerges(maker.source());
    return *BuildTokenizer(maker.source(), &*merges, {.cut = cut});
  }
};

TEST(Bpe, EqualsThePlainRuleForAnyMergeList) {
  for (uint64_t seed = 0; seed < 80; ++seed) {
    Random random(seed);
    RandomMerges merges(&random);
    const auto cutting = merges.Make(true), whole = merges.Make(false);
    const auto rank_of = [&](const std::string& l, const std::string& r) -> std::optional<double> {
      const auto it = merges.ranks.find({l, r});
      return it == merges.ranks.end() ? std::nullopt : std::optional(it->second);
    };
    for (int i = 0; i < 40; ++i) {
      const std::string text = RandomText(&random, i % 4 == 0 ? 200 : 20);
      const std::vector<int32_t> expected = IdsOf(MergePlainly(text, rank_of), *whole);
      ASSERT_EQ(whole->Encode(text), expected) << "seed " << seed << " text " << text;
      ASSERT_EQ(cutting->Encode(text), expected) << "seed " << seed << " text " << text;
    }
  }
}

TEST(Bpe, EqualsThePlainRuleForAnyScores) {
  for (uint64_t seed = 1000; seed < 1060; ++seed) {
    Random random(seed);
    VocabularyMaker maker;
    maker.AddBytes();
    std::map<std::string, float> scores;
    // Pieces whose parts may be no pieces, and few different scores: ties go to the left.
    for (size_t i = 4 + random.Below(80); i > 0; --i) {
      std::string piece;
      for (size_t n = 1 + random.Below(4); n > 0; --n) piece += random.Of(kAlphabet);
      if (scores.count(piece) != 0) continue;
      scores[piece] = -static_cast<float>(random.Below(20));
      maker.Add(piece, PieceKind::kNormal, scores[piece]);
    }
    maker.UseScores();
    const auto cutting = *BuildTokenizer(maker.source(), nullptr, {.cut = true});
    const auto whole = *BuildTokenizer(maker.source(), nullptr, {.cut = false});
    const auto rank_of = [&](const std::string& l, const std::string& r) -> std::optional<double> {
      const auto it = scores.find(l + r);
      return it == scores.end() ? std::nullopt : std::optional<double>(-it->second);
    };
    for (int i = 0; i < 40; ++i) {
      const std::string text = RandomText(&random, i % 4 == 0 ? 200 : 20);
      const std::vector<int32_t> expected = IdsOf(MergePlainly(text, rank_of), *whole);
      ASSERT_EQ(whole->Encode(text), expected) << "seed " << seed << " text " << text;
      ASSERT_EQ(cutting->Encode(text), expected) << "seed " << seed << " text " << text;
    }
  }
}

TEST(Bpe, LongTextsGiveTheSameAsTheirRepeatedWords) {
  Random random(5);
  RandomMerges merges(&random);
  const auto t = merges.Make(true), whole = merges.Make(false);
  std::vector<std::string> words;
  for (int i = 0; i < 40; ++i) words.push_back(RandomText(&random, 12));
  std::string text;
  while (text.size() < 100000) text += random.Of(words);
  EXPECT_EQ(t->Encode(text), whole->Encode(text));
}

TEST(Bpe, DecodingGivesTheTextBack) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    Random random(seed);
    RandomMerges merges(&random);
    const auto t = merges.Make(true);
    for (int i = 0; i < 50; ++i) {
      std::string text = RandomText(&random, 60), spaced;
      if (!IsValidUtf8(text)) continue;
      const std::vector<int32_t> ids = t->Encode(text);
      const std::string decoded = t->Decode(ids, false);
      for (size_t at = 0; at < text.size();) {  // a literal U+2581 comes back as a space
        const CodePoint c = CodePointAt(text, at);
        spaced += c.value == kMetaSpace ? " " : text.substr(at, c.length);
        at += c.length;
      }
      ASSERT_EQ(decoded, spaced) << "seed " << seed;
      ASSERT_EQ(t->Encode(decoded), ids) << "seed " << seed;
    }
  }
}

TEST(Bpe, ThreadsShareATokenizer) {
  Random random(9);
  RandomMerges merges(&random);
  std::vector<std::string> texts;
  for (int i = 0; i < 200; ++i) texts.push_back(RandomText(&random, 30));
  const auto once = merges.Make(true), shared = merges.Make(true);
  const auto encode_all = [&](const Tokenizer& t) {
    std::vector<std::vector<int32_t>> ids;
    for (const std::string& text : texts) ids.push_back(t.Encode(text));
    return ids;
  };
  std::vector<std::vector<int32_t>> a, b;
  std::thread first([&] { a = encode_all(*shared); }), second([&] { b = encode_all(*shared); });
  first.join();
  second.join();
  EXPECT_EQ(a, encode_all(*once));
  EXPECT_EQ(a, b);
}

// Ids of any order stay what they are after one round.
TEST(Bpe, EncodingIsStableAfterOneRound) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Random random(seed);
    RandomMerges merges(&random);
    const auto t = merges.Make(true);
    std::vector<int32_t> ids;
    for (int i = 0; i < 100; ++i) ids.push_back(static_cast<int32_t>(random.Below(t->size())));
    const std::string text = t->Decode(ids, false);
    const std::string again = t->Decode(t->Encode(text), false);
    EXPECT_EQ(again, text) << "seed " << seed;
  }
}

// A text that can't be cut and merges all the way: quadratic work would take minutes.
TEST(Bpe, MergesAMegabyteOfOneLetterAtOnce) {
  VocabularyMaker maker;
  maker.AddBytes();
  std::string piece = "a";
  maker.Add(piece);
  for (int i = 0; i < 6; ++i) {
    maker.Merge(piece + " " + piece);
    piece += piece;
    maker.Add(piece);
  }
  const auto t = *Tokenizer::Create(maker.source());
  const auto start = std::chrono::steady_clock::now();
  const std::vector<int32_t> ids = t->Encode(std::string(1 << 20, 'a'));
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  EXPECT_EQ(ids, std::vector<int32_t>((1 << 20) / 64, 262));
  EXPECT_LT(took.count(), 10.0);
}

}  // namespace
}  // namespace carat
