// SPDX-License-Identifier: Apache-2.0
// Inside of the Hugging Face readers: sections of config.json and its companions.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "io/checkpoint.h"
#include "model/config_source.h"

namespace carat {

// A JSON object with the words its messages begin with.
struct Section {
  const Json& json;
  std::string file;

  // The key is in the file, be it as null.
  bool Has(std::string_view key) const { return json.is_object() && json.contains(key); }
  bool IsNull(std::string_view key) const { return JsonFind(json, key) == nullptr; }

  Result<int64_t> Int(std::string_view key, int64_t min, int64_t max) const {
    CARAT_ASSIGN_OR_RETURN(const int64_t value, JsonInt(json, key, file));
    CARAT_RETURN_IF_ERROR(CheckRange(file, key, value, min, max));
    return value;
  }
  Result<int64_t> IntOr(std::string_view key, int64_t fallback, int64_t min, int64_t max) const {
    if (IsNull(key)) return fallback;
    return Int(key, min, max);
  }
  Result<double> NumberOr(std::string_view key, double fallback, double min, double max) const {
    if (IsNull(key)) return fallback;
    CARAT_ASSIGN_OR_RETURN(const double value, JsonNumber(json, key, file));
    CARAT_RETURN_IF_ERROR(CheckRange(file, key, value, min, max));
    return value;
  }
  Result<bool> BoolOr(std::string_view key, bool fallback) const {
    return JsonBoolOr(json, key, fallback, file);
  }
  Result<std::string> StringOr(std::string_view key, std::string_view fallback) const {
    return JsonStringOr(json, key, fallback, file);
  }
  // An option that must be off, because the decoder has no such part.
  Status Off(std::string_view key) const {
    const Json* value = JsonFind(json, key);
    if (value == nullptr || (value->is_boolean() && !value->get<bool>())) return {};
    return BadFile("{}: \"{}\": expected null or false, found {}", file, key, DescribeJson(*value));
  }
};

// The path of a companion file, for messages.
std::string TextFile(const Checkpoint& checkpoint, std::string_view name);
// A companion file that must be there and hold an object.
Result<Json> ParseText(const Checkpoint& checkpoint, std::string_view name);

}  // namespace carat
