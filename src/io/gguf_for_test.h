// SPDX-License-Identifier: Apache-2.0
// For tests only: GGUF files made in memory, sound ones and broken ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/mapped_file.h"
#include "io/checkpoint.h"
#include "io/gguf.h"

namespace carat::test {

template <class T>
std::string Raw(T value) {
  std::string out(sizeof value, '\0');
  std::memcpy(out.data(), &value, sizeof value);
  return out;
}
inline std::string RawString(std::string_view text) {
  return Raw<uint64_t>(text.size()) + std::string(text);
}

// Keys and tensors in the order of the calls; tensors are F32 and filled with zeros unless said
// otherwise. `ne` is in GGUF order, the contiguous dimension first.
class GgufBytes {
 public:
  explicit GgufBytes(uint64_t alignment = 32) : alignment_(alignment) {}

  template <class T>
  GgufBytes& Scalar(std::string_view key, GgufType type, T value) {
    return Key(key, type, Raw(value));
  }
  GgufBytes& U32(std::string_view key, uint32_t v) { return Scalar(key, GgufType::kU32, v); }
  GgufBytes& F32(std::string_view key, float v) { return Scalar(key, GgufType::kF32, v); }
  GgufBytes& Bool(std::string_view key, bool v) { return Scalar(key, GgufType::kBool, v); }
  GgufBytes& String(std::string_view key, std::string_view v) {
    return Key(key, GgufType::kString, RawString(v));
  }
  template <class T>
  GgufBytes& Array(std::string_view key, GgufType elem, const std::vector<T>& values) {
    std::string raw = Raw(static_cast<uint32_t>(elem)) + Raw<uint64_t>(values.size());
    for (const T& v : values) raw += Raw(v);
    return Key(key, GgufType::kArray, raw);
  }
  GgufBytes& Strings(std::string_view key, const std::vector<std::string>& values) {
    std::string raw = Raw(static_cast<uint32_t>(GgufType::kString)) + Raw<uint64_t>(values.size());
    for (const std::string& v : values) raw += RawString(v);
    return Key(key, GgufType::kArray, raw);
  }
  GgufBytes& Split(uint16_t no, uint16_t count, int32_t total) {
    Scalar("split.no", GgufType::kU16, no);
    Scalar("split.count", GgufType::kU16, count);
    return Scalar("split.tensors.count", GgufType::kI32, total);
  }
  GgufBytes& Tensor(std::string_view name, const std::vector<uint64_t>& ne) {
    uint64_t bytes = 4;
    for (const uint64_t d : ne) bytes *= d;
    return TensorAs(name, ne, 0, data_bytes_, bytes);
  }
  // A description as it stands, beside `bytes` more of data (rounded up).
  GgufBytes& TensorAs(std::string_view name, const std::vector<uint64_t>& ne, uint32_t type,
                      uint64_t offset, uint64_t bytes) {
    std::string raw = RawString(name) + Raw<uint32_t>(static_cast<uint32_t>(ne.size()));
    for (const uint64_t d : ne) raw += Raw(d);
    tensors_ += raw + Raw(type) + Raw(offset);
    ++tensor_count_;
    data_bytes_ += (bytes + alignment_ - 1) / alignment_ * alignment_;
    return *this;
  }

  std::string Bytes(uint32_t version = 3) const {
    std::string out =
        "GGUF" + Raw(version) + Raw(tensor_count_) + Raw(key_count_) + keys_ + tensors_;
    out.resize((out.size() + alignment_ - 1) / alignment_ * alignment_);
    out.resize(out.size() + data_bytes_);
    return out;
  }
  void Write(const std::filesystem::path& path) const {
    const std::string bytes = Bytes();
    std::ofstream(path, std::ios::binary)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  Result<GgufFile> Parse() const;

 private:
  GgufBytes& Key(std::string_view key, GgufType type, const std::string& value) {
    keys_ += RawString(key) + Raw(static_cast<uint32_t>(type)) + value;
    ++key_count_;
    return *this;
  }

  const uint64_t alignment_;
  std::string keys_, tensors_;
  uint64_t key_count_ = 0, tensor_count_ = 0, data_bytes_ = 0;
};

inline std::shared_ptr<const MappedFile> InMemory(std::string_view bytes, const char* name) {
  const auto span = std::as_bytes(std::span(bytes));
  return MappedFile::FromBytes(std::vector<std::byte>(span.begin(), span.end()), name);
}
inline Result<GgufFile> ParseGgufBytes(std::string_view bytes) {
  return ParseGguf(InMemory(bytes, "test.gguf"));
}
inline Result<GgufFile> GgufBytes::Parse() const { return ParseGgufBytes(Bytes()); }

// A model of one file, as OpenCheckpoint gives it.
inline Checkpoint CheckpointOf(const GgufFile& file) {
  Checkpoint out;
  out.path = file.file->path();
  out.metadata = file.metadata;
  for (const TensorEntry& t : file.tensors) out.tensors.emplace(t.name, t);
  return out;
}

}  // namespace carat::test
