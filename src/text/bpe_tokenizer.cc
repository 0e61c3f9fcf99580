// SPDX-License-Identifier: Apache-2.0
#include "text/bpe_tokenizer.h"

#include <optional>

#include "base/printable.h"
#include "base/utf8.h"
#include "text/special_matcher.h"
#include "text/vocabulary.h"

namespace carat {
namespace {

class BpeTokenizer : public Tokenizer {
 public:
  BpeTokenizer(Vocabulary vocabulary, const VocabularySource& source)
      : vocabulary_(std::move(vocabulary)),
        specials_(vocabulary_, source.match_all_user_defined),
        bos_(source.bos),
        eos_(source.eos) {}

  // After construction: the engine keeps a pointer to vocabulary_.
  Status Init(const VocabularySource& source, const std::vector<MergePair>* merges,
              const TokenizerOptions& options) {
    const MergeTable::Options table_options{.form_user_defined = source.match_all_user_defined};
    auto table =
        merges != nullptr
            ? MergeTable::FromMerges(vocabulary_, *merges, source.file, table_options)
            : MergeTable::FromScores(vocabulary_, source.scores, source.file, table_options);
    CARAT_RETURN_IF_ERROR(table);
    bpe_.emplace(
        &vocabulary_, std::move(*table),
        Bpe::Options{
            .unknown = source.unknown, .fuse_unknown = options.fuse_unknown, .cut = options.cut});
    return {};
  }

  using Tokenizer::Encode;
  void Encode(std::string_view text, const EncodeOptions& options,
              std::vector<int32_t>* ids) const override {
    const size_t first = ids->size();
    if (options.add_bos && bos_ >= 0) ids->push_back(bos_);
    const size_t first_of_text = ids->size();
    const Bpe::ScratchPtr scratch = Bpe::NewScratch(text);
    for (size_t at = 0; at < text.size();) {
      const SpecialMatcher::Match match = specials_.Next(text, at, options.parse_special);
      const size_t end = match.id >= 0 ? match.begin : text.size();
      if (end > at) bpe_->Encode(text.substr(at, end - at), scratch.get(), ids);
      if (match.id < 0) break;
      ids->push_back(match.id);
      at = match.begin + match.length;
    }
    if (first_of_text > first && ids->size() > first_of_text && (*ids)[first_of_text] == bos_) {
      ids->erase(ids->begin() + static_cast<ptrdiff_t>(first));
    }
  }

  std::string Decode(const std::vector<int32_t>& ids, bool skip_special) const override {
    std::string text, run;  // run: adjacent byte pieces, decoded together
    const auto end_run = [&] {
      if (IsValidUtf8(run)) {
        text.append(run);
      } else {
        for (size_t i = 0; i < run.size(); ++i) text.append("\xEF\xBF\xBD");
      }
      run.clear();
    };
    for (int32_t id : ids) {
      const PieceKind kind = Kind(id);
      if (skip_special && (kind == PieceKind::kControl || kind == PieceKind::kUnknown)) continue;
      if (kind == PieceKind::kByte) {
        run.append(PieceText(id));
      } else {
        end_run();
        text.append(PieceText(id));
      }
    }
    end_run();
    return text;
  }

  std::string_view PieceText(int32_t id) const override {
    return vocabulary_.Contains(id) ? vocabulary_.Shown(id) : std::string_view();
  }
  PieceKind Kind(int32_t id) const override {
    return vocabulary_.Contains(id) ? vocabulary_.Kind(id) : PieceKind::kUnused;
  }
  int32_t size() const override { return vocabulary_.size(); }
  int32_t Find(std::string_view piece) const override { return vocabulary_.Find(piece); }
  int32_t bos() const override { return bos_; }
  int32_t eos() const override { return eos_; }
  uint64_t bytes() const override {
    return sizeof(*this) + vocabulary_.bytes() + specials_.bytes() + bpe_->bytes();
  }

 private:
  const Vocabulary vocabulary_;
  const SpecialMatcher specials_;
  std::optional<Bpe> bpe_;
  const int32_t bos_, eos_;
};

}  // namespace

Result<std::shared_ptr<const Tokenizer>> BuildTokenizer(const VocabularySource& source,
                                                        const std::vector<MergePair>* merges,
                                                        const TokenizerOptions& options) {
  CARAT_ASSIGN_OR_RETURN(Vocabulary vocabulary, Vocabulary::Build(source));
  auto tokenizer = std::make_shared<BpeTokenizer>(std::move(vocabulary), source);
  CARAT_RETURN_IF_ERROR(tokenizer->Init(source, merges, options));
  return tokenizer;
}

Result<std::vector<MergePair>> SplitMerges(const VocabularySource& source) {
  std::vector<MergePair> pairs;
  pairs.reserve(source.merges.size());
  for (std::string_view merge : source.merges) {
    const size_t space = merge.find(' ', 1);
    if (space == std::string_view::npos) {
      return BadFile("{}: tokenizer: merge {} is \"{}\", expected two pieces with a space between",
                     source.file, pairs.size(), Printable(merge));
    }
    pairs.emplace_back(merge.substr(0, space), merge.substr(space + 1));
  }
  return pairs;
}

Result<std::shared_ptr<const Tokenizer>> Tokenizer::Create(const VocabularySource& source) {
  if (source.merges.empty()) {
    if (source.scores.empty()) {
      return BadFile("{}: tokenizer: neither merges nor scores", source.file);
    }
    return BuildTokenizer(source, nullptr, {});
  }
  CARAT_ASSIGN_OR_RETURN(const std::vector<MergePair> merges, SplitMerges(source));
  return BuildTokenizer(source, &merges, {});
}

}  // namespace carat
