// SPDX-License-Identifier: Apache-2.0
// GGUF containers, versions 2 and 3, little endian (file-formats.md section 1). Hostile input:
// every rule of 1.9 holds before anything proportional to a number from the file is allocated.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.h"
#include "base/result.h"
#include "io/tensor_entry.h"

namespace carat {

enum class GgufType : uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64,
};
const char* Name(GgufType type);

// A value, pointing into the mapped file. Strings are bytes: UTF-8 is not guaranteed.
struct GgufValue {
  GgufType type = GgufType::kU8;
  GgufType elem = GgufType::kU8;     // kArray: element type
  uint64_t count = 1;                // kArray: number of elements
  std::span<const std::byte> bytes;  // scalar: its bytes; string: its text; array: its elements
                                     // (strings with their lengths)
};

// A value on one line, for messages and lists: "u32 32", "string \"gemma4\"", "array of 3 f32".
std::string Describe(const GgufValue& value);

// The key-value pairs of a file. The typed getters name file and key in their errors: an absent key
// is kBadFile for Require*, the fallback for *Or. Another kind than the one named is always an
// error.
class GgufMetadata {
 public:
  std::string file;  // for messages
  std::map<std::string, GgufValue, std::less<>> values;
  std::shared_ptr<const MappedFile> owner;

  bool Has(std::string_view key) const { return values.find(key) != values.end(); }
  const GgufValue* Find(std::string_view key) const;  // null when absent
  Result<uint16_t> U16Or(std::string_view key, uint16_t fallback) const;
  Result<int32_t> RequireI32(std::string_view key) const;
  Result<uint32_t> RequireU32(std::string_view key) const;
  Result<uint32_t> U32Or(std::string_view key, uint32_t fallback) const;
  Result<float> RequireF32(std::string_view key) const;
  Result<float> F32Or(std::string_view key, float fallback) const;
  Result<bool> BoolOr(std::string_view key, bool fallback) const;
  Result<std::string> RequireString(std::string_view key) const;
  Result<std::string> StringOr(std::string_view key, std::string_view fallback) const;
  // Integer array (i32 or u32) or, if `scalar_ok`, an integer scalar as an array of one.
  Result<std::vector<int64_t>> RequireInts(std::string_view key, bool scalar_ok) const;
  // Array of bool, u8, i32 or u32 as truth values.
  Result<std::vector<bool>> RequireBools(std::string_view key) const;
  Result<std::vector<float>> RequireF32s(std::string_view key) const;
  // Array of strings; views into the file.
  Result<std::vector<std::string_view>> RequireStrings(std::string_view key) const;

 private:
  Result<const GgufValue*> Get(std::string_view key, std::string_view expected) const;
};

struct GgufFile {
  std::shared_ptr<const MappedFile> file;
  uint32_t version = 0;
  uint64_t alignment = 32;
  uint64_t data_start = 0;
  std::shared_ptr<GgufMetadata> metadata;
  std::vector<TensorEntry> tensors;  // in file order; zero-element tensors are kept
};

// Reads and checks one container. Errors: kNotFound, kBadFile.
Result<GgufFile> OpenGguf(const std::filesystem::path& path);
// The same for a file that is mapped or in memory; the result shares it.
Result<GgufFile> ParseGguf(std::shared_ptr<const MappedFile> file);

// All shards of a split whose first shard is `first` (file-formats.md 1.6); a file that is not
// split gives itself. Checks names, numbers, counts and uniqueness. Errors: kBadFile, kNotFound.
Result<std::vector<GgufFile>> OpenGgufShards(const std::filesystem::path& first);

}  // namespace carat
