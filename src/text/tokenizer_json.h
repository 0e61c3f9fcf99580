// SPDX-License-Identifier: Apache-2.0
// What a tokenizer.json says (Hugging Face `tokenizers`; prompting.md 1.7).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace carat {

struct TokenizerJson {
  struct Span {
    uint32_t begin = 0, length = 0;
  };
  struct AddedToken {
    std::string content;
    int64_t id = -1;
    bool special = false;
    bool normalized = false;
    std::string unsupported;  // the name of a field that is set and that we don't follow
  };

  std::string arena;                              // texts of pieces and merges
  std::vector<std::pair<Span, uint32_t>> pieces;  // text, id, as listed in model.vocab
  std::vector<std::pair<Span, Span>> merges;      // left, right
  std::vector<AddedToken> added;
  // All else below model, normalizer, pre_tokenizer and decoder, by path
  // ("decoder.decoders.0.type"): strings as they are, other values as JSON writes them, "object" or
  // "array".
  std::map<std::string, std::string> settings;

  std::string_view Text(Span s) const { return std::string_view(arena).substr(s.begin, s.length); }
  // "" when absent or null.
  std::string_view Setting(const std::string& path) const;
};

// Reads event by event, without a tree: the files have 33 MB, 262,144 pieces, 514,906 merges.
// Errors: kBadFile.
Result<TokenizerJson> ReadTokenizerJson(std::string_view json, const std::string& file);

}  // namespace carat
