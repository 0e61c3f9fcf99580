// SPDX-License-Identifier: Apache-2.0
// Checkpoints made in memory, for tests: metadata, texts and tensors without any file.
#pragma once

#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "io/checkpoint.h"
#include "tensor/dtype.h"

namespace carat::test {

template <class T>
std::vector<std::byte> BytesOf(const std::vector<T>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(T));
  if (!bytes.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

// A GGUF checkpoint that is filled key by key.
class GgufMaker {
 public:
  GgufMaker() : metadata_(std::make_shared<GgufMetadata>()) {
    metadata_->file = "test.gguf";
    checkpoint_.format = CheckpointFormat::kGguf;
    checkpoint_.path = "dir/test.gguf";
    checkpoint_.metadata = metadata_;
  }

  GgufMaker& U32(const std::string& key, uint32_t v) {
    return Put(key, GgufType::kU32, GgufType::kU8, 1, BytesOf<uint32_t>({v}));
  }
  GgufMaker& I32(const std::string& key, int32_t v) {
    return Put(key, GgufType::kI32, GgufType::kU8, 1, BytesOf<int32_t>({v}));
  }
  GgufMaker& F32(const std::string& key, float v) {
    return Put(key, GgufType::kF32, GgufType::kU8, 1, BytesOf<float>({v}));
  }
  GgufMaker& String(const std::string& key, std::string_view v) {
    return Put(key, GgufType::kString, GgufType::kU8, 1,
               BytesOf(std::vector<char>(v.begin(), v.end())));
  }
  GgufMaker& Ints(const std::string& key, const std::vector<int32_t>& v) {
    return Put(key, GgufType::kArray, GgufType::kI32, v.size(), BytesOf(v));
  }
  GgufMaker& Floats(const std::string& key, const std::vector<float>& v) {
    return Put(key, GgufType::kArray, GgufType::kF32, v.size(), BytesOf(v));
  }
  GgufMaker& Bools(const std::string& key, const std::vector<uint8_t>& v) {
    return Put(key, GgufType::kArray, GgufType::kBool, v.size(), BytesOf(v));
  }
  GgufMaker& Strings(const std::string& key, const std::vector<std::string>& v) {
    std::vector<char> bytes;
    for (const std::string& s : v) {
      const uint64_t n = s.size();
      const char* p = reinterpret_cast<const char*>(&n);
      bytes.insert(bytes.end(), p, p + sizeof n);
      bytes.insert(bytes.end(), s.begin(), s.end());
    }
    return Put(key, GgufType::kArray, GgufType::kString, v.size(), BytesOf(bytes));
  }
  GgufMaker& Erase(const std::string& key) {
    metadata_->values.erase(key);
    return *this;
  }

  // The caller may add tensors to it.
  Checkpoint& checkpoint() { return checkpoint_; }

 private:
  GgufMaker& Put(const std::string& key, GgufType type, GgufType elem, uint64_t count,
                 std::vector<std::byte> bytes) {
    storage_.push_back(std::make_unique<std::vector<std::byte>>(std::move(bytes)));
    metadata_->values[key] = GgufValue{type, elem, count, *storage_.back()};
    return *this;
  }

  std::shared_ptr<GgufMetadata> metadata_;
  std::vector<std::unique_ptr<std::vector<std::byte>>> storage_;
  Checkpoint checkpoint_;
};

inline Checkpoint HfCheckpoint(const Json& config) {
  Checkpoint c;
  c.format = CheckpointFormat::kHuggingFace;
  c.path = "dir/model";
  c.texts["config.json"] = config.dump();
  return c;
}

// `shape` is row-major. Without values: zeros of the right length.
inline TensorEntry& AddTensor(Checkpoint* c, const std::string& name, std::vector<uint64_t> shape,
                              DType dtype = DType::kF32, std::vector<std::byte> values = {}) {
  TensorEntry e;
  e.name = name;
  e.dtype = dtype;
  uint64_t rows = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
  e.bytes = rows * RowBytes(dtype, shape.empty() ? 1 : shape.back()).value_or(0);
  e.shape = std::move(shape);
  values.resize(e.bytes);
  // An offset, so that nobody takes the file's start for the tensor's.
  e.offset = 64;
  values.insert(values.begin(), e.offset, std::byte{0xEE});
  e.file = MappedFile::FromBytes(std::move(values), name + ".bin");
  TensorEntry& slot = c->tensors[name];
  slot = std::move(e);
  return slot;
}

inline TensorEntry& AddFloats(Checkpoint* c, const std::string& name, std::vector<uint64_t> shape,
                              const std::vector<float>& values) {
  return AddTensor(c, name, std::move(shape), DType::kF32, BytesOf(values));
}

}  // namespace carat::test
