// SPDX-License-Identifier: Apache-2.0
#include "runtime/vocabulary.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <string_view>
#include <unordered_set>

#include "base/printable.h"

namespace carat {
namespace {

constexpr std::string_view kPrefix = "tokenizer.ggml.";

std::string Key(std::string_view name) { return std::string(kPrefix) + std::string(name); }

// The control strings of Gemma 4 (prompting.md 1.2). Files disagree about their kinds: those in
// the second list are written as user-defined so that they print, others as normal by mistake.
const std::unordered_set<std::string_view>& ControlPieces() {
  static const std::unordered_set<std::string_view> pieces = {
      "<pad>",     "<eos>",     "<bos>",    "<unk>",    "<mask>",   "<|tool>",
      "<tool|>",   "<|think|>", "<|turn>",  "<turn|>",  "<|image>", "<|audio>",
      "<|image|>", "<|audio|>", "<image|>", "<audio|>", "<|video|>"};
  return pieces;
}
const std::unordered_set<std::string_view>& VisiblePieces() {
  static const std::unordered_set<std::string_view> pieces = {
      "<|channel>",       "<channel|>",       "<|tool_call>", "<tool_call|>",
      "<|tool_response>", "<tool_response|>", "<|\"|>"};
  return pieces;
}

// file-formats.md 2.4: control strings are control strings whatever kind the file gives them, and
// </s> is strike-through text.
void MendKinds(const std::vector<std::string_view>& pieces, std::vector<PieceKind>* kinds) {
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (pieces[i].size() < 4 || pieces[i].front() != '<') continue;
    PieceKind& kind = (*kinds)[i];
    if (kind != PieceKind::kNormal && kind != PieceKind::kUnused &&
        kind != PieceKind::kUserDefined && kind != PieceKind::kControl) {
      continue;
    }
    if (ControlPieces().count(pieces[i]) != 0) {
      kind = PieceKind::kControl;
    } else if (VisiblePieces().count(pieces[i]) != 0) {
      if (kind != PieceKind::kControl) kind = PieceKind::kUserDefined;
    } else if (pieces[i] == "</s>") {
      kind = PieceKind::kNormal;
    }
  }
}

// Absent and -1 mean that there is none. Written as u32, sometimes as i32 (1.10.22).
Result<int32_t> ReadId(const GgufMetadata& meta, std::string_view name, size_t count) {
  const std::string key = Key(name);
  const GgufValue* v = meta.Find(key);
  if (v == nullptr) return -1;
  if (v->type != GgufType::kU32 && v->type != GgufType::kI32) {
    return BadFile("{}: \"{}\": expected u32, found {}", meta.file, key, Describe(*v));
  }
  CARAT_ASSIGN_OR_RETURN(const auto ids, meta.RequireInts(key, true));
  if (ids[0] == -1 || ids[0] == int64_t{UINT32_MAX}) return -1;
  if (ids[0] < 0 || ids[0] >= static_cast<int64_t>(count)) {
    return BadFile("{}: \"{}\": expected 0 to {}, found {}", meta.file, key, count - 1, ids[0]);
  }
  return static_cast<int32_t>(ids[0]);
}

// Of an array, before it is copied.
Status CheckCount(const GgufMetadata& meta, std::string_view name, size_t tokens) {
  const GgufValue* v = meta.Find(Key(name));
  if (v == nullptr || v->type != GgufType::kArray || v->count == tokens) return {};
  return BadFile("{}: \"{}\": expected {} elements, one for each token, found {}", meta.file,
                 Key(name), tokens, Describe(*v));
}

Result<std::vector<PieceKind>> ReadKinds(const GgufMetadata& meta, size_t tokens) {
  CARAT_RETURN_IF_ERROR(CheckCount(meta, "token_type", tokens));
  CARAT_ASSIGN_OR_RETURN(const auto types, meta.RequireInts(Key("token_type"), false));
  constexpr PieceKind kKinds[] = {PieceKind::kNormal,      PieceKind::kUnknown, PieceKind::kControl,
                                  PieceKind::kUserDefined, PieceKind::kUnused,  PieceKind::kByte};
  std::vector<PieceKind> kinds;
  kinds.reserve(types.size());
  for (const int64_t type : types) {
    if (type < 1 || type > static_cast<int64_t>(std::size(kKinds))) {
      return BadFile("{}: \"{}\": expected 1 to {}, found {}", meta.file, Key("token_type"),
                     std::size(kKinds), type);
    }
    kinds.push_back(kKinds[type - 1]);
  }
  return kinds;
}

// Merges or scores: what joins pieces. Both are checked where both exist.
Status ReadRules(const GgufMetadata& meta, VocabularySource* source) {
  CARAT_ASSIGN_OR_RETURN(const std::string model, meta.RequireString(Key("model")));
  if (model != "gemma4" && model != "llama") {
    return BadFile("{}: \"{}\": expected \"gemma4\" or \"llama\", found \"{}\"", meta.file,
                   Key("model"), Printable(model));
  }
  const size_t tokens = source->pieces.size();
  const bool has_scores = meta.Has(Key("scores"));
  if (has_scores) {
    CARAT_RETURN_IF_ERROR(CheckCount(meta, "scores", tokens));
    CARAT_ASSIGN_OR_RETURN(source->scores, meta.RequireF32s(Key("scores")));
  }
  // Ollama writes "llama" for Gemma 4 too; the merges tell (3.9).
  if (model == "gemma4" || meta.Has(Key("merges"))) {
    CARAT_ASSIGN_OR_RETURN(source->merges, meta.RequireStrings(Key("merges")));
    source->scores.clear();  // placeholders
    if (source->merges.empty()) {
      return BadFile("{}: \"{}\": expected merges, found none", meta.file, Key("merges"));
    }
    return {};
  }
  if (!has_scores) {
    return BadFile("{}: \"{}\": missing, expected beside \"{}\" \"llama\" without merges",
                   meta.file, Key("scores"), Key("model"));
  }
  return {};
}

Result<std::shared_ptr<const Tokenizer>> FromGguf(const GgufMetadata& meta, const Config& config) {
  VocabularySource source;
  source.file = meta.file;
  CARAT_ASSIGN_OR_RETURN(source.pieces, meta.RequireStrings(Key("tokens")));
  const size_t count = source.pieces.size();
  // Gemma 3 files may have more rows than tokens (2.5); ResolveTensors checks rows against vocab.
  const bool fits = config.family == Family::kGemma3 ? static_cast<int64_t>(count) <= config.vocab
                                                     : static_cast<int64_t>(count) == config.vocab;
  if (count == 0 || !fits) {
    return BadFile("{}: \"{}\": expected {} tokens, found {}", meta.file, Key("tokens"),
                   config.vocab, count);
  }
  CARAT_ASSIGN_OR_RETURN(source.kinds, ReadKinds(meta, count));
  CARAT_RETURN_IF_ERROR(ReadRules(meta, &source));
  CARAT_ASSIGN_OR_RETURN(source.bos, ReadId(meta, "bos_token_id", count));
  CARAT_ASSIGN_OR_RETURN(source.eos, ReadId(meta, "eos_token_id", count));
  CARAT_ASSIGN_OR_RETURN(source.unknown, ReadId(meta, "unknown_token_id", count));
  CARAT_ASSIGN_OR_RETURN(source.padding, ReadId(meta, "padding_token_id", count));
  // Not used, but an id that is out of range shows a damaged file.
  for (const char* name :
       {"mask_token_id", "seperator_token_id", "cls_token_id", "eot_token_id", "eom_token_id"}) {
    CARAT_RETURN_IF_ERROR(ReadId(meta, name, count));
  }
  if (config.family == Family::kGemma4) {
    MendKinds(source.pieces, &source.kinds);
    // Its user-defined pieces are control strings: plain text must not turn into them.
    source.match_all_user_defined = false;
  }
  return Tokenizer::Create(source);
}

Result<std::shared_ptr<const Tokenizer>> FromHf(const Checkpoint& checkpoint,
                                                const Config& config) {
  std::filesystem::path dir = checkpoint.path;
  if (dir.extension() == ".safetensors" || dir.extension() == ".json") dir = dir.parent_path();
  const std::string file = (dir / "tokenizer.json").string();
  const auto it = checkpoint.texts.find("tokenizer.json");
  if (it == checkpoint.texts.end()) {
    return BadFile("{}: missing, expected beside the safetensors files", file);
  }
  CARAT_ASSIGN_OR_RETURN(auto tokenizer, Tokenizer::FromTokenizerJson(it->second, file));
  // Gemma 3's has <image_soft_token> behind the last row of its text-only models
  // (prompting.md 1.6).
  const int64_t spare = config.family == Family::kGemma3 ? 1 : 0;
  if (tokenizer->size() > config.vocab + spare) {
    return BadFile("{}: expected at most {} tokens, the rows of the embedding, found {}", file,
                   config.vocab, tokenizer->size());
  }
  return tokenizer;
}

}  // namespace

Result<std::shared_ptr<const Tokenizer>> LoadTokenizer(const Checkpoint& checkpoint,
                                                       const Config& config) {
  if (checkpoint.format == CheckpointFormat::kHuggingFace) return FromHf(checkpoint, config);
  return FromGguf(*checkpoint.metadata, config);
}

void AddStopIds(const Tokenizer& tokenizer, Family family, std::vector<int32_t>* ids) {
  const auto add = [&](std::string_view piece) {
    const int32_t id = tokenizer.Find(piece);
    if (id >= 0 && std::find(ids->begin(), ids->end(), id) == ids->end()) ids->push_back(id);
  };
  add("<eos>");
  if (family == Family::kGemma4) {
    add("<turn|>");
    add("<|tool_response>");
  } else {
    add("<end_of_turn>");
  }
}

}  // namespace carat
