// SPDX-License-Identifier: Apache-2.0
// Inside of the Hugging Face readers: sections of config.json and its companions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "io/checkpoint.h"

namespace carat {

// A JSON object with the words its messages begin with. A key that is null counts as absent,
// except for Has.
struct Section {
  const Json& json;
  std::string file;

  bool Has(std::string_view key) const;
  bool IsNull(std::string_view key) const { return JsonFind(json, key) == nullptr; }

  // In [min, max]; a fallback may lie outside.
  Result<int64_t> Int(std::string_view key, int64_t min, int64_t max) const;
  Result<int64_t> IntOr(std::string_view key, int64_t fallback, int64_t min, int64_t max) const;
  Result<double> NumberOr(std::string_view key, double fallback, double min, double max) const;
  Result<bool> BoolOr(std::string_view key, bool fallback) const;
  Result<std::string> StringOr(std::string_view key, std::string_view fallback) const;
  // An option that must be off, because the decoder has no such part.
  Status Off(std::string_view key) const;
};

// The path of a companion file, for messages.
std::string TextFile(const Checkpoint& checkpoint, std::string_view name);
// A companion file that must be there and hold an object.
Result<Json> ParseText(const Checkpoint& checkpoint, std::string_view name);

}  // namespace carat
