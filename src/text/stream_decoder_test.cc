// SPDX-License-Identifier: Apache-2.0
#include "text/stream_decoder.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "base/utf8.h"
#include "text/test_util.h"

namespace carat {
namespace {

// Ids 0..255 are bytes, 256 "▁a", 257 a control string.
std::shared_ptr<const Tokenizer> Bytes() {
  VocabularyMaker v;
  v.AddBytes();
  v.Add("▁a");
  v.Add("<bos>", PieceKind::kControl);
  v.UseScores();
  return *Tokenizer::Create(v.source());
}

TEST(StreamDecoder, HoldsIncompleteCharactersBack) {
  const auto t = Bytes();
  StreamDecoder decoder(t.get(), true);
  EXPECT_EQ(decoder.Push(0xF0), "");
  EXPECT_EQ(decoder.Push(0x9D), "");
  EXPECT_EQ(decoder.Push(0x94), "");
  EXPECT_EQ(decoder.Push(0x98), "𝔘");
  EXPECT_EQ(decoder.Push(256), " a");
  EXPECT_EQ(decoder.Flush(), "");
}

TEST(StreamDecoder, PrintsABrokenCharacterByteByByte) {
  const auto t = Bytes();
  StreamDecoder decoder(t.get(), true);
  EXPECT_EQ(decoder.Push(0xFF), "\uFFFD") << "never the beginning of a character";
  EXPECT_EQ(decoder.Push(0xE2), "");
  EXPECT_EQ(decoder.Push(0x82), "");
  EXPECT_EQ(decoder.Push(256), "\uFFFD\uFFFD a");
  EXPECT_EQ(decoder.Push(0xE2), "");
  EXPECT_EQ(decoder.Push('x'), "\uFFFDx");
  EXPECT_EQ(decoder.Push(0xC3), "");
  EXPECT_EQ(decoder.Flush(), "\uFFFD");
  EXPECT_EQ(decoder.Flush(), "");
}

TEST(StreamDecoder, SkipsHiddenPiecesAndBadIds) {
  const auto t = Bytes();
  const auto stream = [&](bool skip_special, const std::vector<int32_t>& ids) {
    StreamDecoder decoder(t.get(), skip_special);
    std::string text;
    for (const int32_t id : ids) decoder.Push(id, &text);
    decoder.Flush(&text);
    return text;
  };
  EXPECT_EQ(stream(true, {0xC3, 257, 0xA9}), "é");
  EXPECT_EQ(stream(false, {0xC3, 257, 0xA9}), "\uFFFD<bos>\uFFFD");
  EXPECT_EQ(stream(true, {-1, 258, 256}), " a");
}

TEST(StreamDecoder, AllOutputIsValidUtf8AndLateByAtMostThreeBytes) {
  const auto t = Bytes();
  for (uint64_t seed = 0; seed < 200; ++seed) {
    StreamDecoder decoder(t.get(), false);
    std::string text;
    std::vector<int32_t> ids;
    for (uint64_t i = 0; i < 40; ++i) {
      const uint64_t r = CounterRandom(seed, 1, i);
      // Mostly bytes that lead or continue characters.
      ids.push_back(r % 8 == 0 ? 256 : static_cast<int32_t>(0x80 | (r >> 8 & 0x7F)));
      const std::string piece = decoder.Push(ids.back());
      EXPECT_TRUE(IsValidUtf8(piece));
      text += piece;
    }
    const std::string rest = decoder.Flush();
    EXPECT_LE(rest.size(), 9u);
    text += rest;
    // One U+FFFD a byte, and everything else in its place.
    std::string expected;
    std::string run;
    for (const int32_t id : ids) {
      if (id < 256) {
        run.push_back(static_cast<char>(id));
        continue;
      }
      expected += ReplaceInvalidUtf8(run) + " a";
      run.clear();
    }
    EXPECT_EQ(text, expected + ReplaceInvalidUtf8(run));
  }
}

}  // namespace
}  // namespace carat
