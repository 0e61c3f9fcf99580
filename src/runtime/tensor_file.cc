// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstring>
#include <limits>

#include "base/printable.h"
#include "carat/tensors.h"
#include "io/safetensors.h"
#include "tensor/dequant.h"

namespace carat {
namespace {

template <class T>
T Load(const std::byte* bytes, size_t index) {
  T value;
  std::memcpy(&value, bytes + index * sizeof(T), sizeof(T));
  return value;
}

// One element as a double, which holds every int32 and every float32 exactly. 64-bit integers that
// a double cannot hold are far outside int32 as well.
double Element(DType type, const std::byte* bytes, size_t i) {
  switch (type) {
    case DType::kI8:
      return Load<int8_t>(bytes, i);
    case DType::kU8:
      return Load<uint8_t>(bytes, i);
    case DType::kI16:
      return Load<int16_t>(bytes, i);
    case DType::kU16:
      return Load<uint16_t>(bytes, i);
    case DType::kI32:
      return Load<int32_t>(bytes, i);
    case DType::kU32:
      return Load<uint32_t>(bytes, i);
    case DType::kI64:
      return static_cast<double>(Load<int64_t>(bytes, i));
    case DType::kU64:
      return static_cast<double>(Load<uint64_t>(bytes, i));
    case DType::kF64:
      return Load<double>(bytes, i);
    default:
      break;  // F32, F16, BF16
  }
  float value = 0;
  DequantRow(type, bytes + i * Info(type).block_bytes, 1, &value);
  return value;
}

bool IsInteger(DType type) {
  switch (type) {
    case DType::kI8:
    case DType::kU8:
    case DType::kI16:
    case DType::kU16:
    case DType::kI32:
    case DType::kU32:
    case DType::kI64:
    case DType::kU64:
      return true;
    default:
      return false;
  }
}

bool IsReal(DType type) { return IsFloat(type) || type == DType::kF64; }

class TensorFileImpl final : public TensorFile {
 public:
  TensorFileImpl(std::string path, std::vector<TensorEntry> tensors) : path_(std::move(path)) {
    for (auto& tensor : tensors) tensors_.emplace(tensor.name, std::move(tensor));
  }

  std::vector<std::string> Names() const override {
    std::vector<std::string> names;
    for (const auto& entry : tensors_) names.push_back(entry.first);
    return names;
  }
  bool Has(std::string_view name) const override { return tensors_.find(name) != tensors_.end(); }

  Result<std::vector<int64_t>> Shape(std::string_view name) const override {
    CARAT_ASSIGN_OR_RETURN(const TensorEntry* tensor, Find(name));
    return std::vector<int64_t>(tensor->shape.begin(), tensor->shape.end());
  }

  Result<std::vector<int32_t>> Ints(std::string_view name) const override {
    CARAT_ASSIGN_OR_RETURN(const TensorEntry* tensor, Find(name));
    if (!IsInteger(tensor->dtype) && !IsReal(tensor->dtype)) return WrongType(*tensor, "integers");
    std::vector<int32_t> values(Count(*tensor));
    for (size_t i = 0; i < values.size(); ++i) {
      const double value = Element(tensor->dtype, tensor->data(), i);
      if (!(value >= std::numeric_limits<int32_t>::min() &&
            value <= std::numeric_limits<int32_t>::max() && value == std::floor(value))) {
        return BadFile("{}: {}: element {}: expected a 32-bit integer, found {}", path_,
                       Printable(name), i, value);
      }
      values[i] = static_cast<int32_t>(value);
    }
    return values;
  }

  Result<std::vector<float>> Floats(std::string_view name) const override {
    CARAT_ASSIGN_OR_RETURN(const TensorEntry* tensor, Find(name));
    if (!IsReal(tensor->dtype)) return WrongType(*tensor, "F32, F16, BF16 or F64");
    std::vector<float> values(Count(*tensor));
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>(Element(tensor->dtype, tensor->data(), i));
    return values;
  }

 private:
  Result<const TensorEntry*> Find(std::string_view name) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end())
      return BadFile("{}: expected a tensor {}, found none", path_, Printable(name));
    return &found->second;
  }
  tl::unexpected<Error> WrongType(const TensorEntry& tensor, const char* expected) const {
    return BadFile("{}: {}: expected {}, found {}", path_, Printable(tensor.name), expected,
                   Name(tensor.dtype));
  }
  static size_t Count(const TensorEntry& tensor) {
    return static_cast<size_t>(tensor.bytes / Info(tensor.dtype).block_bytes);
  }

  std::string path_;
  std::map<std::string, TensorEntry, std::less<>> tensors_;
};

}  // namespace

Result<std::unique_ptr<TensorFile>> TensorFile::Open(const std::filesystem::path& path) {
  CARAT_ASSIGN_OR_RETURN(auto tensors, OpenSafetensors(path));
  return std::unique_ptr<TensorFile>(
      std::make_unique<TensorFileImpl>(path.string(), std::move(tensors)));
}

Status WriteTensors(const std::filesystem::path& path, std::span<const NamedValues> tensors) {
  std::vector<TensorToWrite> raw;
  for (const NamedValues& tensor : tensors) {
    TensorToWrite& t = raw.emplace_back();
    t.name = tensor.name;
    t.dtype = tensor.is_int ? DType::kI32 : DType::kF32;
    t.shape.assign(tensor.shape.begin(), tensor.shape.end());
    t.bytes = tensor.is_int ? std::as_bytes(tensor.ints) : std::as_bytes(tensor.floats);
  }
  return WriteSafetensors(path, raw);
}

}  // namespace carat
