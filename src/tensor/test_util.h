// SPDX-License-Identifier: Apache-2.0
// Shared by this folder's tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tensor/dtype.h"

namespace carat {

// CRC-32 with the zlib polynomial.
inline uint32_t Crc32(const void* data, size_t size) {
  const auto* const bytes = static_cast<const uint8_t*>(data);
  uint32_t crc = ~0u;
  for (size_t i = 0; i < size; ++i) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1) ? 0xEDB88320u : 0u);
  }
  return ~crc;
}

inline std::vector<DType> AllTypes() {
  std::vector<DType> types;
  for (int i = 0; i <= static_cast<int>(DType::kF6_E3M2); ++i) types.push_back(DType(i));
  return types;
}

inline std::vector<DType> QuantizedTypes() {
  std::vector<DType> types;
  for (DType type : AllTypes()) {
    if (IsQuantized(type)) types.push_back(type);
  }
  return types;
}

}  // namespace carat
