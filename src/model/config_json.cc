// SPDX-License-Identifier: Apache-2.0
#include "model/config_json.h"

namespace carat {

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
