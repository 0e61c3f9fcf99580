// SPDX-License-Identifier: Apache-2.0
// For the tests of text/: small vocabularies, where the large ones lie, and the merge rule written
// down as plainly as possible.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/code_points.h"
#include "text/tokenizer.h"

namespace carat {

// Collects pieces and owns their texts.
class VocabularyMaker {
 public:
  VocabularyMaker() { source_.file = "test"; }

  int32_t Add(std::string text, PieceKind kind = PieceKind::kNormal, float score = 0) {
    source_.pieces.push_back(Keep(std::move(text)));
    source_.kinds.push_back(kind);
    scores_.push_back(score);
    return static_cast<int32_t>(source_.pieces.size()) - 1;
  }
  // Ids 0..255 when called first.
  void AddBytes() {
    for (int b = 0; b < 256; ++b) Add(fmt::format("<0x{:02X}>", b), PieceKind::kByte);
  }
  void Merge(std::string text) { source_.merges.push_back(Keep(std::move(text))); }
  void UseScores() { source_.scores = scores_; }

  VocabularySource& source() { return source_; }
  const std::vector<float>& scores() const { return scores_; }

 private:
  std::string_view Keep(std::string text) { return texts_.emplace_back(std::move(text)); }

  VocabularySource source_;
  std::vector<float> scores_;
  std::deque<std::string> texts_;
};

// A vocabulary that tools/derive_vocabulary.py put into the cache.
inline std::string DerivedVocabulary(const std::string& name) {
  const char* cache = std::getenv("CARAT_CACHE");
  const char* xdg = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  std::string folder;
  if (cache != nullptr && *cache != 0) {
    folder = cache;
  } else if (xdg != nullptr && *xdg != 0) {
    folder = std::string(xdg) + "/carat";
  } else {
    folder = std::string(home != nullptr ? home : "") + "/.cache/carat";
  }
  return folder + "/vocab/" + name + "/tokenizer.json";
}

// Rank of a pair of texts, or nothing.
using PairRank = std::map<std::pair<std::string, std::string>, double>;

// prompting.md 1.3 steps 2 to 4, quadratic: the texts of the symbols of `text`.
template <class RankOf>  // std::optional<double>(left, right): lower goes first
std::vector<std::string> MergePlainly(std::string_view text, const RankOf& rank_of) {
  std::vector<std::string> symbols;
  for (size_t i = 0; i < text.size();) {
    const int n = CodePointAt(text, i).length;
    symbols.emplace_back(text[i] == ' ' ? kMetaSpaceUtf8 : text.substr(i, n));
    i += n;
  }
  while (true) {
    std::optional<double> best;
    size_t at = 0;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const std::optional<double> rank = rank_of(symbols[i], symbols[i + 1]);
      if (rank && (!best || *rank < *best)) {
        best = rank;
        at = i;
      }
    }
    if (!best) return symbols;
    symbols[at] += symbols[at + 1];
    symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(at) + 1);
  }
}

// Step 5: pieces, or else bytes.
inline std::vector<int32_t> IdsOf(const std::vector<std::string>& symbols,
                                  const Tokenizer& tokenizer) {
  std::vector<int32_t> ids;
  for (const std::string& symbol : symbols) {
    const int32_t id = tokenizer.Find(symbol);
    if (id >= 0 && tokenizer.Kind(id) != PieceKind::kControl) {
      ids.push_back(id);
      continue;
    }
    for (const char c : symbol) {
      ids.push_back(tokenizer.Find(fmt::format("<0x{:02X}>", static_cast<uint8_t>(c))));
    }
  }
  return ids;
}

}  // namespace carat
