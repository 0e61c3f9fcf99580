// SPDX-License-Identifier: Apache-2.0
#include "runtime/inspect_report.h"

#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>

#include "base/printable.h"

namespace carat {

ReportBuilder::ReportBuilder(std::string_view kind, const std::filesystem::path& path)
    : kind_(kind), json_(std::make_unique<Json>(Json::object())) {
  Add("kind", kind_);
  Add("path", path.string(), kind, Printable(path.string(), 4096));
}

ReportBuilder::~ReportBuilder() = default;

void ReportBuilder::Add(std::string_view key, const Json& value, std::string_view label,
                        std::string_view shown) {
  Add(key, value);
  Line(label, shown);
}

void ReportBuilder::Add(std::string_view key, const Json& value) {
  (*json_)[std::string(key)] = value;
}

void ReportBuilder::Line(std::string_view label, std::string_view shown) {
  text_ += fmt::format("{:<20} {}\n", label, shown);
}

void ReportBuilder::AddTensors(std::span<const TensorEntry* const> tensors, bool list) {
  std::map<std::string, uint64_t> types;
  uint64_t elements = 0, bytes = 0;
  for (const TensorEntry* tensor : tensors) {
    ++types[Name(tensor->dtype)];
    uint64_t count = 1;
    for (const uint64_t n : tensor->shape) count *= n;  // checked when the file was read
    elements += count;
    bytes += tensor->bytes;
  }
  Add("tensor_count", tensors.size(), "tensors", std::to_string(tensors.size()));
  Add("elements", elements, "elements", std::to_string(elements));
  Add("tensor_bytes", bytes, "tensor bytes", ShowBytes(bytes));
  std::string shown;
  for (const auto& [type, count] : types)
    shown += fmt::format("{}{} {}", shown.empty() ? "" : ", ", type, count);
  Add("tensor_types", types, "tensor types", shown);
  if (!list) return;
  Json array = Json::array();
  for (const TensorEntry* tensor : tensors) {
    array.push_back({{"name", tensor->name},
                     {"type", Name(tensor->dtype)},
                     {"shape", tensor->shape},
                     {"offset", tensor->offset},
                     {"bytes", tensor->bytes}});
    text_ += fmt::format("  {:<48} {:<8} {}\n", Printable(tensor->name), Name(tensor->dtype),
                         ShowShape(tensor->shape));
  }
  Add("tensors", array);
}

void ReportBuilder::AddWarnings(std::span<const std::string> warnings) {
  Json array = Json::array();
  for (const std::string& warning : warnings) {
    array.push_back(warning);
    Line("warning", warning);
  }
  Add("warnings", array);
}

InspectReport ReportBuilder::Finish() const {
  return {.kind = kind_, .json = DumpJson(*json_), .text = text_};
}

std::string ShowBytes(uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
  if (bytes < 1000) return fmt::format("{} bytes", bytes);
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 999.95 && unit + 1 < std::size(kUnits); ++unit) value /= 1000;
  return fmt::format("{:.1f} {} ({} bytes)", value, kUnits[unit], bytes);
}

}  // namespace carat
