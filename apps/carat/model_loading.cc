// SPDX-License-Identifier: Apache-2.0
#include "model_loading.h"

#include <fmt/format.h>

#include <cstdlib>

#include "interrupt.h"
#include "progress.h"

namespace carat {
namespace {

constexpr const char* kDefaultModel = "gemma3-270m";

}  // namespace

Result<std::filesystem::path> FindModel(const std::string& name) {
  if (!name.empty()) return ResolveModel(name);
  const char* chosen = std::getenv("CARAT_MODEL");
  if (chosen != nullptr && *chosen != '\0') return ResolveModel(chosen);
  auto path = ResolveModel(kDefaultModel);
  if (path || path.error().code != Code::kNotFound) return path;
  return NotFound(
      "no model given, and the default model is not there: {}; `make run` or "
      "tools/fetch_model.py bring {}",
      path.error().message, kDefaultModel);
}

Result<std::shared_ptr<Model>> LoadModel(const ModelFlags& flags, LoadOptions options) {
  CARAT_ASSIGN_OR_RETURN(const auto path, FindModel(flags.model));
  options.mode = flags.mode;
  options.threads = flags.threads;
  if (flags.context_tokens > 0) options.context_tokens = flags.context_tokens;
  const Interrupt::Polled polled;
  Progress progress("loading", Progress::Elsewhere::kNothing);
  options.progress = [&](double share) {
    progress.Update(share);
    return !Interrupt::pending();
  };
  return Model::Load(path, options);
}

int32_t SpecialToken(const ModelInfo& info, std::string_view name) {
  for (const auto& [key, id] : info.special_tokens) {
    if (key == name) return id;
  }
  return -1;
}

const char* ModeName(Mode mode) { return mode == Mode::kExact ? "exact" : "fast"; }

std::string HumanBytes(uint64_t bytes) {
  constexpr const char* kUnits[] = {"kB", "MB", "GB", "TB"};
  if (bytes < 1000) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes) / 1e3;
  size_t unit = 0;
  while (value >= 999.95 && unit + 1 < std::size(kUnits)) {
    value /= 1e3;
    ++unit;
  }
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string DescribePlan(const MemoryPlan& plan) {
  std::string text = fmt::format("memory plan, context of {} tokens\n", plan.context_tokens);
  for (const auto& [name, bytes] : PlanLines(plan))
    text += fmt::format("  {:<18} {:>10}\n", name, HumanBytes(bytes));
  return text;
}

}  // namespace carat
