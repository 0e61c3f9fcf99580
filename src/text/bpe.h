// SPDX-License-Identifier: Apache-2.0
// The merge engine: a stretch of text without control strings becomes ids (prompting.md 1.3).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/merge_table.h"
#include "text/vocabulary.h"

namespace carat {

class Bpe {
 public:
  struct Options {
    int32_t unknown = -1;      // stands for what can't be spelled when there are no byte pieces
    bool fuse_unknown = true;  // one for a whole run of such characters
    bool cut = true;           // false: merge whole stretches, to test that cutting changes nothing
  };

  // `vocabulary` must outlive this object and stay where it is.
  Bpe(const Vocabulary* vocabulary, MergeTable merges, Options options);

  // Buffers of one Encode call, reused from stretch to stretch.
  struct Scratch;
  struct ScratchDeleter {
    void operator()(Scratch* scratch) const;
  };
  using ScratchPtr = std::unique_ptr<Scratch, ScratchDeleter>;
  // `text` is the whole text of the call; the stretches given to Encode lie in it.
  static ScratchPtr NewScratch(std::string_view text);

  // Appends the ids of `stretch`. Time: O(n log n) in the length of its longest part that can't be
  // cut, linear in the rest.
  void Encode(std::string_view stretch, Scratch* scratch, std::vector<int32_t>* ids) const;

  uint64_t bytes() const;

 private:
  // Whether a piece is what its own text merges into. Found out when first asked for.
  enum Whole : uint8_t { kUntried, kYes, kNo };

  void EncodePart(std::string_view part, Scratch* scratch, std::vector<int32_t>* ids) const;
  bool IsWhole(int32_t id, std::string_view part, Scratch* scratch) const;
  void Merge(std::string_view part, Scratch* scratch) const;
  void MergeFew(std::vector<int32_t>* symbols) const;
  void MergeMany(Scratch* scratch) const;
  void Emit(const Scratch& scratch, std::vector<int32_t>* ids) const;

  const Vocabulary* vocabulary_;
  MergeTable merges_;
  Options options_;
  std::unique_ptr<std::atomic<uint8_t>[]> whole_;  // by id; a memo, so relaxed and shared
};

}  // namespace carat
