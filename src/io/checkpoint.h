// SPDX-License-Identifier: Apache-2.0
// What a checkpoint is to the layers above, whatever its file format: named tensors in mapped
// files, and metadata. Nothing above `model/config` asks which format it came from.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/gguf.h"
#include "io/tensor_entry.h"

namespace carat {

enum class CheckpointFormat { kGguf, kHuggingFace };

struct Checkpoint {
  CheckpointFormat format = CheckpointFormat::kGguf;
  std::filesystem::path path;  // what was opened
  std::map<std::string, TensorEntry, std::less<>> tensors;
  // kGguf: all metadata (of the first shard). kHuggingFace: empty.
  std::shared_ptr<const GgufMetadata> metadata;
  // kHuggingFace: texts of config.json and its companions by file name ("config.json",
  // "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja");
  // only files that exist, each at most 256 MiB.
  std::map<std::string, std::string, std::less<>> texts;
  std::vector<std::string> warnings;  // for people: odd but harmless things that were seen

  const TensorEntry* Find(std::string_view name) const;
};

// Opens what a user names: a GGUF file (the first shard of a split: all shards), a .safetensors
// file inside a Hugging Face directory, an index file, or a directory (search order of
// file-formats.md 6.2: index, model.safetensors, a single *.gguf). Of weights, only headers are
// read. Errors: kNotFound, kBadFile.
Result<Checkpoint> OpenCheckpoint(const std::filesystem::path& path);

}  // namespace carat
