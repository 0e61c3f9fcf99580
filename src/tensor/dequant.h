// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace carat {

// Writes n float32 values of a row stored as `type` (IsWeight) at `src`, which needs no alignment.
// n is a multiple of the type's block. Bit-exact with file-formats.md section 5.
void DequantRow(DType type, const std::byte* src, int64_t n, float* dst);

}  // namespace carat
