// SPDX-License-Identifier: Apache-2.0
// The one decoder of all quantised types: every block becomes small integers, a scale per group
// and, in some types, an offset per group. Dequantisation and weight packing both start here.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace carat {

// value[i] = code[i] * scale[i / group] + offset[i / group]
struct CodeFormat {
  int group = 32;           // elements that share a scale: 16 or 32
  bool has_offset = false;  // offset may be non-zero
  int min_code = 0;         // smallest and largest code that can occur
  int max_code = 0;
};

// Requires IsQuantized(type).
CodeFormat CodesOf(DType type);

// Decodes n elements (a multiple of the type's block) from `blocks`. Writes codes[n],
// scales[n / group] and, if `offsets` is not null, offsets[n / group] (zeros when the type has
// none). code * scale + offset, rounded to float after each operation, equals the value that
// file-formats.md section 5 defines, bit for bit (the sign of a zero aside). NVFP4's and others'
// separate `<name>.scale` tensors are not applied here.
void DecodeCodes(DType type, const std::byte* blocks, int64_t n, int8_t* codes, float* scales,
                 float* offsets);

}  // namespace carat
