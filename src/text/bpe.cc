// SPDX-License-Identifier: Apache-2.0
#include "text/bpe.h"

#include <algorithm>
#include <cstring>
#include <functional>

#include "text/code_points.h"
#include "text/hash.h"

namespace carat {
namespace {

// Parts up to this length are looked up as a whole before they are merged.
constexpr size_t kMaxKnownBytes = 64;
// Up to this many symbols a scan for the lowest rank beats a queue.
constexpr size_t kFewSymbols = 32;
// Positions within a part are 32-bit. No text that fits a computer's memory gets here: the queue
// takes 28 bytes a symbol.
constexpr size_t kMaxPartBytes = size_t{1} << 31;
// Texts shorter than this hardly repeat a word.
constexpr size_t kMinCachedText = 1024;

// Symbols below zero: a code point that is spelled in bytes, or a single byte of no code point.
constexpr int32_t SpelledSymbol(uint32_t code_point) {
  return -2 - static_cast<int32_t>(code_point);
}
constexpr int32_t kFirstByteSymbol = SpelledSymbol(0x110000);
constexpr int32_t ByteSymbol(uint8_t byte) { return kFirstByteSymbol - byte; }

constexpr uint32_t kNone = 0xFFFFFFFF;

// Writes `part` with U+2581 for spaces to `out` (3 * part.size() bytes) and returns the length.
size_t Normalise(std::string_view part, char* out) {
  char* end = out;
  while (!part.empty()) {
    if (part[0] == ' ') {
      std::memcpy(end, kMetaSpaceUtf8.data(), 3);
      end += 3;
      part.remove_prefix(1);
      continue;
    }
    const size_t run = std::min(part.find(' '), part.size());
    std::memcpy(end, part.data(), run);
    end += run;
    part.remove_prefix(run);
  }
  return end - out;
}

}  // namespace

struct Bpe::Scratch {
  // The ids of a part that occurred before, as a place in the output.
  struct Seen {
    const char* part = nullptr;
    uint32_t length = 0;
    uint32_t ids = 0;
    size_t first_id = 0;
  };
  std::vector<Seen> seen;    // by hash; a newer part replaces an older one
  size_t stretch_first = 0;  // index of the stretch's first id

  // The part being merged.
  std::vector<int32_t> symbols;
  std::vector<uint32_t> next, previous;
  std::vector<uint64_t> queue;  // rank << 32 | position, a heap with the least in front
};

void Bpe::ScratchDeleter::operator()(Scratch* scratch) const { delete scratch; }

Bpe::ScratchPtr Bpe::NewScratch(std::string_view text) {
  ScratchPtr scratch(new Scratch);
  if (text.size() >= kMinCachedText) {
    size_t entries = 256;
    while (entries < text.size() / 32 && entries < 16384) entries *= 2;
    scratch->seen.resize(entries);
  }
  return scratch;
}

Bpe::Bpe(const Vocabulary* vocabulary, MergeTable merges, Options options)
    : vocabulary_(vocabulary),
      merges_(std::move(merges)),
      options_(options),
      whole_(new std::atomic<uint8_t>[vocabulary->size()]()) {}

uint64_t Bpe::bytes() const { return merges_.bytes() + vocabulary_->size(); }

void Bpe::Encode(std::string_view stretch, Scratch* scratch, std::vector<int32_t>* ids) const {
  scratch->stretch_first = ids->size();
  size_t begin = 0;
  uint32_t previous = kNoCodePoint;
  for (size_t i = 0; i < stretch.size();) {
    CodePoint c{static_cast<uint8_t>(stretch[i]), 1};
    if (c.value >= 0x80) {
      c = CodePointAt(stretch, i);
      if (c.value == kMetaSpace) c.value = ' ';
    }
    if (i > begin &&
        ((options_.cut && !merges_.MayJoin(previous, c.value)) || i - begin >= kMaxPartBytes)) {
      EncodePart(stretch.substr(begin, i - begin), scratch, ids);
      begin = i;
    }
    previous = c.value;
    i += c.length;
  }
  if (begin < stretch.size()) EncodePart(stretch.substr(begin), scratch, ids);
}

void Bpe::EncodePart(std::string_view part, Scratch* scratch, std::vector<int32_t>* ids) const {
  if (part.size() == 1 && static_cast<uint8_t>(part[0]) < 0x80) {
    const int32_t symbol =
        merges_.SymbolOf(part[0] == ' ' ? kMetaSpace : static_cast<uint32_t>(part[0]));
    if (vocabulary_->Contains(symbol)) {
      ids->push_back(symbol);
      return;
    }
  }
  if (part.size() > kMaxKnownBytes) {
    Merge(part, scratch);
    Emit(*scratch, ids);
    return;
  }
  char normal[3 * kMaxKnownBytes];
  const std::string_view piece(normal, Normalise(part, normal));
  const uint64_t hash = Vocabulary::HashOf(piece);
  // What unknown characters give depends on what is in front of them.
  const bool remember = !scratch->seen.empty() && vocabulary_->has_bytes();
  Scratch::Seen* seen = remember ? &scratch->seen[hash & (scratch->seen.size() - 1)] : nullptr;
  const size_t first = ids->size();
  if (seen != nullptr && seen->length == part.size() &&
      std::memcmp(seen->part, part.data(), part.size()) == 0) {
    ids->resize(first + seen->ids);
    std::copy_n(ids->begin() + seen->first_id, seen->ids, ids->begin() + first);
    return;
  }
  const int32_t id = vocabulary_->Find(piece, hash);
  if (id >= 0 && IsWhole(id, part, scratch)) {
    ids->push_back(id);
  } else {
    Merge(part, scratch);
    Emit(*scratch, ids);
  }
  if (seen != nullptr) {
    *seen = {part.data(), static_cast<uint32_t>(part.size()),
             static_cast<uint32_t>(ids->size() - first), first};
  }
}

bool Bpe::IsWhole(int32_t id, std::string_view part, Scratch* scratch) const {
  const uint8_t known = whole_[id].load(std::memory_order_relaxed);
  if (known != kUntried) return known == kYes;
  Merge(part, scratch);
  const bool whole = scratch->symbols.size() == 1 && scratch->symbols[0] == id;
  whole_[id].store(whole ? kYes : kNo, std::memory_order_relaxed);
  return whole;
}

// Leaves the merged symbols of `part` in scratch->symbols.
void Bpe::Merge(std::string_view part, Scratch* scratch) const {
  std::vector<int32_t>& symbols = scratch->symbols;
  symbols.clear();
  for (size_t i = 0; i < part.size();) {
    const CodePoint c = CodePointAt(part, i);
    if (c.value == kNoCodePoint) {
      symbols.push_back(ByteSymbol(static_cast<uint8_t>(part[i])));
    } else {
      const uint32_t code_point = c.value == ' ' ? kMetaSpace : c.value;
      const int32_t symbol = merges_.SymbolOf(code_point);
      symbols.push_back(symbol == MergeTable::kNoSymbol ? SpelledSymbol(code_point) : symbol);
    }
    i += c.length;
  }
  if (symbols.size() < 2) return;
  if (symbols.size() <= kFewSymbols) {
    MergeFew(&symbols);
  } else {
    MergeMany(scratch);
  }
}

void Bpe::MergeFew(std::vector<int32_t>* symbols) const {
  int32_t* const s = symbols->data();
  size_t n = symbols->size();
  uint32_t rank[kFewSymbols];  // of the pair that starts here
  int32_t result[kFewSymbols];
  const auto look_up = [&](size_t i) {
    const MergeTable::Merge merge = merges_.Find(s[i], s[i + 1]);
    rank[i] = merge.rank;
    result[i] = merge.result;
    if (merge.result >= 0) {
      if (i > 0) merges_.Prefetch(s[i - 1], merge.result);
      if (i + 2 < n) merges_.Prefetch(merge.result, s[i + 2]);
    }
  };
  for (size_t i = 0; i + 1 < n; ++i) look_up(i);
  while (n > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < n; ++i) {
      if (rank[i] < rank[best]) best = i;
    }
    if (rank[best] == MergeTable::kNoRank) break;
    s[best] = result[best];
    for (size_t i = best + 1; i + 1 < n; ++i) {
      s[i] = s[i + 1];
      rank[i] = rank[i + 1];
      result[i] = result[i + 1];
    }
    --n;
    if (best > 0) look_up(best - 1);
    if (best + 1 < n) look_up(best);
  }
  symbols->resize(n);
}

void Bpe::MergeMany(Scratch* scratch) const {
  std::vector<int32_t>& s = scratch->symbols;
  std::vector<uint32_t>& next = scratch->next;
  std::vector<uint32_t>& previous = scratch->previous;
  std::vector<uint64_t>& queue = scratch->queue;
  const auto n = static_cast<uint32_t>(s.size());
  next.resize(n);
  previous.resize(n);
  queue.clear();
  constexpr int32_t kGone = -1;
  const auto key_at = [&](uint32_t i) -> uint64_t {
    return uint64_t{merges_.Find(s[i], s[next[i]]).rank} << 32 | i;
  };
  for (uint32_t i = 0; i < n; ++i) {
    next[i] = i + 1 < n ? i + 1 : kNone;
    previous[i] = i > 0 ? i - 1 : kNone;
    if (next[i] == kNone) break;
    const uint64_t key = key_at(i);
    if (key >> 32 != MergeTable::kNoRank) queue.push_back(key);
  }
  std::make_heap(queue.begin(), queue.end(), std::greater<>());
  const auto push = [&](uint32_t i) {
    const uint64_t key = key_at(i);
    if (key >> 32 == MergeTable::kNoRank) return;
    queue.push_back(key);
    std::push_heap(queue.begin(), queue.end(), std::greater<>());
  };
  while (!queue.empty()) {
    const uint64_t key = queue.front();
    std::pop_heap(queue.begin(), queue.end(), std::greater<>());
    queue.pop_back();
    const auto i = static_cast<uint32_t>(key);
    // The pair that was queued may be gone: what is there now counts if it has the same rank.
    if (s[i] == kGone || next[i] == kNone) continue;
    const uint32_t right = next[i];
    const MergeTable::Merge merge = merges_.Find(s[i], s[right]);
    if (merge.rank != key >> 32) continue;
    s[i] = merge.result;
    s[right] = kGone;
    next[i] = next[right];
    if (next[i] != kNone) {
      previous[next[i]] = i;
      push(i);
    }
    if (previous[i] != kNone) push(previous[i]);
  }
  s.erase(std::remove(s.begin(), s.end(), kGone), s.end());
}

void Bpe::Emit(const Scratch& scratch, std::vector<int32_t>* ids) const {
  for (int32_t symbol : scratch.symbols) {
    if (vocabulary_->Contains(symbol)) {
      ids->push_back(symbol);
      continue;
    }
    if (!vocabulary_->has_bytes()) {
      const bool repeated = ids->size() > scratch.stretch_first && ids->back() == options_.unknown;
      if (!repeated || !options_.fuse_unknown) ids->push_back(options_.unknown);
      continue;
    }
    if (symbol <= kFirstByteSymbol) {
      ids->push_back(vocabulary_->byte_ids()[kFirstByteSymbol - symbol]);
      continue;
    }
    std::string utf8;
    AppendUtf8(&utf8,
               symbol < 0 ? static_cast<uint32_t>(-2 - symbol) : merges_.CodePointOf(symbol));
    for (char c : utf8) ids->push_back(vocabulary_->byte_ids()[static_cast<uint8_t>(c)]);
  }
}

}  // namespace carat
