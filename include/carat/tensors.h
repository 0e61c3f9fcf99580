// SPDX-License-Identifier: Apache-2.0
// Small tensors in safetensors files: what `carat trace` reads and writes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "carat/result.h"

namespace carat {

// The header of a safetensors file, checked; values are read on demand. Immutable, thread-safe.
class TensorFile {
 public:
  // Errors: kNotFound, kBadFile.
  static Result<std::unique_ptr<TensorFile>> Open(const std::filesystem::path& path);
  virtual ~TensorFile() = default;

  virtual std::vector<std::string> Names() const = 0;
  virtual bool Has(std::string_view name) const = 0;
  // Row-major, last dimension contiguous. Errors: kBadFile (no such tensor).
  virtual Result<std::vector<int64_t>> Shape(std::string_view name) const = 0;
  // All values as int32. From I8, U8, I16, U16, I32, U32, I64, U64 and floats that hold whole
  // numbers. Errors: kBadFile (no such tensor, another type, a value that is no int32).
  virtual Result<std::vector<int32_t>> Ints(std::string_view name) const = 0;
  // All values as float32. From F32, F16, BF16 and F64. Errors: kBadFile.
  virtual Result<std::vector<float>> Floats(std::string_view name) const = 0;
};

// A tensor to be written: exactly one of `floats` (F32) and `ints` (I32) is used.
struct NamedValues {
  std::string name;
  std::vector<int64_t> shape;
  std::span<const float> floats;
  std::span<const int32_t> ints;
  bool is_int = false;
};

// Writes all tensors to `path`, which is replaced only once everything has been written.
// Errors: kInvalidArgument (shape and number of values disagree, name twice), kInternal (I/O).
Status WriteTensors(const std::filesystem::path& path, std::span<const NamedValues> tensors);

}  // namespace carat
