// SPDX-License-Identifier: Apache-2.0
// Packing of quantised matrices into the panels of kernels/linear_kernels.h. One layout for all
// instruction sets.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/linear_kernels.h"
#include "tensor/dtype.h"

namespace carat {

// Requires IsQuantized(type).
PanelFormat PanelFormatOf(DType type);

// Bytes of one panel: 16 rows of `cols` columns, a multiple of 32.
uint64_t PanelBytes(const PanelFormat& format, int64_t cols);

// Packs `rows` (1..16) rows stored as `type`, `row_bytes` apart, into a panel that the caller has
// zeroed. Keeps every code, scale and offset exactly.
void PackPanel(DType type, const PanelFormat& format, const std::byte* src, int64_t row_bytes,
               int rows, int64_t cols, std::byte* panel);

}  // namespace carat
