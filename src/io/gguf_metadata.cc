// SPDX-License-Identifier: Apache-2.0
// Typed access to GGUF metadata: kind and element type are compared before a byte is read.
#include <cstring>

#include "base/printable.h"
#include "io/gguf.h"

namespace carat {
namespace {

template <class T>
T As(const GgufValue& v, uint64_t index = 0) {
  T out;
  std::memcpy(&out, v.bytes.data() + index * sizeof(T), sizeof(T));
  return out;
}

std::string_view AsText(const GgufValue& v) {
  return {reinterpret_cast<const char*>(v.bytes.data()), v.bytes.size()};
}

int64_t IntAt(const GgufValue& v, GgufType type, uint64_t index) {
  switch (type) {
    case GgufType::kU8:
    case GgufType::kBool:
      return As<uint8_t>(v, index);
    case GgufType::kI32:
      return As<int32_t>(v, index);
    default:
      return As<uint32_t>(v, index);
  }
}

tl::unexpected<Error> Wrong(const GgufMetadata& m, std::string_view key, std::string_view expected,
                            const GgufValue& found) {
  return BadFile("{}: \"{}\": expected {}, found {}", m.file, key, expected, Describe(found));
}

tl::unexpected<Error> Missing(const GgufMetadata& m, std::string_view key,
                              std::string_view expected) {
  return BadFile("{}: \"{}\": missing, expected {}", m.file, key, expected);
}

// The scalar `key`, `fallback` when it is absent and there is one.
template <class T>
Result<T> Scalar(const GgufMetadata& m, std::string_view key, GgufType type, const T* fallback) {
  const GgufValue* v = m.Find(key);
  if (!v && fallback) return *fallback;
  if (!v) return Missing(m, key, Name(type));
  if (v->type != type) return Wrong(m, key, Name(type), *v);
  return As<T>(*v);
}

}  // namespace

const char* Name(GgufType type) {
  switch (type) {
    case GgufType::kU8:
      return "u8";
    case GgufType::kI8:
      return "i8";
    case GgufType::kU16:
      return "u16";
    case GgufType::kI16:
      return "i16";
    case GgufType::kU32:
      return "u32";
    case GgufType::kI32:
      return "i32";
    case GgufType::kF32:
      return "f32";
    case GgufType::kBool:
      return "bool";
    case GgufType::kString:
      return "string";
    case GgufType::kArray:
      return "array";
    case GgufType::kU64:
      return "u64";
    case GgufType::kI64:
      return "i64";
    case GgufType::kF64:
      return "f64";
  }
  return "unknown";
}

std::string Describe(const GgufValue& v) {
  switch (v.type) {
    case GgufType::kU8:
      return fmt::format("u8 {}", As<uint8_t>(v));
    case GgufType::kI8:
      return fmt::format("i8 {}", As<int8_t>(v));
    case GgufType::kU16:
      return fmt::format("u16 {}", As<uint16_t>(v));
    case GgufType::kI16:
      return fmt::format("i16 {}", As<int16_t>(v));
    case GgufType::kU32:
      return fmt::format("u32 {}", As<uint32_t>(v));
    case GgufType::kI32:
      return fmt::format("i32 {}", As<int32_t>(v));
    case GgufType::kF32:
      return fmt::format("f32 {}", As<float>(v));
    case GgufType::kBool:
      return As<uint8_t>(v) ? "bool true" : "bool false";
    case GgufType::kString:
      return fmt::format("string \"{}\"", Printable(AsText(v), 60));
    case GgufType::kArray:
      return fmt::format("array of {} {}", v.count, Name(v.elem));
    case GgufType::kU64:
      return fmt::format("u64 {}", As<uint64_t>(v));
    case GgufType::kI64:
      return fmt::format("i64 {}", As<int64_t>(v));
    case GgufType::kF64:
      return fmt::format("f64 {}", As<double>(v));
  }
  return "unknown";
}

const GgufValue* GgufMetadata::Find(std::string_view key) const {
  const auto it = values.find(key);
  return it == values.end() ? nullptr : &it->second;
}

Result<const GgufValue*> GgufMetadata::Get(std::string_view key, std::string_view expected) const {
  const GgufValue* v = Find(key);
  if (!v) return Missing(*this, key, expected);
  return v;
}

Result<uint16_t> GgufMetadata::U16Or(std::string_view key, uint16_t fallback) const {
  return Scalar<uint16_t>(*this, key, GgufType::kU16, &fallback);
}
Result<int32_t> GgufMetadata::RequireI32(std::string_view key) const {
  return Scalar<int32_t>(*this, key, GgufType::kI32, nullptr);
}
Result<uint32_t> GgufMetadata::RequireU32(std::string_view key) const {
  return Scalar<uint32_t>(*this, key, GgufType::kU32, nullptr);
}
Result<uint32_t> GgufMetadata::U32Or(std::string_view key, uint32_t fallback) const {
  return Scalar<uint32_t>(*this, key, GgufType::kU32, &fallback);
}
Result<float> GgufMetadata::RequireF32(std::string_view key) const {
  return Scalar<float>(*this, key, GgufType::kF32, nullptr);
}
Result<float> GgufMetadata::F32Or(std::string_view key, float fallback) const {
  return Scalar<float>(*this, key, GgufType::kF32, &fallback);
}

Result<bool> GgufMetadata::BoolOr(std::string_view key, bool fallback) const {
  const uint8_t byte = fallback;
  CARAT_ASSIGN_OR_RETURN(const uint8_t value, Scalar<uint8_t>(*this, key, GgufType::kBool, &byte));
  return value != 0;
}

Result<std::string> GgufMetadata::RequireString(std::string_view key) const {
  CARAT_ASSIGN_OR_RETURN(const GgufValue* v, Get(key, "string"));
  if (v->type != GgufType::kString) return Wrong(*this, key, "string", *v);
  return std::string(AsText(*v));
}

Result<std::string> GgufMetadata::StringOr(std::string_view key, std::string_view fallback) const {
  if (!Has(key)) return std::string(fallback);
  return RequireString(key);
}

Result<std::vector<int64_t>> GgufMetadata::RequireInts(std::string_view key, bool scalar_ok) const {
  const char* expected = scalar_ok ? "u32, i32 or an array of them" : "array of i32 or u32";
  CARAT_ASSIGN_OR_RETURN(const GgufValue* v, Get(key, expected));
  const bool array = v->type == GgufType::kArray;
  const GgufType type = array ? v->elem : v->type;
  if ((!array && !scalar_ok) || (type != GgufType::kI32 && type != GgufType::kU32))
    return Wrong(*this, key, expected, *v);
  std::vector<int64_t> out(v->count);
  for (uint64_t i = 0; i < v->count; ++i) out[i] = IntAt(*v, type, i);
  return out;
}

Result<std::vector<bool>> GgufMetadata::RequireBools(std::string_view key) const {
  CARAT_ASSIGN_OR_RETURN(const GgufValue* v, Get(key, "array of bool, u8, i32 or u32"));
  const GgufType e = v->elem;
  if (v->type != GgufType::kArray ||
      (e != GgufType::kBool && e != GgufType::kU8 && e != GgufType::kI32 && e != GgufType::kU32))
    return Wrong(*this, key, "array of bool, u8, i32 or u32", *v);
  std::vector<bool> out(v->count);
  for (uint64_t i = 0; i < v->count; ++i) out[i] = IntAt(*v, e, i) != 0;
  return out;
}

Result<std::vector<float>> GgufMetadata::RequireF32s(std::string_view key) const {
  CARAT_ASSIGN_OR_RETURN(const GgufValue* v, Get(key, "array of f32"));
  if (v->type != GgufType::kArray || v->elem != GgufType::kF32)
    return Wrong(*this, key, "array of f32", *v);
  std::vector<float> out(v->count);
  for (uint64_t i = 0; i < v->count; ++i) out[i] = As<float>(*v, i);
  return out;
}

Result<std::vector<std::string_view>> GgufMetadata::RequireStrings(std::string_view key) const {
  CARAT_ASSIGN_OR_RETURN(const GgufValue* v, Get(key, "array of strings"));
  if (v->type != GgufType::kArray || v->elem != GgufType::kString)
    return Wrong(*this, key, "array of strings", *v);
  std::vector<std::string_view> out(v->count);
  const std::string_view all = AsText(*v);
  size_t at = 0;
  for (uint64_t i = 0; i < v->count; ++i) {  // lengths were checked when the file was read
    uint64_t length;
    std::memcpy(&length, all.data() + at, sizeof length);
    out[i] = all.substr(at + sizeof length, length);
    at += sizeof length + length;
  }
  return out;
}

}  // namespace carat
