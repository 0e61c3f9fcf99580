// SPDX-License-Identifier: Apache-2.0
// The merge rule of a vocabulary: which two adjacent symbols join, in which order, into what.
// Both kinds of rule become (left, right) -> (rank, result): merge lists by position, scores by the
// order of the union's score (equal scores, equal rank).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "text/hash.h"
#include "text/vocabulary.h"

namespace carat {

// Two pieces that join, as texts.
using MergePair = std::pair<std::string_view, std::string_view>;

class MergeTable {
 public:
  static constexpr uint32_t kNoRank = 0xFFFFFFFF;
  static constexpr int32_t kNoSymbol = -1;

  struct Merge {
    uint32_t rank = kNoRank;  // lower goes first
    int32_t result = kNoSymbol;
  };

  struct Options {
    // False: user-defined pieces are control strings that plain text must not be able to form.
    bool form_user_defined = true;
  };

  // Pairs in order of rank; of equal pairs the first counts. Both parts and their union must be
  // pieces. Errors: kBadFile.
  static Result<MergeTable> FromMerges(const Vocabulary& vocabulary,
                                       const std::vector<MergePair>& merges,
                                       const std::string& file, Options options);
  // Two symbols join when their union is a piece, the highest score first. Errors: kBadFile.
  static Result<MergeTable> FromScores(const Vocabulary& vocabulary,
                                       const std::vector<float>& scores, const std::string& file,
                                       Options options);

  // The symbol of a code point: its piece; or an id from vocabulary.size() up for one that is no
  // piece but joins with others (scores only); or kNoSymbol for one that is spelled in bytes.
  int32_t SymbolOf(uint32_t code_point) const {
    if (code_point < kDirect) return direct_[code_point];
    return RareSymbol(code_point);
  }

  Merge Find(int32_t left, int32_t right) const {
    const uint64_t key = KeyOf(left, right);
    for (size_t i = SlotOf(key);; i = (i + 1) & mask_) {
      const Slot& slot = slots_[i];
      if (slot.key == key) return slot.merge;
      if (slot.key == kNoKey) return {};
    }
  }

  // Starts loading what Find(left, right) will read.
  void Prefetch(int32_t left, int32_t right) const {
    __builtin_prefetch(&slots_[SlotOf(KeyOf(left, right))]);
  }

  // False when no result of a merge holds `a` directly followed by `b`. Then no symbol ever spans
  // that boundary, whatever the ranks, so a text may be cut there: both sides merge as they would
  // alone. The symbol for a space, U+2581, is to be passed as U+0020.
  bool MayJoin(uint32_t a, uint32_t b) const {
    if (a < 128 && b < 128) return ascii_joins_[a][b >> 6] >> (b & 63) & 1;
    const uint64_t bit = JoinBit(a, b);
    return joins_[bit >> 6] >> (bit & 63) & 1;
  }

  // The code point of a symbol that is no piece.
  uint32_t CodePointOf(int32_t symbol) const { return extra_[symbol - first_extra_]; }

  uint64_t bytes() const;

 private:
  // Symbols of most text are found by indexing.
  static constexpr uint32_t kDirect = 0x10000;
  static constexpr uint64_t kNoKey = ~uint64_t{0};
  // A filter with false positives, which only cost time: Gemma's 33,695 pairs set 3 % of the bits.
  static constexpr int kJoinBitsLog2 = 20;

  struct Slot {
    uint64_t key = kNoKey;
    Merge merge;
  };

  explicit MergeTable(const Vocabulary& vocabulary, Options options);

  static uint64_t KeyOf(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  size_t SlotOf(uint64_t key) const { return MixHash(key) & mask_; }
  static uint64_t JoinBit(uint32_t a, uint32_t b) {
    return ((uint64_t{a} << 32 | b) * 0xD6E8FEB86659FD93u) >> (64 - kJoinBitsLog2);
  }

  bool Merges(int32_t id) const;
  int32_t RareSymbol(uint32_t code_point) const;
  void AddExtraSymbols(const std::vector<int32_t>& pieces);
  void Reserve(size_t pairs);
  Status Insert(int32_t left, int32_t right, Merge merge, const std::string& file);
  void AllowJoins(std::string_view union_text);

  const Vocabulary* vocabulary_ = nullptr;  // while building
  Options options_;
  std::vector<int32_t> direct_;
  std::vector<std::pair<uint32_t, int32_t>> rare_;  // sorted: code point, symbol
  std::vector<uint32_t> extra_;                     // code points of symbols that are no pieces
  int32_t first_extra_ = 0;
  std::vector<Slot> slots_;
  size_t mask_ = 0;
  std::array<std::array<uint64_t, 2>, 128> ascii_joins_{};
  std::vector<uint64_t> joins_;
};

}  // namespace carat
