// SPDX-License-Identifier: Apache-2.0
#include "model/config_json.h"

#include <nlohmann/json.hpp>

#include "model/config_source.h"

namespace carat {

bool Section::Has(std::string_view key) const { return json.is_object() && json.contains(key); }

Result<int64_t> Section::Int(std::string_view key, int64_t min, int64_t max) const {
  CARAT_ASSIGN_OR_RETURN(const int64_t value, JsonInt(json, key, file));
  CARAT_RETURN_IF_ERROR(CheckRange(file, key, value, min, max));
  return value;
}

Result<int64_t> Section::IntOr(std::string_view key, int64_t fallback, int64_t min,
                               int64_t max) const {
  if (IsNull(key)) return fallback;
  return Int(key, min, max);
}

Result<double> Section::NumberOr(std::string_view key, double fallback, double min,
                                 double max) const {
  if (IsNull(key)) return fallback;
  CARAT_ASSIGN_OR_RETURN(const double value, JsonNumber(json, key, file));
  CARAT_RETURN_IF_ERROR(CheckRange(file, key, value, min, max));
  return value;
}

Result<bool> Section::BoolOr(std::string_view key, bool fallback) const {
  return JsonBoolOr(json, key, fallback, file);
}

Result<std::string> Section::StringOr(std::string_view key, std::string_view fallback) const {
  return JsonStringOr(json, key, fallback, file);
}

Status Section::Off(std::string_view key) const {
  const Json* value = JsonFind(json, key);
  if (value == nullptr || (value->is_boolean() && !value->get<bool>())) return {};
  return BadFile("{}: \"{}\": expected null or false, found {}", file, key, DescribeJson(*value));
}

std::string TextFile(const Checkpoint& checkpoint, std::string_view name) {
  std::filesystem::path dir = checkpoint.path;
  if (dir.extension() == ".safetensors" || dir.extension() == ".json") dir = dir.parent_path();
  return (dir / name).string();
}

Result<Json> ParseText(const Checkpoint& checkpoint, std::string_view name) {
  const std::string file = TextFile(checkpoint, name);
  const auto it = checkpoint.texts.find(name);
  if (it == checkpoint.texts.end()) {
    return BadFile("{}: missing, expected beside the safetensors files", file);
  }
  CARAT_ASSIGN_OR_RETURN(Json json, ParseJson(it->second, file));
  if (!json.is_object()) {
    return BadFile("{}: expected an object, found {}", file, DescribeJson(json));
  }
  return json;
}

}  // namespace carat
