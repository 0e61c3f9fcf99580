// SPDX-License-Identifier: Apache-2.0
#include "text/vocabulary.h"

#include <algorithm>
#include <limits>

#include "base/printable.h"
#include "base/utf8.h"
#include "text/code_points.h"
#include "text/hash.h"

namespace carat {
namespace {

// Ids are int32 and offsets uint32; a real vocabulary has 262,144 pieces and 2 MB of text.
constexpr size_t kMaxPieces = size_t{1} << 24;
constexpr size_t kMaxPieceBytes = size_t{1} << 16;

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

Status CheckSpecialId(const VocabularySource& source, const char* name, int32_t id) {
  if (id == -1) return {};
  if (id < 0 || static_cast<size_t>(id) >= source.pieces.size()) {
    return BadFile("{}: tokenizer: {} id {}, expected less than {} pieces", source.file, name, id,
                   source.pieces.size());
  }
  return {};
}

void AppendShown(std::string* out, std::string_view piece, PieceKind kind) {
  if (kind == PieceKind::kByte) {
    out->push_back(static_cast<char>(BytePieceValue(piece)));
    return;
  }
  for (size_t i = 0; i < piece.size();) {
    const CodePoint c = CodePointAt(piece, i);
    if (c.value == kMetaSpace) {
      out->push_back(' ');
    } else if (c.value == kNoCodePoint) {
      out->append("\xEF\xBF\xBD");
    } else {
      out->append(piece.substr(i, c.length));
    }
    i += c.length;
  }
}

}  // namespace

int BytePieceValue(std::string_view piece) {
  if (piece.size() != 6 || piece.substr(0, 3) != "<0x" || piece[5] != '>') return -1;
  const int high = HexDigit(piece[3]), low = HexDigit(piece[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

Result<Vocabulary> Vocabulary::Build(const VocabularySource& source) {
  const size_t count = source.pieces.size();
  const std::string& file = source.file;
  if (count == 0) return BadFile("{}: tokenizer: the vocabulary is empty", file);
  if (count > kMaxPieces) {
    return BadFile("{}: tokenizer: {} pieces, expected at most {}", file, count, kMaxPieces);
  }
  if (source.kinds.size() != count) {
    return BadFile("{}: tokenizer: {} piece types for {} pieces", file, source.kinds.size(), count);
  }
  if (!source.scores.empty() && source.scores.size() != count) {
    return BadFile("{}: tokenizer: {} scores for {} pieces", file, source.scores.size(), count);
  }
  CARAT_RETURN_IF_ERROR(CheckSpecialId(source, "bos", source.bos));
  CARAT_RETURN_IF_ERROR(CheckSpecialId(source, "eos", source.eos));
  CARAT_RETURN_IF_ERROR(CheckSpecialId(source, "unknown", source.unknown));
  CARAT_RETURN_IF_ERROR(CheckSpecialId(source, "padding", source.padding));

  Vocabulary v;
  v.kinds_ = source.kinds;
  v.text_begin_.reserve(count + 1);
  v.shown_begin_.reserve(count + 1);
  size_t total = 0;
  for (std::string_view piece : source.pieces) total += piece.size();
  // Twice: an invalid byte prints as three.
  if (total > std::numeric_limits<uint32_t>::max() / 4) {
    return BadFile("{}: tokenizer: {} bytes of pieces", file, total);
  }
  v.text_.reserve(total);
  v.shown_.reserve(total);
  v.byte_ids_.fill(-1);
  for (size_t id = 0; id < count; ++id) {
    const std::string_view piece = source.pieces[id];
    const PieceKind kind = v.kinds_[id];
    if (piece.size() > kMaxPieceBytes) {
      return BadFile("{}: tokenizer: piece {} has {} bytes, expected at most {}", file, id,
                     piece.size(), kMaxPieceBytes);
    }
    if (kind == PieceKind::kByte) {
      const int value = BytePieceValue(piece);
      if (value < 0) {
        return BadFile("{}: tokenizer: byte piece {} is \"{}\", expected <0xHH>", file, id,
                       Printable(piece));
      }
      // Files spell digits A-F in upper case; should both occur, upper case is what is written.
      int32_t& known = v.byte_ids_[value];
      if (known < 0 || std::none_of(piece.begin() + 3, piece.end(),
                                    [](char c) { return c >= 'a' && c <= 'f'; })) {
        known = static_cast<int32_t>(id);
      }
    }
    v.text_begin_.push_back(static_cast<uint32_t>(v.text_.size()));
    v.shown_begin_.push_back(static_cast<uint32_t>(v.shown_.size()));
    v.text_.append(piece);
    AppendShown(&v.shown_, piece, kind);
  }
  v.text_begin_.push_back(static_cast<uint32_t>(v.text_.size()));
  v.shown_begin_.push_back(static_cast<uint32_t>(v.shown_.size()));

  const auto missing = std::count(v.byte_ids_.begin(), v.byte_ids_.end(), -1);
  if (missing != 0 && missing != 256) {
    const auto first = std::find(v.byte_ids_.begin(), v.byte_ids_.end(), -1);
    return BadFile("{}: tokenizer: byte piece <0x{:02X}> is missing, expected all 256 or none",
                   file, first - v.byte_ids_.begin());
  }
  if (missing == 256 && source.unknown < 0) {
    return BadFile("{}: tokenizer: neither byte pieces nor an unknown piece", file);
  }
  CARAT_RETURN_IF_ERROR(v.Index(file));
  return v;
}

uint64_t Vocabulary::HashOf(std::string_view piece) { return HashBytes(piece); }

Status Vocabulary::Index(const std::string& file) {
  slots_.assign(TableSlots(kinds_.size()), Slot{});
  const size_t mask = slots_.size() - 1;
  for (int32_t id = 0; id < size(); ++id) {
    const std::string_view piece = Text(id);
    const uint64_t hash = HashOf(piece);
    const auto tag = static_cast<uint32_t>(hash >> 32);
    size_t i = hash & mask;
    for (int probes = 0; slots_[i].id >= 0; i = (i + 1) & mask) {
      if (slots_[i].tag == tag && Text(slots_[i].id) == piece) break;
      if (++probes > kMaxProbes) {
        return BadFile("{}: tokenizer: more than {} pieces share a hash", file, kMaxProbes);
      }
    }
    slots_[i] = {id, tag};
  }
  return {};
}

int32_t Vocabulary::Find(std::string_view piece, uint64_t hash) const {
  const size_t mask = slots_.size() - 1;
  const auto tag = static_cast<uint32_t>(hash >> 32);
  for (size_t i = hash & mask;; i = (i + 1) & mask) {
    const Slot& slot = slots_[i];
    if (slot.id < 0) return -1;
    if (slot.tag == tag && Text(slot.id) == piece) return slot.id;
  }
}

uint64_t Vocabulary::bytes() const {
  return text_.capacity() + shown_.capacity() +
         4 * (text_begin_.capacity() + shown_begin_.capacity()) + kinds_.capacity() +
         sizeof(Slot) * slots_.capacity();
}

}  // namespace carat
