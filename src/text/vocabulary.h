// SPDX-License-Identifier: Apache-2.0
// The pieces of a tokenizer: id to text and back.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/tokenizer.h"

namespace carat {

class Vocabulary {
 public:
  // Copies and checks pieces, kinds and special ids (file-formats.md 1.10.22). Errors: kBadFile.
  static Result<Vocabulary> Build(const VocabularySource& source);

  int32_t size() const { return static_cast<int32_t>(kinds_.size()); }
  bool Contains(int32_t id) const { return id >= 0 && id < size(); }

  // As the file spells it. Requires Contains(id), as do the next two.
  std::string_view Text(int32_t id) const { return Slice(text_, text_begin_, id); }
  // As it prints: U+2581 is a space, a byte piece is its byte, anything else is valid UTF-8.
  std::string_view Shown(int32_t id) const { return Slice(shown_, shown_begin_, id); }
  PieceKind Kind(int32_t id) const { return kinds_[id]; }

  // The id of a piece, or -1. Of equal pieces the last counts.
  int32_t Find(std::string_view piece) const { return Find(piece, HashOf(piece)); }
  static uint64_t HashOf(std::string_view piece);
  int32_t Find(std::string_view piece, uint64_t hash) const;

  // Ids of the byte pieces; all -1 when there are none.
  const std::array<int32_t, 256>& byte_ids() const { return byte_ids_; }
  bool has_bytes() const { return byte_ids_[0] >= 0; }

  uint64_t bytes() const;

 private:
  struct Slot {
    int32_t id = -1;
    uint32_t tag = 0;  // upper half of the hash
  };

  static std::string_view Slice(const std::string& arena, const std::vector<uint32_t>& begin,
                                int32_t id) {
    return std::string_view(arena).substr(begin[id], begin[id + 1] - begin[id]);
  }
  Status Index(const std::string& file);

  std::string text_, shown_;
  std::vector<uint32_t> text_begin_, shown_begin_;  // size() + 1 offsets
  std::vector<PieceKind> kinds_;
  std::vector<Slot> slots_;
  std::array<int32_t, 256> byte_ids_{};
};

// The value of "<0xHH>" with two hex digits, or -1 for any other text.
int BytePieceValue(std::string_view piece);

}  // namespace carat
