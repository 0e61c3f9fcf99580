// SPDX-License-Identifier: Apache-2.0
// carat models: what is in the cache.
#include <fmt/format.h>

#include <algorithm>

#include "commands.h"
#include "json_writer.h"
#include "model_loading.h"

namespace carat {
namespace {

std::string ModelsJson(const std::vector<CachedModel>& models) {
  JsonWriter json;
  json.BeginArray();
  for (const CachedModel& model : models) {
    json.BeginObject();
    json.Key("name").String(model.name);
    json.Key("path").String(model.path.native());
    json.Key("bytes").Uint(model.bytes);
    json.EndObject();
  }
  json.EndArray();
  return json.text() + "\n";
}

}  // namespace

Status ModelsCommand(const ModelsOptions& options, Output& out) {
  const auto models = ListModels();
  if (options.json) return out.Write(ModelsJson(models));
  if (models.empty()) {
    Note("no models in the cache; `make run` or tools/fetch_model.py bring gemma3-270m\n");
    return {};
  }
  size_t width = 0;
  for (const CachedModel& model : models) width = std::max(width, model.name.size());
  for (const CachedModel& model : models) {
    CARAT_RETURN_IF_ERROR(out.Write(fmt::format("{:<{}}  {:>9}  {}\n", model.name, width,
                                                HumanBytes(model.bytes), model.path.native())));
  }
  return {};
}

}  // namespace carat
