// SPDX-License-Identifier: Apache-2.0
// safetensors containers (file-formats.md 6.1), reading and writing. Hostile input as in io/gguf.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "base/result.h"
#include "io/tensor_entry.h"
#include "tensor/dtype.h"

namespace carat {

struct SafetensorsFile {
  std::shared_ptr<const MappedFile> file;
  std::map<std::string, std::string, std::less<>> metadata;  // "__metadata__"
  std::vector<TensorEntry> tensors;                          // in the order of their data
};

// Reads and checks one file: all rules of 6.1, strictly (no holes, no trailing bytes). Tensors may
// be empty and may have any alignment. Errors: kNotFound, kBadFile.
Result<SafetensorsFile> ParseSafetensors(std::shared_ptr<const MappedFile> file);
Result<std::vector<TensorEntry>> OpenSafetensors(const std::filesystem::path& path);

struct TensorToWrite {
  std::string name;
  DType dtype = DType::kF32;         // one that safetensors knows
  std::vector<uint64_t> shape;       // row-major
  std::span<const std::byte> bytes;  // exactly as many as dtype and shape say
};
using SafetensorsMetadata = std::map<std::string, std::string>;

// Writes `tensors` in the given order under a temporary name beside `path` and renames it, so that
// `path` is never half a file. Errors: kInvalidArgument (sizes, names twice), kBadFile (I/O).
Status WriteSafetensors(const std::filesystem::path& path, std::span<const TensorToWrite> tensors,
                        const SafetensorsMetadata& metadata = {});

// The same for tensors that come one at a time: their bytes go to disk at once (to a second
// temporary file, since the header stands in front and its size is known last).
//   auto writer = SafetensorsWriter::Create("trace.safetensors");  // then Add..., Finish
// Without Finish nothing remains. Not thread-safe.
class SafetensorsWriter {
 public:
  static Result<SafetensorsWriter> Create(const std::filesystem::path& path);
  SafetensorsWriter(SafetensorsWriter&&) noexcept;
  SafetensorsWriter& operator=(SafetensorsWriter&&) noexcept;
  ~SafetensorsWriter();

  Status Add(const TensorToWrite& tensor);
  Status Finish(const SafetensorsMetadata& metadata = {});

 private:
  struct Impl;
  explicit SafetensorsWriter(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace carat
