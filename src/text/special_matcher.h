// SPDX-License-Identifier: Apache-2.0
// Finds the texts that are cut out before merging: control strings and user-defined pieces.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "text/vocabulary.h"

namespace carat {

class SpecialMatcher {
 public:
  struct Match {
    size_t begin = std::string_view::npos;  // npos: none
    size_t length = 0;
    int32_t id = -1;
  };

  SpecialMatcher() = default;
  // User-defined pieces count as `always` when `match_all_user_defined`, else as control strings.
  // Keeps views into `vocabulary`, whose pieces must not move: the tokenizer owns both.
  SpecialMatcher(const Vocabulary& vocabulary, bool match_all_user_defined);

  // The leftmost match at or after `from`, the longest there. `with_control`: control strings too.
  Match Next(std::string_view text, size_t from, bool with_control) const;

  bool empty(bool with_control) const { return with_control ? entries_.empty() : !any_always_; }
  uint64_t bytes() const { return sizeof(Entry) * entries_.capacity(); }

 private:
  struct Entry {
    std::string_view text;
    int32_t id;
    bool always;
  };
  struct Range {
    uint32_t begin = 0, end = 0;  // of the entries that start with a byte
    bool any_always = false;
  };

  Match LongestAt(std::string_view text, size_t at, bool with_control) const;

  std::vector<Entry> entries_;  // sorted by text, unique
  std::array<Range, 256> by_first_byte_{};
  bool any_always_ = false;
};

}  // namespace carat
