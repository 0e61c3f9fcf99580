// SPDX-License-Identifier: Apache-2.0
#include "io/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>

#include "base/json.h"
#include "base/printable.h"
#include "io/safetensors.h"

namespace carat {
namespace {

namespace fs = std::filesystem;

constexpr const char* kIndexName = "model.safetensors.index.json";
constexpr const char* kSingleName = "model.safetensors";
constexpr const char* kTexts[] = {"config.json", "generation_config.json", "tokenizer.json",
                                  "tokenizer_config.json", "chat_template.jinja"};
constexpr uint64_t kMaxTextBytes = uint64_t{256} << 20;

bool Exists(const fs::path& path) {
  std::error_code ec;
  return fs::exists(path, ec);
}

Result<std::string> ReadText(const fs::path& path) {
  CARAT_ASSIGN_OR_RETURN(const std::shared_ptr<const MappedFile> file, MappedFile::Open(path));
  if (file->size() > kMaxTextBytes)
    return BadFile("{}: {} bytes, expected at most {}", path.string(), file->size(), kMaxTextBytes);
  std::string text(file->size(), '\0');
  CARAT_RETURN_IF_ERROR(file->ReadAt(0, std::as_writable_bytes(std::span(text))));
  return text;
}

// The texts beside the weights. A folder without any is no error here: whoever needs one says so.
Status ReadTexts(const fs::path& folder, Checkpoint* out) {
  for (const char* name : kTexts) {
    if (!Exists(folder / name)) continue;
    CARAT_ASSIGN_OR_RETURN(out->texts[name], ReadText(folder / name));
  }
  return {};
}

// Names are unique: the readers of one file and of a split have checked.
void Add(TensorEntry t, Checkpoint* out) {
  std::string name = t.name;
  out->tensors.emplace(std::move(name), std::move(t));
}

Result<Checkpoint> OpenGgufCheckpoint(const fs::path& path) {
  CARAT_ASSIGN_OR_RETURN(std::vector<GgufFile> shards, OpenGgufShards(path));
  Checkpoint out;
  out.format = CheckpointFormat::kGguf;
  out.path = path;
  out.metadata = shards[0].metadata;
  for (GgufFile& shard : shards)
    for (TensorEntry& t : shard.tensors) Add(std::move(t), &out);
  return out;
}

Result<Checkpoint> OpenSingleSafetensors(const fs::path& path) {
  CARAT_ASSIGN_OR_RETURN(std::vector<TensorEntry> tensors, OpenSafetensors(path));
  Checkpoint out;
  out.format = CheckpointFormat::kHuggingFace;
  out.path = path;
  for (TensorEntry& t : tensors) Add(std::move(t), &out);
  CARAT_RETURN_IF_ERROR(ReadTexts(path.parent_path(), &out));
  if (path.filename().string().find("-of-") != std::string::npos &&
      Exists(path.parent_path() / kIndexName))
    out.warnings.push_back(fmt::format("{}: one of several parts; the folder or {} opens all",
                                       path.string(), kIndexName));
  return out;
}

// Names in an index come from outside, are joined to a folder and shown: nothing but a plain name.
bool IsPlainName(const std::string& name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of("/\\") == std::string::npos && Printable(name, name.size()) == name;
}

Result<Checkpoint> OpenIndex(const fs::path& path) {
  const std::string file = path.string();
  CARAT_ASSIGN_OR_RETURN(const std::string text, ReadText(path));
  CARAT_ASSIGN_OR_RETURN(const Json index, ParseJson(text, file));
  if (!index.is_object())
    return BadFile("{}: expected an object, found {}", file, DescribeJson(index));
  CARAT_ASSIGN_OR_RETURN(const Json* map, JsonObject(index, "weight_map", file));

  std::map<std::string, std::string> shard_of;            // of each tensor
  std::map<std::string, std::set<std::string>> names_of;  // the tensors of each shard
  for (const auto& [tensor, shard] : map->items()) {
    if (!shard.is_string())
      return BadFile("{}: \"weight_map\": \"{}\": expected a string, found {}", file,
                     Printable(tensor), DescribeJson(shard));
    const std::string& name = shard.get_ref<const std::string&>();
    if (!IsPlainName(name))
      return BadFile("{}: \"weight_map\": \"{}\": expected a plain file name, found \"{}\"", file,
                     Printable(tensor), Printable(name));
    shard_of[tensor] = name;
    names_of[name].insert(tensor);
  }

  Checkpoint out;
  out.format = CheckpointFormat::kHuggingFace;
  out.path = path;
  for (const auto& [shard, names] : names_of) {
    CARAT_ASSIGN_OR_RETURN(std::vector<TensorEntry> tensors,
                           OpenSafetensors(path.parent_path() / shard));
    size_t extra = 0;
    std::string first_extra;
    for (TensorEntry& t : tensors) {
      if (names.count(t.name)) {
        Add(std::move(t), &out);
      } else if (const auto other = shard_of.find(t.name); other != shard_of.end()) {
        return BadFile("{}: tensor \"{}\" is also in {}, where the index has it",
                       t.file->path().string(), Printable(t.name), Printable(other->second));
      } else if (extra++ == 0) {
        first_extra = t.name;
      }
    }
    for (const std::string& name : names) {
      if (!out.tensors.count(name))
        return BadFile("{}: tensor \"{}\" is not in {}", file, Printable(name), Printable(shard));
    }
    if (extra > 0)
      out.warnings.push_back(
          fmt::format("{}: {} tensors that the index does not name are ignored, the first: \"{}\"",
                      (path.parent_path() / shard).string(), extra, Printable(first_extra)));
  }
  CARAT_RETURN_IF_ERROR(ReadTexts(path.parent_path(), &out));
  return out;
}

// Files that lie beside a model and are none: projectors, adapters, importance data.
bool IsSidecar(const GgufMetadata& m) {
  const auto is = [&](const char* key, std::string_view text) {
    const auto value = m.StringOr(key, "");
    return value && *value == text;
  };
  return is("general.type", "mmproj") || is("general.type", "adapter") ||
         is("general.type", "imatrix") || is("general.architecture", "clip");
}

std::string Names(const std::vector<fs::path>& paths) {
  constexpr size_t kShown = 8;
  std::string out;
  for (size_t i = 0; i < std::min(paths.size(), kShown); ++i)
    out += (i ? ", " : "") + Printable(paths[i].filename().string());
  if (paths.size() > kShown) out += fmt::format(" and {} more", paths.size() - kShown);
  return out;
}

Result<Checkpoint> OpenGgufFolder(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code ec;
  for (fs::directory_iterator it(folder, ec), end; !ec && it != end; it.increment(ec))
    if (it->path().extension() == ".gguf") files.push_back(it->path());
  if (ec) return BadFile("{}: cannot be listed: {}", folder.string(), ec.message());
  if (files.empty())
    return NotFound("{}: no {}, {} or *.gguf in this folder", folder.string(), kIndexName,
                    kSingleName);
  if (files.size() == 1) return OpenGgufCheckpoint(files[0]);

  std::sort(files.begin(), files.end());
  std::vector<fs::path> models;
  for (const fs::path& path : files) {
    const auto file = OpenGguf(path);
    if (file) {
      // Part 2 and later of a split come with its first part.
      const auto no = file->metadata->U16Or("split.no", 0);
      if ((no && *no > 0) || IsSidecar(*file->metadata)) continue;
    }
    models.push_back(path);  // also what cannot be read: leaving it out would hide it
  }
  if (models.empty())
    return NotFound("{}: no model among the *.gguf files: {}", folder.string(), Names(files));
  if (models.size() > 1)
    return BadFile("{}: several models in this folder, name one of them: {}", folder.string(),
                   Names(models));
  return OpenGgufCheckpoint(models[0]);
}

Result<Checkpoint> OpenFile(const fs::path& path) {
  if (path.filename().string().ends_with(".json")) return OpenIndex(path);
  CARAT_ASSIGN_OR_RETURN(const std::shared_ptr<const MappedFile> file, MappedFile::Open(path));
  const std::string_view head(reinterpret_cast<const char*>(file->bytes().data()),
                              std::min<size_t>(file->size(), 16));
  const std::string extension = path.extension().string();
  // What is inside decides: downloads are often stored under a checksum instead of a name.
  if (head.substr(0, 4) == "GGUF" || extension == ".gguf") return OpenGgufCheckpoint(path);
  if (head.substr(0, 8) == "LITERTLM")
    return BadFile("{}: a LiteRT-LM file; carat reads the model's GGUF or safetensors files",
                   path.string());
  if (extension == ".safetensors" || (head.size() > 8 && head[8] == '{'))
    return OpenSingleSafetensors(path);
  if (extension == ".bin" || extension == ".pt" || extension == ".pth" || extension == ".ckpt")
    return BadFile("{}: pickled weights are never loaded, expected GGUF or safetensors",
                   path.string());
  return BadFile("{}: neither a GGUF nor a safetensors file (begins with \"{}\")", path.string(),
                 Printable(head));
}

}  // namespace

const TensorEntry* Checkpoint::Find(std::string_view name) const {
  const auto it = tensors.find(name);
  return it == tensors.end() ? nullptr : &it->second;
}

Result<Checkpoint> OpenCheckpoint(const fs::path& path) {
  std::error_code ec;
  if (!fs::is_directory(path, ec)) return OpenFile(path);
  Result<Checkpoint> out = Exists(path / kIndexName)    ? OpenIndex(path / kIndexName)
                           : Exists(path / kSingleName) ? OpenSingleSafetensors(path / kSingleName)
                                                        : OpenGgufFolder(path);
  if (out) out->path = path;
  return out;
}

}  // namespace carat
