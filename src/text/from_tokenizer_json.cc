// SPDX-License-Identifier: Apache-2.0
// Tokenizer::FromTokenizerJson: checks that a tokenizer.json describes Gemma's way of encoding and
// makes a VocabularySource of it.
#include <algorithm>

#include "base/printable.h"
#include "text/bpe_tokenizer.h"
#include "text/code_points.h"
#include "text/tokenizer_json.h"
#include "text/vocabulary.h"

namespace carat {
namespace {

// A setting that must have this value, or may also be absent.
Status Expect(const TokenizerJson& json, const std::string& file, const std::string& path,
              std::string_view value, bool may_be_absent) {
  const std::string_view found = json.Setting(path);
  if (found == value || (may_be_absent && found.empty())) return {};
  return BadFile("{}: {} is \"{}\", expected \"{}\"", file, path, Printable(found),
                 Printable(value));
}

Status CheckSettings(const TokenizerJson& json, const std::string& file) {
  CARAT_RETURN_IF_ERROR(Expect(json, file, "model.type", "BPE", true));
  CARAT_RETURN_IF_ERROR(Expect(json, file, "model.dropout", "", true));
  CARAT_RETURN_IF_ERROR(Expect(json, file, "model.continuing_subword_prefix", "", true));
  CARAT_RETURN_IF_ERROR(Expect(json, file, "model.end_of_word_suffix", "", true));
  CARAT_RETURN_IF_ERROR(Expect(json, file, "model.byte_fallback", "true", false));
  CARAT_RETURN_IF_ERROR(Expect(json, file, "model.ignore_merges", "false", true));
  CARAT_RETURN_IF_ERROR(Expect(json, file, "normalizer.type", "Replace", false));
  CARAT_RETURN_IF_ERROR(Expect(json, file, "normalizer.pattern.String", " ", false));
  CARAT_RETURN_IF_ERROR(Expect(json, file, "normalizer.content", kMetaSpaceUtf8, false));
  // The normalizer leaves no space to split at: whatever the behaviour, this never fires.
  if (json.settings.count("pre_tokenizer.type") > 0) {
    CARAT_RETURN_IF_ERROR(Expect(json, file, "pre_tokenizer.type", "Split", false));
    CARAT_RETURN_IF_ERROR(Expect(json, file, "pre_tokenizer.pattern.String", " ", false));
  }
  if (json.settings.count("decoder.type") > 0) {
    CARAT_RETURN_IF_ERROR(Expect(json, file, "decoder.type", "Sequence", false));
    const std::string step = "decoder.decoders.";
    CARAT_RETURN_IF_ERROR(Expect(json, file, step + "0.type", "Replace", false));
    CARAT_RETURN_IF_ERROR(Expect(json, file, step + "0.pattern.String", kMetaSpaceUtf8, false));
    CARAT_RETURN_IF_ERROR(Expect(json, file, step + "0.content", " ", false));
    CARAT_RETURN_IF_ERROR(Expect(json, file, step + "1.type", "ByteFallback", false));
    CARAT_RETURN_IF_ERROR(Expect(json, file, step + "2.type", "Fuse", false));
    CARAT_RETURN_IF_ERROR(Expect(json, file, step + "3.type", "", true));
  }
  return {};
}

// Lays the pieces out by id. Ids that nobody has become unused pieces without text.
Status PlacePieces(const TokenizerJson& json, VocabularySource* source) {
  const std::string& file = source->file;
  uint64_t count = 0;
  for (const auto& piece : json.pieces) count = std::max<uint64_t>(count, piece.second + 1);
  for (const auto& token : json.added) {
    if (token.id < 0) {
      return BadFile("{}: added token \"{}\" has no id", file, Printable(token.content));
    }
    count = std::max<uint64_t>(count, token.id + 1);
  }
  const size_t known = json.pieces.size() + json.added.size();
  if (count > 2 * known + 1024) {
    return BadFile("{}: ids up to {} for {} pieces", file, count - 1, known);
  }
  source->pieces.resize(count);
  source->kinds.assign(count, PieceKind::kUnused);
  for (const auto& [span, id] : json.pieces) {
    const std::string_view text = json.Text(span);
    if (source->kinds[id] != PieceKind::kUnused) {
      return BadFile("{}: id {} is both \"{}\" and \"{}\"", file, id, Printable(source->pieces[id]),
                     Printable(text));
    }
    source->pieces[id] = text;
    source->kinds[id] = BytePieceValue(text) >= 0 ? PieceKind::kByte : PieceKind::kNormal;
  }
  return {};
}

Status PlaceAddedTokens(const TokenizerJson& json, VocabularySource* source) {
  const std::string& file = source->file;
  for (const auto& token : json.added) {
    if (token.content.empty()) return BadFile("{}: added token {} has no text", file, token.id);
    if (!token.unsupported.empty()) {
      return BadFile("{}: added token \"{}\" sets {}, which is not supported", file,
                     Printable(token.content), token.unsupported);
    }
    if (token.normalized && (token.content.find(' ') != std::string::npos ||
                             token.content.find(kMetaSpaceUtf8) != std::string::npos)) {
      return BadFile("{}: added token \"{}\" is normalized and holds a space, not supported", file,
                     Printable(token.content));
    }
    std::string_view& piece = source->pieces[token.id];
    PieceKind& kind = source->kinds[token.id];
    if (kind != PieceKind::kUnused && piece != token.content) {
      return BadFile("{}: added token \"{}\" has id {}, which is \"{}\"", file,
                     Printable(token.content), token.id, Printable(piece));
    }
    piece = token.content;
    kind = token.special ? PieceKind::kControl : PieceKind::kUserDefined;
  }
  return {};
}

int32_t FindPiece(const VocabularySource& source, std::string_view text) {
  const auto it = std::find(source.pieces.begin(), source.pieces.end(), text);
  return it == source.pieces.end() ? -1 : static_cast<int32_t>(it - source.pieces.begin());
}

}  // namespace

Result<std::shared_ptr<const Tokenizer>> TokenizerFromJson(std::string_view text, std::string file,
                                                           TokenizerOptions options) {
  CARAT_ASSIGN_OR_RETURN(const TokenizerJson json, ReadTokenizerJson(text, file));
  CARAT_RETURN_IF_ERROR(CheckSettings(json, file));
  VocabularySource source;
  source.file = std::move(file);
  CARAT_RETURN_IF_ERROR(PlacePieces(json, &source));
  CARAT_RETURN_IF_ERROR(PlaceAddedTokens(json, &source));
  source.bos = FindPiece(source, "<bos>");
  source.eos = FindPiece(source, "<eos>");
  source.padding = FindPiece(source, "<pad>");
  if (const std::string_view unknown = json.Setting("model.unk_token"); !unknown.empty()) {
    source.unknown = FindPiece(source, unknown);
    if (source.unknown < 0) {
      return BadFile("{}: model.unk_token \"{}\" is not a piece", source.file, Printable(unknown));
    }
    PieceKind& kind = source.kinds[source.unknown];
    if (kind == PieceKind::kNormal) kind = PieceKind::kUnknown;
  }
  std::vector<MergePair> merges;
  merges.reserve(json.merges.size());
  for (const auto& [left, right] : json.merges) {
    merges.emplace_back(json.Text(left), json.Text(right));
  }
  options.fuse_unknown = json.Setting("model.fuse_unk") != "false";
  return BuildTokenizer(source, &merges, options);
}

Result<std::shared_ptr<const Tokenizer>> Tokenizer::FromTokenizerJson(std::string_view text,
                                                                      std::string file) {
  return TokenizerFromJson(text, std::move(file), {});
}

}  // namespace carat
