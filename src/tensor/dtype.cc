// SPDX-License-Identifier: Apache-2.0
#include "tensor/dtype.h"

#include <cstddef>
#include <iterator>

#include "base/check.h"
#include "base/checked.h"

namespace carat {
namespace {

struct Row {
  DType type;
  DTypeInfo info;
};

// In the order of the enumeration, so that a type is its own index.
constexpr Row kTypes[] = {
    {DType::kF32, {"F32", 1, 4}},
    {DType::kF16, {"F16", 1, 2}},
    {DType::kBF16, {"BF16", 1, 2}},
    {DType::kF64, {"F64", 1, 8}},
    {DType::kI8, {"I8", 1, 1}},
    {DType::kI16, {"I16", 1, 2}},
    {DType::kI32, {"I32", 1, 4}},
    {DType::kI64, {"I64", 1, 8}},
    {DType::kU8, {"U8", 1, 1}},
    {DType::kU16, {"U16", 1, 2}},
    {DType::kU32, {"U32", 1, 4}},
    {DType::kU64, {"U64", 1, 8}},
    {DType::kBool, {"BOOL", 1, 1}},
    {DType::kQ4_0, {"Q4_0", 32, 18}},
    {DType::kQ4_1, {"Q4_1", 32, 20}},
    {DType::kQ5_0, {"Q5_0", 32, 22}},
    {DType::kQ5_1, {"Q5_1", 32, 24}},
    {DType::kQ8_0, {"Q8_0", 32, 34}},
    {DType::kQ2_K, {"Q2_K", 256, 84}},
    {DType::kQ3_K, {"Q3_K", 256, 110}},
    {DType::kQ4_K, {"Q4_K", 256, 144}},
    {DType::kQ5_K, {"Q5_K", 256, 176}},
    {DType::kQ6_K, {"Q6_K", 256, 210}},
    {DType::kIQ1_S, {"IQ1_S", 256, 50}},
    {DType::kIQ1_M, {"IQ1_M", 256, 56}},
    {DType::kIQ2_XXS, {"IQ2_XXS", 256, 66}},
    {DType::kIQ2_XS, {"IQ2_XS", 256, 74}},
    {DType::kIQ2_S, {"IQ2_S", 256, 82}},
    {DType::kIQ3_XXS, {"IQ3_XXS", 256, 98}},
    {DType::kIQ3_S, {"IQ3_S", 256, 110}},
    {DType::kIQ4_NL, {"IQ4_NL", 32, 18}},
    {DType::kIQ4_XS, {"IQ4_XS", 256, 136}},
    {DType::kTQ1_0, {"TQ1_0", 256, 54}},
    {DType::kTQ2_0, {"TQ2_0", 256, 66}},
    {DType::kQ1_0, {"Q1_0", 128, 18}},
    {DType::kQ2_0, {"Q2_0", 64, 18}},
    {DType::kMXFP4, {"MXFP4", 32, 17}},
    {DType::kNVFP4, {"NVFP4", 64, 36}},
    {DType::kF8_E4M3, {"F8_E4M3", 1, 1}},
    {DType::kF8_E5M2, {"F8_E5M2", 1, 1}},
    {DType::kF8_E8M0, {"F8_E8M0", 1, 1}},
    {DType::kF8_E4M3FNUZ, {"F8_E4M3FNUZ", 1, 1}},
    {DType::kF8_E5M2FNUZ, {"F8_E5M2FNUZ", 1, 1}},
    {DType::kC64, {"C64", 1, 8}},
    {DType::kF4, {"F4", 2, 1}},
    {DType::kF6_E2M3, {"F6_E2M3", 4, 3}},
    {DType::kF6_E3M2, {"F6_E3M2", 4, 3}},
};

constexpr bool InEnumOrder() {
  for (size_t i = 0; i < std::size(kTypes); ++i) {
    if (static_cast<size_t>(kTypes[i].type) != i) return false;
  }
  return std::size(kTypes) == static_cast<size_t>(DType::kF6_E3M2) + 1;
}
static_assert(InEnumOrder());

}  // namespace

const DTypeInfo& Info(DType type) {
  const auto index = static_cast<size_t>(type);
  CARAT_CHECK(index < std::size(kTypes));
  return kTypes[index].info;
}

bool IsFloat(DType type) {
  return type == DType::kF32 || type == DType::kF16 || type == DType::kBF16;
}

bool IsQuantized(DType type) { return type >= DType::kQ4_0 && type <= DType::kNVFP4; }

std::optional<DType> FromGgml(uint32_t id) {
  switch (id) {
    case 0:
      return DType::kF32;
    case 1:
      return DType::kF16;
    case 2:
      return DType::kQ4_0;
    case 3:
      return DType::kQ4_1;
    case 6:
      return DType::kQ5_0;
    case 7:
      return DType::kQ5_1;
    case 8:
      return DType::kQ8_0;
    case 10:
      return DType::kQ2_K;
    case 11:
      return DType::kQ3_K;
    case 12:
      return DType::kQ4_K;
    case 13:
      return DType::kQ5_K;
    case 14:
      return DType::kQ6_K;
    case 16:
      return DType::kIQ2_XXS;
    case 17:
      return DType::kIQ2_XS;
    case 18:
      return DType::kIQ3_XXS;
    case 19:
      return DType::kIQ1_S;
    case 20:
      return DType::kIQ4_NL;
    case 21:
      return DType::kIQ3_S;
    case 22:
      return DType::kIQ2_S;
    case 23:
      return DType::kIQ4_XS;
    case 24:
      return DType::kI8;
    case 25:
      return DType::kI16;
    case 26:
      return DType::kI32;
    case 27:
      return DType::kI64;
    case 28:
      return DType::kF64;
    case 29:
      return DType::kIQ1_M;
    case 30:
      return DType::kBF16;
    case 34:
      return DType::kTQ1_0;
    case 35:
      return DType::kTQ2_0;
    case 39:
      return DType::kMXFP4;
    case 40:
      return DType::kNVFP4;
    case 41:
      return DType::kQ1_0;
    case 42:
      return DType::kQ2_0;
    default:
      return std::nullopt;
  }
}

std::string_view RefusedGgmlName(uint32_t id) {
  switch (id) {
    case 4:
      return "Q4_2 (removed)";
    case 5:
      return "Q4_3 (removed)";
    case 9:
      return "Q8_1 (for activations only)";
    case 15:
      return "Q8_K (for activations only)";
    case 31:
      return "Q4_0_4_4 (removed)";
    case 32:
      return "Q4_0_4_8 (removed)";
    case 33:
      return "Q4_0_8_8 (removed)";
    case 36:
      return "IQ4_NL_4_4 (removed)";
    case 37:
      return "IQ4_NL_4_8 (removed)";
    case 38:
      return "IQ4_NL_8_8 (removed)";
    default:
      return "unknown";
  }
}

std::optional<DType> FromSafetensors(std::string_view name) {
  for (const Row& row : kTypes) {
    if (!IsQuantized(row.type) && name == row.info.name) return row.type;
  }
  return std::nullopt;
}

std::optional<uint64_t> RowBytes(DType type, uint64_t cols) {
  const DTypeInfo& info = Info(type);
  if (cols % info.block_elems != 0) return std::nullopt;
  uint64_t bytes;
  if (!CheckedMul(cols / info.block_elems, info.block_bytes, &bytes)) return std::nullopt;
  return bytes;
}

}  // namespace carat
