// SPDX-License-Identifier: Apache-2.0
// Defaults of generation, from both file forms (prompting.md 8).
#include <algorithm>
#include <nlohmann/json.hpp>

#include "model/config_json.h"
#include "model/config_source.h"

namespace carat {
namespace {

// An id or a list of ids; nothing when absent.
Result<std::vector<int32_t>> ReadIds(const Section& s, const char* key, int64_t vocab) {
  const Json* value = JsonFind(s.json, key);
  std::vector<int64_t> ids;
  if (value != nullptr && value->is_array()) {
    CARAT_ASSIGN_OR_RETURN(ids, JsonInts(s.json, key, s.file));
  } else if (value != nullptr) {
    CARAT_ASSIGN_OR_RETURN(const int64_t id, JsonInt(s.json, key, s.file));
    ids.push_back(id);
  }
  return CheckIds(s.file, key, ids, vocab);
}

Status ReadSampling(const Section& s, GenerationDefaults* d) {
  CARAT_ASSIGN_OR_RETURN(const double temperature,
                         s.NumberOr("temperature", d->temperature, 0, 100));
  CARAT_ASSIGN_OR_RETURN(const double top_p, s.NumberOr("top_p", d->top_p, 0, 1));
  CARAT_ASSIGN_OR_RETURN(const int64_t top_k, s.IntOr("top_k", d->top_k, INT32_MIN, INT32_MAX));
  CARAT_ASSIGN_OR_RETURN(const bool sample, s.BoolOr("do_sample", true));
  d->temperature = sample ? static_cast<float>(temperature) : 0;
  d->top_p = static_cast<float>(top_p);
  d->top_k = static_cast<int>(std::max<int64_t>(top_k, 0));
  return {};
}

}  // namespace

Result<GenerationDefaults> ReadGgufGeneration(const Checkpoint& checkpoint, const Config& config) {
  const GgufMetadata& meta = *checkpoint.metadata;
  GenerationDefaults d;
  CARAT_ASSIGN_OR_RETURN(d.temperature, meta.F32Or("general.sampling.temp", d.temperature));
  CARAT_RETURN_IF_ERROR(
      CheckRange(meta.file, "general.sampling.temp", double{d.temperature}, 0, 100));
  CARAT_ASSIGN_OR_RETURN(d.top_p, meta.F32Or("general.sampling.top_p", d.top_p));
  CARAT_RETURN_IF_ERROR(CheckRange(meta.file, "general.sampling.top_p", double{d.top_p}, 0, 1));
  if (meta.Has("general.sampling.top_k")) {
    CARAT_ASSIGN_OR_RETURN(const auto top_k, meta.RequireInts("general.sampling.top_k", true));
    if (top_k.size() != 1) {
      return BadFile("{}: \"general.sampling.top_k\": expected one number, found an array of {}",
                     meta.file, top_k.size());
    }
    // 0 and negative values switch it off.
    d.top_k = static_cast<int>(std::clamp<int64_t>(top_k[0], 0, kMaxVocab));
  }
  // Ends of sequence, turn and message, as the file has them; "unset" is written as -1 (1.10.22).
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                          "tokenizer.ggml.eom_token_id"}) {
    if (!meta.Has(key)) continue;
    CARAT_ASSIGN_OR_RETURN(auto ids, meta.RequireInts(key, true));
    if (ids.size() == 1 && (ids[0] == -1 || ids[0] == UINT32_MAX)) continue;
    CARAT_ASSIGN_OR_RETURN(const auto checked, CheckIds(meta.file, key, ids, config.vocab));
    AddIds(checked, &d.stop_ids);
  }
  constexpr const char* kSuppress = "tokenizer.ggml.suppress_tokens";
  if (meta.Has(kSuppress)) {
    CARAT_ASSIGN_OR_RETURN(const auto ids, meta.RequireInts(kSuppress, false));
    CARAT_ASSIGN_OR_RETURN(d.suppress, CheckIds(meta.file, kSuppress, ids, config.vocab));
  }
  return d;
}

Result<GenerationDefaults> ReadHfGeneration(const Checkpoint& checkpoint, const Config& config) {
  GenerationDefaults d;
  if (checkpoint.texts.find("generation_config.json") != checkpoint.texts.end()) {
    CARAT_ASSIGN_OR_RETURN(const Json json, ParseText(checkpoint, "generation_config.json"));
    const Section s{json, TextFile(checkpoint, "generation_config.json")};
    CARAT_RETURN_IF_ERROR(ReadSampling(s, &d));
    CARAT_ASSIGN_OR_RETURN(d.stop_ids, ReadIds(s, "eos_token_id", config.vocab));
    CARAT_ASSIGN_OR_RETURN(d.suppress, ReadIds(s, "suppress_tokens", config.vocab));
  }
  CARAT_ASSIGN_OR_RETURN(const Json json, ParseText(checkpoint, "config.json"));
  const Section top{json, TextFile(checkpoint, "config.json")};
  CARAT_ASSIGN_OR_RETURN(auto ids, ReadIds(top, "eos_token_id", config.vocab));
  AddIds(ids, &d.stop_ids);
  if (const Json* text = JsonFind(json, "text_config")) {
    const Section section{*text, top.file + ": text_config"};
    CARAT_ASSIGN_OR_RETURN(ids, ReadIds(section, "eos_token_id", config.vocab));
    AddIds(ids, &d.stop_ids);
  }
  return d;
}

}  // namespace carat
