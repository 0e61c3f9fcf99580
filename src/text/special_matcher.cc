// SPDX-License-Identifier: Apache-2.0
#include "text/special_matcher.h"

#include <algorithm>

namespace carat {

SpecialMatcher::SpecialMatcher(const Vocabulary& vocabulary, bool match_all_user_defined) {
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    const PieceKind kind = vocabulary.Kind(id);
    if (kind != PieceKind::kControl && kind != PieceKind::kUserDefined) continue;
    const std::string_view text = vocabulary.Text(id);
    // Of equal pieces the one that Find() returns.
    if (text.empty() || vocabulary.Find(text) != id) continue;
    const bool always = kind == PieceKind::kUserDefined && match_all_user_defined;
    entries_.push_back({text, id, always});
    any_always_ |= always;
  }
  entries_.shrink_to_fit();
  std::sort(entries_.begin(), entries_.end(),
            [](const Entry& a, const Entry& b) { return a.text < b.text; });
  for (uint32_t i = 0; i < entries_.size(); ++i) {
    Range& range = by_first_byte_[static_cast<uint8_t>(entries_[i].text[0])];
    if (range.begin == range.end) range.begin = i;
    range.end = i + 1;
    range.any_always |= entries_[i].always;
  }
}

SpecialMatcher::Match SpecialMatcher::Next(std::string_view text, size_t from,
                                           bool with_control) const {
  if (empty(with_control)) return {};
  for (size_t at = from; at < text.size(); ++at) {
    const Range& range = by_first_byte_[static_cast<uint8_t>(text[at])];
    if (with_control ? range.begin == range.end : !range.any_always) continue;
    const Match match = LongestAt(text, at, with_control);
    if (match.id >= 0) return match;
  }
  return {};
}

// Narrows the sorted entries byte by byte to those that begin with text[at..]. Of them, one that
// ends here sorts first.
SpecialMatcher::Match SpecialMatcher::LongestAt(std::string_view text, size_t at,
                                                bool with_control) const {
  const Range& first = by_first_byte_[static_cast<uint8_t>(text[at])];
  auto low = entries_.begin() + first.begin;
  auto high = entries_.begin() + first.end;
  Match best;
  for (size_t depth = 1; low != high; ++depth) {
    if (low->text.size() == depth) {
      if (with_control || low->always) best = {at, depth, low->id};
      ++low;
    }
    if (at + depth >= text.size()) break;
    const auto c = static_cast<uint8_t>(text[at + depth]);
    const auto byte_at = [depth](const Entry& e) { return static_cast<uint8_t>(e.text[depth]); };
    low = std::partition_point(low, high, [&](const Entry& e) { return byte_at(e) < c; });
    high = std::partition_point(low, high, [&](const Entry& e) { return byte_at(e) == c; });
  }
  return best;
}

}  // namespace carat
