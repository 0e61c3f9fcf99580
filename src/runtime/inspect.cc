// SPDX-License-Identifier: Apache-2.0
// `carat inspect`: which kind of file, and which inspector.
#include <algorithm>
#include <array>
#include <system_error>
#include <utility>

#include "base/printable.h"
#include "runtime/inspect_report.h"

namespace carat {
namespace {

using Inspector = Result<InspectReport> (*)(const std::filesystem::path&, const InspectOptions&);
struct Kind {
  std::string_view name;
  Inspector inspect;
};

constexpr std::array<Kind, 7> kKinds = {{{"container", InspectContainer},
                                         {"model", InspectModelFile},
                                         {"split", InspectSplit},
                                         {"adapter", InspectAdapter},
                                         {"mmproj", InspectProjector},
                                         {"safetensors", InspectSafetensors},
                                         {"safetensors-index", InspectIndex}}};

bool EndsWith(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

bool HasKey(const GgufMetadata& metadata, std::string_view prefix) {
  const auto it = metadata.values.lower_bound(prefix);
  return it != metadata.values.end() && it->first.compare(0, prefix.size(), prefix) == 0;
}

// Contents decide before labels: a file that is labelled wrongly should be refused as what it is.
std::string GuessGguf(const GgufFile& file) {
  const GgufMetadata& metadata = *file.metadata;
  const auto text = [&](std::string_view key) { return metadata.StringOr(key, "").value_or(""); };
  const auto has_tensor = [&](auto matches) {
    return std::any_of(file.tensors.begin(), file.tensors.end(), matches);
  };
  const std::string type = text("general.type");
  if (type == "adapter" || HasKey(metadata, "adapter.") || has_tensor([](const TensorEntry& t) {
        return EndsWith(t.name, ".lora_a") || EndsWith(t.name, ".lora_b");
      })) {
    return "adapter";
  }
  if (type == "mmproj" || text("general.architecture") == "clip" || HasKey(metadata, "clip."))
    return "mmproj";
  if (type == "model" || HasKey(metadata, "tokenizer.ggml.") ||
      has_tensor([](const TensorEntry& t) { return t.name == "token_embd.weight"; })) {
    return "model";
  }
  // A part of a model that is not the first: only the whole is worth looking at.
  if (metadata.U16Or("split.count", 0).value_or(0) > 1) return "split";
  return "container";
}

// A part that is missing makes the set a bad one; only what the user named can be "not found".
Error InspectError(Error error, const std::filesystem::path& path, const InspectOptions& options) {
  std::error_code ignored;
  const bool named = !std::filesystem::is_regular_file(path, ignored) ||
                     (!options.base.empty() && !std::filesystem::exists(options.base, ignored));
  if (error.code != Code::kNotFound || named) return error;
  return {Code::kBadFile, fmt::format("{}: expected all parts: {}", path.string(), error.message)};
}

}  // namespace

Result<std::string> GuessKind(const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return "model";
  const std::string name = path.filename().string();
  if (EndsWith(name, ".json")) return "safetensors-index";
  CARAT_ASSIGN_OR_RETURN(const auto file, MappedFile::Open(path));
  const std::string_view head(reinterpret_cast<const char*>(file->bytes().data()),
                              std::min<size_t>(file->bytes().size(), 16));
  if (head.substr(0, 4) == "GGUF") {
    CARAT_ASSIGN_OR_RETURN(const GgufFile gguf, ParseGguf(file));
    return GuessGguf(gguf);
  }
  if (EndsWith(name, ".gguf")) return "container";
  if (EndsWith(name, ".safetensors") || (head.size() > 8 && head[8] == '{')) return "safetensors";
  return BadFile(
      "{}: expected a GGUF, safetensors or index file, found one that begins with \"{}\"",
      path.string(), Printable(head));
}

Result<InspectReport> Inspect(const std::filesystem::path& path, const InspectOptions& options) {
  std::string name = options.as;
  if (name.empty()) {
    CARAT_ASSIGN_OR_RETURN(name, GuessKind(path));
  }
  if (!options.base.empty() && name != "adapter") {
    return InvalidArgument("{}: a base model is for adapters, this is taken for kind {}",
                           path.string(), name);
  }
  for (const Kind& kind : kKinds) {
    if (kind.name != name) continue;
    auto report = kind.inspect(path, options);
    if (!report) return tl::unexpected(InspectError(std::move(report.error()), path, options));
    return report;
  }
  return InvalidArgument(
      "kind {}: expected container, model, split, adapter, mmproj, safetensors "
      "or safetensors-index",
      Printable(name));
}

}  // namespace carat
