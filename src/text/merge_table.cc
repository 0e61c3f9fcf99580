// SPDX-License-Identifier: Apache-2.0
#include "text/merge_table.h"

#include <algorithm>
#include <cmath>

#include "base/printable.h"
#include "text/code_points.h"

namespace carat {
namespace {

// Scores try every cut of every piece; this bounds the work that a hostile file can ask for.
constexpr size_t kMaxScoredPieceBytes = 1024;

// GGUF separates the parts of a merge by a space and writes U+0120 for a space inside a part.
constexpr std::string_view kEscapedSpace = "\xC4\xA0";

int32_t FindPart(const Vocabulary& vocabulary, std::string_view part) {
  const int32_t id = vocabulary.Find(part);
  if (id >= 0 || part.find(kEscapedSpace) == std::string_view::npos) return id;
  std::string unescaped;
  for (size_t i; (i = part.find(kEscapedSpace)) != std::string_view::npos;) {
    unescaped.append(part.substr(0, i)).push_back(' ');
    part.remove_prefix(i + kEscapedSpace.size());
  }
  unescaped.append(part);
  return vocabulary.Find(unescaped);
}

// The code point that `piece` consists of, or kNoCodePoint.
uint32_t OnlyCodePoint(std::string_view piece) {
  if (piece.empty() || piece.size() > 4) return kNoCodePoint;
  const CodePoint c = CodePointAt(piece, 0);
  return static_cast<size_t>(c.length) == piece.size() ? c.value : kNoCodePoint;
}

}  // namespace

MergeTable::MergeTable(const Vocabulary& vocabulary, Options options)
    : vocabulary_(&vocabulary),
      options_(options),
      direct_(kDirect, kNoSymbol),
      first_extra_(vocabulary.size()),
      joins_((size_t{1} << kJoinBitsLog2) / 64, 0) {
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    const std::string_view piece = vocabulary.Text(id);
    const uint32_t c = OnlyCodePoint(piece);
    if (c == kNoCodePoint || !Merges(id) || vocabulary.Find(piece) != id) continue;
    if (c < kDirect) {
      direct_[c] = id;
    } else {
      rare_.emplace_back(c, id);
    }
  }
  std::sort(rare_.begin(), rare_.end());
}

// Bytes and unknown characters are what is left when nothing matches: they never merge. A control
// string is only what the matcher cuts out; a text that merges into one must not become it.
bool MergeTable::Merges(int32_t id) const {
  switch (vocabulary_->Kind(id)) {
    case PieceKind::kNormal:
    case PieceKind::kUnused:
      return true;
    case PieceKind::kUserDefined:
      return options_.form_user_defined;
    default:
      return false;
  }
}

int32_t MergeTable::RareSymbol(uint32_t code_point) const {
  const auto it = std::lower_bound(rare_.begin(), rare_.end(), std::pair{code_point, INT32_MIN});
  return it != rare_.end() && it->first == code_point ? it->second : kNoSymbol;
}

// Gives a symbol to every code point of `pieces` that is no piece itself.
void MergeTable::AddExtraSymbols(const std::vector<int32_t>& pieces) {
  for (int32_t id : pieces) {
    const std::string_view piece = vocabulary_->Text(id);
    for (size_t i = 0; i < piece.size();) {
      const CodePoint c = CodePointAt(piece, i);
      if (SymbolOf(c.value) == kNoSymbol && vocabulary_->Find(piece.substr(i, c.length)) < 0) {
        extra_.push_back(c.value);
      }
      i += c.length;
    }
  }
  std::sort(extra_.begin(), extra_.end());
  extra_.erase(std::unique(extra_.begin(), extra_.end()), extra_.end());
  extra_.shrink_to_fit();
  for (size_t i = 0; i < extra_.size(); ++i) {
    const int32_t symbol = first_extra_ + static_cast<int32_t>(i);
    if (extra_[i] < kDirect) {
      direct_[extra_[i]] = symbol;
    } else {
      rare_.emplace_back(extra_[i], symbol);
    }
  }
  std::sort(rare_.begin(), rare_.end());
}

void MergeTable::Reserve(size_t pairs) {
  slots_.assign(TableSlots(pairs), Slot{});
  mask_ = slots_.size() - 1;
}

Status MergeTable::Insert(int32_t left, int32_t right, Merge merge, const std::string& file) {
  const uint64_t key = KeyOf(left, right);
  size_t i = SlotOf(key);
  for (int probes = 0; slots_[i].key != kNoKey; i = (i + 1) & mask_) {
    if (slots_[i].key == key) return {};
    if (++probes > kMaxProbes) {
      return BadFile("{}: tokenizer: more than {} merges share a hash", file, kMaxProbes);
    }
  }
  slots_[i] = {key, merge};
  return {};
}

void MergeTable::AllowJoins(std::string_view union_text) {
  uint32_t previous = kNoCodePoint;
  for (size_t i = 0; i < union_text.size();) {
    CodePoint c = CodePointAt(union_text, i);
    i += c.length;
    if (c.value == kMetaSpace) c.value = ' ';
    if (previous < 128 && c.value < 128) {
      ascii_joins_[previous][c.value >> 6] |= uint64_t{1} << (c.value & 63);
    } else if (previous != kNoCodePoint && c.value != kNoCodePoint) {
      const uint64_t bit = JoinBit(previous, c.value);
      joins_[bit >> 6] |= uint64_t{1} << (bit & 63);
    }
    previous = c.value;
  }
}

Result<MergeTable> MergeTable::FromMerges(const Vocabulary& vocabulary,
                                          const std::vector<MergePair>& merges,
                                          const std::string& file, Options options) {
  MergeTable table(vocabulary, options);
  if (merges.size() >= kNoRank) return BadFile("{}: tokenizer: {} merges", file, merges.size());
  table.Reserve(merges.size());
  std::string united;
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    // Not a structured binding: clang 14 captures none.
    const std::string_view left_text = merges[rank].first, right_text = merges[rank].second;
    const auto not_a_piece = [&](std::string_view text) {
      return BadFile("{}: tokenizer: merge {} is \"{}\" + \"{}\", but \"{}\" is not a piece", file,
                     rank, Printable(left_text), Printable(right_text), Printable(text));
    };
    if (left_text.empty() || right_text.empty()) {
      return BadFile("{}: tokenizer: merge {} is \"{}\" + \"{}\", expected two pieces", file, rank,
                     Printable(left_text), Printable(right_text));
    }
    const int32_t left = FindPart(vocabulary, left_text);
    if (left < 0) return not_a_piece(left_text);
    const int32_t right = FindPart(vocabulary, right_text);
    if (right < 0) return not_a_piece(right_text);
    united.assign(vocabulary.Text(left)).append(vocabulary.Text(right));
    const int32_t result = vocabulary.Find(united);
    if (result < 0) return not_a_piece(united);
    if (!table.Merges(left) || !table.Merges(right) || !table.Merges(result)) continue;
    CARAT_RETURN_IF_ERROR(table.Insert(left, right, {static_cast<uint32_t>(rank), result}, file));
    table.AllowJoins(united);
  }
  table.vocabulary_ = nullptr;
  return table;
}

Result<MergeTable> MergeTable::FromScores(const Vocabulary& vocabulary,
                                          const std::vector<float>& scores, const std::string& file,
                                          Options options) {
  MergeTable table(vocabulary, options);
  for (size_t id = 0; id < scores.size(); ++id) {
    if (std::isnan(scores[id])) {
      return BadFile("{}: tokenizer: score {} is not a number", file, id);
    }
  }
  std::vector<float> order(scores);
  std::sort(order.begin(), order.end(), std::greater<>());
  order.erase(std::unique(order.begin(), order.end()), order.end());

  std::vector<int32_t> formable;
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    const std::string_view piece = vocabulary.Text(id);
    if (!table.Merges(id) || piece.size() < 2 || !IsValidUtf8(piece)) continue;
    // Text holds no U+0020 when it is merged.
    if (piece.find(' ') != std::string_view::npos || vocabulary.Find(piece) != id) continue;
    if (piece.size() > kMaxScoredPieceBytes) {
      return BadFile("{}: tokenizer: piece {} has {} bytes, expected at most {} with scores", file,
                     id, piece.size(), kMaxScoredPieceBytes);
    }
    formable.push_back(id);
  }
  table.AddExtraSymbols(formable);

  struct Pair {
    int32_t left, right;
    Merge merge;
  };
  std::vector<Pair> pairs;
  const auto symbol_of = [&](std::string_view part) {
    const int32_t id = vocabulary.Find(part);
    if (id >= 0) return table.Merges(id) ? id : kNoSymbol;
    const uint32_t c = OnlyCodePoint(part);
    return c == kNoCodePoint ? kNoSymbol : table.SymbolOf(c);
  };
  for (int32_t id : formable) {
    const std::string_view piece = vocabulary.Text(id);
    const auto rank = static_cast<uint32_t>(
        std::lower_bound(order.begin(), order.end(), scores[id], std::greater<>()) - order.begin());
    for (size_t cut = CodePointAt(piece, 0).length; cut < piece.size();
         cut += CodePointAt(piece, cut).length) {
      const int32_t left = symbol_of(piece.substr(0, cut));
      if (left == kNoSymbol) continue;
      const int32_t right = symbol_of(piece.substr(cut));
      if (right == kNoSymbol) continue;
      pairs.push_back({left, right, {rank, id}});
    }
    table.AllowJoins(piece);
  }
  table.Reserve(pairs.size());
  for (const Pair& pair : pairs) {
    CARAT_RETURN_IF_ERROR(table.Insert(pair.left, pair.right, pair.merge, file));
  }
  table.vocabulary_ = nullptr;
  return table;
}

uint64_t MergeTable::bytes() const {
  return 4 * direct_.capacity() + sizeof(rare_[0]) * rare_.capacity() + 4 * extra_.capacity() +
         sizeof(Slot) * slots_.capacity() + 8 * joins_.capacity();
}

}  // namespace carat
