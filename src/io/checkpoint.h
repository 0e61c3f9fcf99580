// SPDX-License-Identifier: Apache-2.0
// What a checkpoint is to the layers above, whatever its file format: named tensors in mapped
// files, and metadata. Nothing above `model/config` asks which format it came from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "base/result.h"
#include "io/gguf.h"
#include "tensor/dtype.h"

namespace carat {

// One tensor of a checkpoint. `shape` is row-major, last dimension contiguous (GGUF's reversed).
struct TensorEntry {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<uint64_t> shape;
  std::shared_ptr<const MappedFile> file;
  uint64_t offset = 0;  // bytes from the start of `file`
  uint64_t bytes = 0;   // checked: offset + bytes <= file->size()

  const std::byte* data() const { return file->bytes().data() + offset; }
};

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
// file-formats.md 6.2: index, model.safetensors, a single *.gguf). Only headers are read.
// Errors: kNotFound, kBadFile.
Result<Checkpoint> OpenCheckpoint(const std::filesystem::path& path);

}  // namespace carat
