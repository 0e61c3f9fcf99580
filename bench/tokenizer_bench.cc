// SPDX-License-Identifier: Apache-2.0
// Encoding speed on one core with Gemma's full vocabulary, in bytes of text per second. Needs what
// tools/derive_vocabulary.py puts into the cache; CARAT_VOCABULARY names another tokenizer.json.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/rng.h"
#include "text/tokenizer.h"

namespace carat {
namespace {

std::string VocabularyPath() {
  const auto env = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value != nullptr ? value : "");
  };
  if (!env("CARAT_VOCABULARY").empty()) return env("CARAT_VOCABULARY");
  std::string cache = env("CARAT_CACHE");
  if (cache.empty() && !env("XDG_CACHE_HOME").empty()) cache = env("XDG_CACHE_HOME") + "/carat";
  if (cache.empty()) cache = env("HOME") + "/.cache/carat";
  return cache + "/vocab/gemma4-derived/tokenizer.json";
}

std::string ReadVocabulary() {
  std::ifstream file(VocabularyPath(), std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// Loaded once; null where the file is missing.
const Tokenizer* Gemma() {
  static const std::shared_ptr<const Tokenizer> tokenizer = [] {
    auto loaded = Tokenizer::FromTokenizerJson(ReadVocabulary(), VocabularyPath());
    return loaded ? *loaded : nullptr;
  }();
  return tokenizer.get();
}

// Words in a text of `bytes` bytes of which about `distinct` percent occur once: half of those are
// no piece of the vocabulary. The rest are a few hundred common words.
std::string Prose(const Tokenizer& tokenizer, size_t bytes, int distinct) {
  std::vector<std::string> words;
  for (int32_t id = 1000; id < 200000 && id < tokenizer.size(); ++id) {
    const std::string_view piece = tokenizer.PieceText(id);
    bool letters = piece.size() > 2 && piece[0] == ' ';
    for (const char c : piece.substr(std::min<size_t>(1, piece.size()))) {
      letters = letters && c >= 'a' && c <= 'z';
    }
    if (letters) words.emplace_back(piece);
  }
  std::string text;
  for (uint64_t i = 0; text.size() < bytes && !words.empty(); ++i) {
    const uint64_t r = CounterRandom(1, 2, i);
    if (r % 100 >= static_cast<uint64_t>(distinct)) {
      text += words[(r >> 8) % 400];
    } else {
      text += words[(r >> 8) % words.size()];
      if (r >> 40 & 1) text += words[(r >> 41) % words.size()].substr(1);
    }
    if ((r >> 60) == 0) text += r >> 59 & 1 ? "," : ".\n";
  }
  return text;
}

void Encode(benchmark::State& state, const std::string& text) {
  std::vector<int32_t> ids;
  for (auto _ : state) {
    ids.clear();
    Gemma()->Encode(text, {}, &ids);
    benchmark::DoNotOptimize(ids.data());
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text.size()));
}

void BM_Load(benchmark::State& state) {
  const std::string json = ReadVocabulary();
  if (json.empty()) {
    state.SkipWithError("no vocabulary: run tools/derive_vocabulary.py");
    return;
  }
  for (auto _ : state) {
    benchmark::DoNotOptimize(Tokenizer::FromTokenizerJson(json, VocabularyPath()));
  }
}
BENCHMARK(BM_Load)->Unit(benchmark::kMillisecond);

// Argument: percent of words that occur once.
void BM_EncodeProse(benchmark::State& state) {
  if (Gemma() == nullptr) {
    state.SkipWithError("no vocabulary: run tools/derive_vocabulary.py");
    return;
  }
  Encode(state, Prose(*Gemma(), size_t{4} << 20, static_cast<int>(state.range(0))));
}
BENCHMARK(BM_EncodeProse)->Arg(0)->Arg(20)->Arg(50)->Arg(100)->Unit(benchmark::kMillisecond);

// One unit repeated: what can't be cut, or can be cut everywhere. Argument: bytes of text.
void BM_EncodeRepeated(benchmark::State& state, const char* unit) {
  if (Gemma() == nullptr) {
    state.SkipWithError("no vocabulary: run tools/derive_vocabulary.py");
    return;
  }
  std::string text;
  while (text.size() < static_cast<size_t>(state.range(0))) text += unit;
  Encode(state, text);
}
#define CARAT_REPEATED(name, unit)                 \
  BENCHMARK_CAPTURE(BM_EncodeRepeated, name, unit) \
      ->Arg(1 << 16)                               \
      ->Arg(1 << 20)                               \
      ->Unit(benchmark::kMillisecond)
CARAT_REPEATED(letter, "a");
CARAT_REPEATED(spaces, " ");
CARAT_REPEATED(newlines, "\n");
CARAT_REPEATED(emoji, "\xF0\x9F\x98\x8A");
CARAT_REPEATED(word, "internationalization");
CARAT_REPEATED(dashes, "-");

void BM_Decode(benchmark::State& state) {
  if (Gemma() == nullptr) {
    state.SkipWithError("no vocabulary: run tools/derive_vocabulary.py");
    return;
  }
  const std::string text = Prose(*Gemma(), size_t{1} << 20, 20);
  const std::vector<int32_t> ids = Gemma()->Encode(text);
  for (auto _ : state) benchmark::DoNotOptimize(Gemma()->Decode(ids, true));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text.size()));
}
BENCHMARK(BM_Decode)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace carat

BENCHMARK_MAIN();
