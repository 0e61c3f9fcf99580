// SPDX-License-Identifier: Apache-2.0
// Element types of files and of memory, with their block sizes (file-formats.md 1.4 and 6.1).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace carat {

// Quantised types keep the layout of GGUF. The numbers are ours; FromGgml maps a file's ids.
enum class DType : uint8_t {
  kF32,
  kF16,
  kBF16,
  kF64,
  kI8,
  kI16,
  kI32,
  kI64,
  kU8,
  kU16,
  kU32,
  kU64,
  kBool,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ2_K,
  kQ3_K,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kIQ1_S,
  kIQ1_M,
  kIQ2_XXS,
  kIQ2_XS,
  kIQ2_S,
  kIQ3_XXS,
  kIQ3_S,
  kIQ4_NL,
  kIQ4_XS,
  kTQ1_0,
  kTQ2_0,
  kQ1_0,
  kQ2_0,
  kMXFP4,
  kNVFP4,
  // In safetensors only; carat reads their shapes, not their values.
  kF8_E4M3,
  kF8_E5M2,
  kF8_E8M0,
  kF8_E4M3FNUZ,
  kF8_E5M2FNUZ,
  kC64,
  kF4,
  kF6_E2M3,
  kF6_E3M2,
};

struct DTypeInfo {
  const char* name;      // as in GGUF tools and safetensors: "Q4_K", "BF16"
  uint32_t block_elems;  // elements of one block
  uint32_t block_bytes;  // bytes of one block (F6 types: 3 bytes for 4 elements)
};

const DTypeInfo& Info(DType type);
inline const char* Name(DType type) { return Info(type).name; }

// F32, F16 or BF16: what matrices and norms may be stored in without quantisation.
bool IsFloat(DType type);
// A type with DecodeCodes (tensor/quant_codes.h).
bool IsQuantized(DType type);
// True when rows can be turned into float32 (tensor/dequant.h): IsFloat or IsQuantized.
inline bool IsWeight(DType type) { return IsFloat(type) || IsQuantized(type); }

// The type of a GGUF type id; nothing for removed, activation-only and unknown ids.
std::optional<DType> FromGgml(uint32_t id);
// The name of an id that FromGgml refuses: "Q4_2 (removed)", "unknown".
std::string_view RefusedGgmlName(uint32_t id);
// The type of a safetensors dtype string; nothing when unknown.
std::optional<DType> FromSafetensors(std::string_view name);

// Bytes of a row of `cols` elements; nothing when cols is not a multiple of the block or on
// overflow. Rows never share a block, so a matrix takes its row count times this.
std::optional<uint64_t> RowBytes(DType type, uint64_t cols);

}  // namespace carat
