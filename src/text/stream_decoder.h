// SPDX-License-Identifier: Apache-2.0
// Ids to text, one at a time, such that all that comes out is valid UTF-8 (prompting.md 1.4).
#pragma once

#include <cstdint>
#include <string>

#include "text/tokenizer.h"

namespace carat {

// A run of byte pieces is held back only while it may still become a character: at most 3 bytes.
// Bytes that can't become one print as U+FFFD each. Cheap to copy; not thread-safe.
class StreamDecoder {
 public:
  // `tokenizer` must outlive this object. With `skip_special`, control pieces count as absent.
  StreamDecoder(const Tokenizer* tokenizer, bool skip_special)
      : tokenizer_(tokenizer), skip_special_(skip_special) {}

  // Appends what is certain after this id, perhaps nothing. Ids out of range print nothing.
  void Push(int32_t id, std::string* text);
  std::string Push(int32_t id) {
    std::string text;
    Push(id, &text);
    return text;
  }

  // Appends what was held back, at the end of the ids. The decoder may be used again.
  void Flush(std::string* text);
  std::string Flush() {
    std::string text;
    Flush(&text);
    return text;
  }

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_;
  std::string held_;  // bytes that may be the beginning of a character
};

}  // namespace carat
