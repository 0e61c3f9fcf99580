// SPDX-License-Identifier: Apache-2.0
// GGUF checkpoints in several files (file-formats.md 1.6).
#include <algorithm>
#include <optional>

#include "base/printable.h"
#include "io/gguf.h"

namespace carat {
namespace {

constexpr const char* kNo = "split.no";
constexpr const char* kCount = "split.count";
constexpr const char* kTotal = "split.tensors.count";

std::string Suffix(uint32_t number, uint32_t count) {
  return fmt::format("-{:05}-of-{:05}.gguf", number, count);
}

// The file name without "-NNNNN-of-NNNNN.gguf"; nothing when it does not end like that.
std::optional<std::string> Prefix(const std::string& name, uint32_t number, uint32_t count) {
  const std::string suffix = Suffix(number, count);
  if (name.size() < suffix.size() ||
      name.compare(name.size() - suffix.size(), suffix.size(), suffix) != 0)
    return std::nullopt;
  return name.substr(0, name.size() - suffix.size());
}

Status CheckShard(const GgufFile& shard, uint32_t no, uint32_t count) {
  const GgufMetadata& m = *shard.metadata;
  for (const char* key : {kNo, kCount}) {
    if (!m.Has(key)) return BadFile("{}: \"{}\": missing, expected u16", m.file, key);
  }
  CARAT_ASSIGN_OR_RETURN(const uint16_t found_no, m.U16Or(kNo, 0));
  CARAT_ASSIGN_OR_RETURN(const uint16_t found_count, m.U16Or(kCount, 0));
  if (found_no != no)
    return BadFile("{}: \"{}\": expected {}, found {}", m.file, kNo, no, found_no);
  if (found_count != count)
    return BadFile("{}: \"{}\": expected {} as in the first part, found {}", m.file, kCount, count,
                   found_count);
  return {};
}

Status CheckTotals(const std::vector<GgufFile>& shards) {
  const GgufMetadata& first = *shards[0].metadata;
  CARAT_ASSIGN_OR_RETURN(const int32_t total, first.RequireI32(kTotal));
  std::vector<std::pair<std::string_view, size_t>> names;  // and the shard
  for (size_t i = 0; i < shards.size(); ++i)
    for (const TensorEntry& t : shards[i].tensors) names.emplace_back(t.name, i);
  if (total < 0 || static_cast<uint64_t>(total) != names.size())
    return BadFile("{}: \"{}\": {}, but the {} parts hold {} tensors", first.file, kTotal, total,
                   shards.size(), names.size());
  std::sort(names.begin(), names.end());
  for (size_t i = 1; i < names.size(); ++i) {
    if (names[i].first == names[i - 1].first)
      return BadFile("{}: tensor \"{}\" is also in {}", shards[names[i].second].metadata->file,
                     Printable(names[i].first), shards[names[i - 1].second].metadata->file);
  }
  return {};
}

}  // namespace

Result<std::vector<GgufFile>> OpenGgufShards(const std::filesystem::path& first) {
  std::vector<GgufFile> shards(1);
  CARAT_ASSIGN_OR_RETURN(shards[0], OpenGguf(first));
  const GgufMetadata& m = *shards[0].metadata;
  CARAT_ASSIGN_OR_RETURN(const uint16_t no, m.U16Or(kNo, 0));
  CARAT_ASSIGN_OR_RETURN(const uint16_t count, m.U16Or(kCount, 0));
  const std::string name = first.filename().string();
  if (no != 0) {
    const auto prefix = Prefix(name, uint32_t{no} + 1, count);
    return BadFile("{}: part {} of {}; open the first part{}", m.file, no + 1, count,
                   prefix ? ": " + Printable(*prefix + Suffix(1, count), 300) : std::string());
  }
  if (count <= 1) return shards;
  const auto prefix = Prefix(name, 1, count);
  if (!prefix)
    return BadFile("{}: the first of {} parts: expected a file name ending in \"{}\"", m.file,
                   count, Suffix(1, count));
  CARAT_RETURN_IF_ERROR(CheckShard(shards[0], 0, count));
  for (uint32_t i = 1; i < count; ++i) {
    CARAT_ASSIGN_OR_RETURN(GgufFile shard,
                           OpenGguf(first.parent_path() / (*prefix + Suffix(i + 1, count))));
    CARAT_RETURN_IF_ERROR(CheckShard(shard, i, count));
    shards.push_back(std::move(shard));
  }
  CARAT_RETURN_IF_ERROR(CheckTotals(shards));
  return shards;
}

}  // namespace carat
