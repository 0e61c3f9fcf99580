// SPDX-License-Identifier: Apache-2.0
// Builds the one Tokenizer that there is, from any source.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/bpe.h"
#include "text/merge_table.h"
#include "text/tokenizer.h"

namespace carat {

struct TokenizerOptions {
  bool fuse_unknown = true;  // see Bpe::Options, as the next
  bool cut = true;
};

// `merges` rule when not null, else source.scores; source.merges is not read. Errors: kBadFile.
Result<std::shared_ptr<const Tokenizer>> BuildTokenizer(const VocabularySource& source,
                                                        const std::vector<MergePair>* merges,
                                                        const TokenizerOptions& options);

// Tokenizer::FromTokenizerJson with options; the file says whether unknown characters are fused.
Result<std::shared_ptr<const Tokenizer>> TokenizerFromJson(std::string_view text, std::string file,
                                                           TokenizerOptions options);

// source.merges cut at the first space that is not their first byte. Views into the source.
// Errors: kBadFile.
Result<std::vector<MergePair>> SplitMerges(const VocabularySource& source);

}  // namespace carat
