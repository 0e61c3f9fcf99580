// SPDX-License-Identifier: Apache-2.0
#include "runtime/model_store.h"

#include <algorithm>
#include <cstdlib>
#include <system_error>

#include "base/printable.h"

namespace carat {
namespace {

namespace fs = std::filesystem;

fs::path FromEnvironment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? fs::path() : fs::path(value);
}

// Names of a folder's entries, sorted; none where it cannot be read.
std::vector<std::string> Entries(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator it(folder, error);
  for (; !error && it != fs::directory_iterator(); it.increment(error))
    names.push_back(it->path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

bool EndsWith(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

uint64_t FolderBytes(const fs::path& folder) {
  uint64_t bytes = 0;
  std::error_code error;
  fs::recursive_directory_iterator it(folder, error);
  for (; !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
    std::error_code size_error;
    if (!it->is_regular_file(size_error)) continue;
    const auto size = it->file_size(size_error);
    if (!size_error) bytes += size;
  }
  return bytes;
}

std::string KnownNames() {
  std::string names;
  for (const CachedModel& model : ListModels()) names += (names.empty() ? "" : ", ") + model.name;
  return names.empty() ? "none" : names;
}

}  // namespace

fs::path CacheFolder() {
  if (auto path = FromEnvironment("CARAT_CACHE"); !path.empty()) return path;
  if (auto path = FromEnvironment("XDG_CACHE_HOME"); !path.empty()) return path / "carat";
  if (auto path = FromEnvironment("HOME"); !path.empty()) return path / ".cache" / "carat";
  return {};
}

bool IsModelName(std::string_view name) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  return !name.empty() && name.size() <= 200 && name[0] != '.' &&
         std::all_of(name.begin(), name.end(), plain);
}

Result<fs::path> FindModelFile(const fs::path& folder) {
  std::vector<std::string> gguf;
  bool other = false;
  for (const std::string& name : Entries(folder)) {
    if (name[0] == '.') continue;
    if (EndsWith(name, ".gguf")) gguf.push_back(name);
    other = other || EndsWith(name, ".safetensors");
  }
  if (other || gguf.size() > 1) return folder;  // OpenCheckpoint knows how to choose
  if (gguf.size() == 1) return folder / gguf[0];
  return NotFound("{}: expected .gguf or .safetensors files, found none", folder.string());
}

Result<fs::path> ResolveModel(std::string_view name_or_path) {
  if (name_or_path.empty()) return InvalidArgument("the model's name is empty");
  const fs::path path(name_or_path);
  std::error_code error;
  if (fs::exists(path, error)) return path;
  const fs::path cache = CacheFolder();
  if (IsModelName(name_or_path) && !cache.empty()) {
    const fs::path folder = cache / "models" / path;
    if (fs::is_directory(folder, error)) return FindModelFile(folder);
    return NotFound("{}: no such file, and no model of that name in {} (there: {})",
                    Printable(name_or_path, 256), (cache / "models").string(), KnownNames());
  }
  return NotFound("{}: no such file or folder", Printable(name_or_path, 256));
}

std::vector<CachedModel> ListModels() {
  std::vector<CachedModel> models;
  const fs::path cache = CacheFolder();
  if (cache.empty()) return models;
  for (const std::string& name : Entries(cache / "models")) {
    const fs::path folder = cache / "models" / name;
    if (!IsModelName(name)) continue;
    if (auto file = FindModelFile(folder))
      models.push_back({name, std::move(*file), FolderBytes(folder)});
  }
  return models;
}

}  // namespace carat
