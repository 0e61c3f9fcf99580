// SPDX-License-Identifier: Apache-2.0
// Containers of tensors, whatever they mean: GGUF, split GGUF, safetensors.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>

#include "base/printable.h"
#include "io/safetensors.h"
#include "runtime/inspect_report.h"

namespace carat {
namespace {

// Files may hold anything; a report stays readable.
constexpr size_t kMaxKeysShown = 1000, kMaxTextShown = 400;

std::vector<const TensorEntry*> Pointers(const std::vector<TensorEntry>& tensors) {
  std::vector<const TensorEntry*> pointers;
  pointers.reserve(tensors.size());
  for (const TensorEntry& tensor : tensors) pointers.push_back(&tensor);
  return pointers;
}

template <class T>
T Load(const GgufValue& value) {
  T out{};
  std::memcpy(&out, value.bytes.data(), sizeof(T));
  return out;
}

Json ToJson(const GgufValue& value) {
  switch (value.type) {
    case GgufType::kU8:
      return Load<uint8_t>(value);
    case GgufType::kI8:
      return Load<int8_t>(value);
    case GgufType::kU16:
      return Load<uint16_t>(value);
    case GgufType::kI16:
      return Load<int16_t>(value);
    case GgufType::kU32:
      return Load<uint32_t>(value);
    case GgufType::kI32:
      return Load<int32_t>(value);
    case GgufType::kU64:
      return Load<uint64_t>(value);
    case GgufType::kI64:
      return Load<int64_t>(value);
    case GgufType::kF32:
      return Load<float>(value);
    case GgufType::kF64:
      return Load<double>(value);
    case GgufType::kBool:
      return Load<uint8_t>(value) != 0;
    case GgufType::kString:
      return std::string(reinterpret_cast<const char*>(value.bytes.data()),
                         std::min(value.bytes.size(), kMaxTextShown));
    case GgufType::kArray:
      break;
  }
  return {{"array_of", Name(value.elem)}, {"count", value.count}};
}

void AddMetadata(const GgufMetadata& metadata, ReportBuilder& report) {
  Json object = Json::object();
  for (const auto& [key, value] : metadata.values) {
    if (object.size() == kMaxKeysShown) break;
    object[Printable(key, kMaxTextShown)] = ToJson(value);
    report.Line(Printable(key, 48), Describe(value));
  }
  if (metadata.values.size() > kMaxKeysShown)
    report.Line("...", fmt::format("{} more keys", metadata.values.size() - kMaxKeysShown));
  report.Add("metadata_count", metadata.values.size());
  report.Add("metadata", object);
}

}  // namespace

Result<InspectReport> InspectContainer(const std::filesystem::path& path,
                                       const InspectOptions& options) {
  CARAT_ASSIGN_OR_RETURN(const GgufFile file, OpenGguf(path));
  ReportBuilder report("container", path);
  report.Add("format", "gguf");
  report.Add("version", file.version, "format", fmt::format("GGUF, version {}", file.version));
  report.Add("bytes", file.file->size(), "size", ShowBytes(file.file->size()));
  report.Add("alignment", file.alignment, "alignment", std::to_string(file.alignment));
  report.Add("data_start", file.data_start, "data start", std::to_string(file.data_start));
  AddMetadata(*file.metadata, report);
  report.AddTensors(Pointers(file.tensors), options.tensors);
  return report.Finish();
}

Result<InspectReport> InspectSplit(const std::filesystem::path& path,
                                   const InspectOptions& options) {
  CARAT_ASSIGN_OR_RETURN(const std::vector<GgufFile> files, OpenGgufShards(path));
  ReportBuilder report("split", path);
  report.Add("format", "gguf");
  Json parts = Json::array();
  std::vector<const TensorEntry*> tensors;
  for (const GgufFile& file : files) {
    const auto own = Pointers(file.tensors);
    tensors.insert(tensors.end(), own.begin(), own.end());
    const std::string name = file.file->path().filename().string();
    parts.push_back({{"file", name}, {"bytes", file.file->size()}, {"tensors", own.size()}});
    report.Line(parts.size() == 1 ? "parts" : "",
                fmt::format("{}: {}, {} tensors", Printable(name), ShowBytes(file.file->size()),
                            own.size()));
  }
  report.Add("parts", parts);
  AddMetadata(*files[0].metadata, report);
  report.AddTensors(tensors, options.tensors);
  return report.Finish();
}

Result<InspectReport> InspectSafetensors(const std::filesystem::path& path,
                                         const InspectOptions& options) {
  CARAT_ASSIGN_OR_RETURN(const auto mapped, MappedFile::Open(path));
  CARAT_ASSIGN_OR_RETURN(const SafetensorsFile file, ParseSafetensors(mapped));
  ReportBuilder report("safetensors", path);
  report.Add("format", "safetensors");
  report.Add("bytes", mapped->size(), "size", ShowBytes(mapped->size()));
  Json metadata = Json::object();
  for (const auto& [key, value] : file.metadata) {
    metadata[key] = value;
    report.Line(Printable(key, 48), Printable(value));
  }
  report.Add("metadata", metadata);
  report.AddTensors(Pointers(file.tensors), options.tensors);
  return report.Finish();
}

Result<InspectReport> InspectIndex(const std::filesystem::path& path,
                                   const InspectOptions& options) {
  // OpenCheckpoint takes a file for an index by this name alone.
  if (path.extension() != ".json") {
    return BadFile("{}: expected an index, named *.json, found {}", path.string(),
                   Printable(path.filename().string()));
  }
  CARAT_ASSIGN_OR_RETURN(const Checkpoint checkpoint, OpenCheckpoint(path));
  ReportBuilder report("safetensors-index", path);
  report.Add("format", "safetensors");
  std::map<std::string, uint64_t> parts;
  std::vector<const TensorEntry*> tensors;
  for (const auto& [name, tensor] : checkpoint.tensors) {
    ++parts[tensor.file->path().filename().string()];
    tensors.push_back(&tensor);
  }
  Json list = Json::array();
  for (const auto& [name, count] : parts) {
    list.push_back({{"file", name}, {"tensors", count}});
    report.Line(list.size() == 1 ? "parts" : "",
                fmt::format("{}: {} tensors", Printable(name), count));
  }
  report.Add("parts", list);
  report.AddTensors(tensors, options.tensors);
  report.AddWarnings(checkpoint.warnings);
  return report.Finish();
}

}  // namespace carat
