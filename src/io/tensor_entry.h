// SPDX-License-Identifier: Apache-2.0
// What every container of tensors gives: a name, a type, a shape, and where the bytes are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "base/result.h"
#include "tensor/dtype.h"

namespace carat {

// One tensor of a file. `shape` is row-major, last dimension contiguous (GGUF's reversed).
struct TensorEntry {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<uint64_t> shape;
  std::shared_ptr<const MappedFile> file;
  uint64_t offset = 0;  // bytes from the start of `file`
  uint64_t bytes = 0;   // checked: offset + bytes <= file->size()

  const std::byte* data() const { return file->bytes().data() + offset; }
};

// "[4, 16]", for messages.
std::string ShowShape(const std::vector<uint64_t>& shape);

// kBadFile, naming `file`, when two of `tensors` have the same name.
Status CheckUniqueNames(const std::string& file, const std::vector<TensorEntry>& tensors);

}  // namespace carat
