// SPDX-License-Identifier: Apache-2.0
// Gemma's tokenizers (prompting.md section 1): BPE with merges (Gemma 4, and Gemma 3's
// tokenizer.json) and score-based BPE (Gemma 3 GGUF files), both with byte fallback.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace carat {

enum class PieceKind : uint8_t {
  kNormal,
  kUnknown,
  kControl,      // recognised in text when asked, hidden when special tokens are hidden
  kUserDefined,  // recognised in text when asked, always shown
  kUnused,
  kByte,  // <0xHH>
};

// A vocabulary as a file gives it, before it is checked. `pieces` may be views into a mapped file
// that must live until Tokenizer::Create returns.
struct VocabularySource {
  std::string file;  // for messages
  std::vector<std::string_view> pieces;
  std::vector<PieceKind> kinds;          // same length
  std::vector<float> scores;             // score-based BPE; empty when merges rule
  std::vector<std::string_view> merges;  // "left right"; empty when scores rule
  bool match_all_user_defined = true;    // user-defined pieces are cut out of any text, as it is
                                         // written (Gemma 3's hold real spaces); false: they are
                                         // control strings
  int32_t bos = -1, eos = -1, unknown = -1, padding = -1;  // -1: none
};

struct EncodeOptions {
  bool add_bos = false;        // puts BOS in front unless the text is recognised to begin with it
  bool parse_special = false;  // control strings in the text become their ids
};

// Immutable and thread-safe.
class Tokenizer {
 public:
  // Checks ids, byte pieces and merges (file-formats.md 1.10.22). Errors: kBadFile.
  static Result<std::shared_ptr<const Tokenizer>> Create(const VocabularySource& source);
  // From the text of a tokenizer.json (prompting.md 1.7). `file` is for messages.
  static Result<std::shared_ptr<const Tokenizer>> FromTokenizerJson(std::string_view json,
                                                                    std::string file);
  virtual ~Tokenizer() = default;

  // Any bytes are accepted; what is not UTF-8 becomes byte pieces.
  virtual void Encode(std::string_view text, const EncodeOptions& options,
                      std::vector<int32_t>* ids) const = 0;
  std::vector<int32_t> Encode(std::string_view text, const EncodeOptions& options = {}) const {
    std::vector<int32_t> ids;
    Encode(text, options, &ids);
    return ids;
  }

  // The whole text of `ids`; with `skip_special`, control pieces print nothing. A run of byte
  // pieces that is not UTF-8 gives one U+FFFD per byte (prompting.md 1.4).
  virtual std::string Decode(const std::vector<int32_t>& ids, bool skip_special) const = 0;
  // The bytes that one id contributes (byte pieces: one raw byte).
  virtual std::string_view PieceText(int32_t id) const = 0;
  virtual PieceKind Kind(int32_t id) const = 0;
  virtual int32_t size() const = 0;
  // The id of an exact piece, or -1.
  virtual int32_t Find(std::string_view piece) const = 0;
  virtual int32_t bos() const = 0;
  virtual int32_t eos() const = 0;
  // Anonymous memory held, in bytes.
  virtual uint64_t bytes() const = 0;
};

}  // namespace carat
