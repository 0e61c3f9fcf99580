// SPDX-License-Identifier: Apache-2.0
#include "text/stream_decoder.h"

#include "base/utf8.h"

namespace carat {

void StreamDecoder::Push(int32_t id, std::string* text) {
  const PieceKind kind = tokenizer_->Kind(id);
  if (skip_special_ && (kind == PieceKind::kControl || kind == PieceKind::kUnknown)) return;
  if (kind != PieceKind::kByte) {
    Flush(text);
    text->append(tokenizer_->PieceText(id));
    return;
  }
  held_.append(tokenizer_->PieceText(id));
  size_t done = 0;
  while (done < held_.size()) {
    const std::string_view rest = std::string_view(held_).substr(done);
    if (Utf8Incomplete(rest)) break;
    const int length = Utf8Length(rest);
    if (length == 0) {
      text->append("\xEF\xBF\xBD");
      ++done;
    } else {
      text->append(rest.substr(0, length));
      done += length;
    }
  }
  held_.erase(0, done);
}

void StreamDecoder::Flush(std::string* text) {
  text->append(ReplaceInvalidUtf8(held_));
  held_.clear();
}

}  // namespace carat
