// SPDX-License-Identifier: Apache-2.0
// Quantisation of activations, all but the form of the codes, which each instruction set chooses.
// See ActMeta in kernels/linear_kernels.h for the contract.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/linear_kernels.h"

namespace carat {
namespace {

// Of the q of columns 0..15 and 16..31 of a block.
struct HalfSums {
  int32_t first, second;
};

// ActBlock is one row's block, made from its 32 floats. MaxAbs() compares bits, to which infinities
// and NaN are larger than all else. Store(inverse, codes) writes the 64 bytes of codes for
// q = x * inverse and returns the sums of q; x is finite then.
template <class ActBlock>
void QuantizeTile(const QuantizeArgs& a) {
  for (int64_t b = 0; b < a.blocks; ++b) {
    std::byte* block = a.tile + b * a.nt * kActBlockBytes;
    for (int t = 0; t < a.nt; ++t) {
      const ActBlock x(a.x + t * a.x_stride + b * kBlockCols);
      std::byte* codes = block + t * 64;
      const float max = x.MaxAbs();
      float s;
      HalfSums sum = {0, 0};
      if (max < __builtin_inff()) {
        const bool zero = max < 0x1p-100f;
        s = zero ? 0 : max / 16256;
        sum = x.Store(zero ? 0 : 16256 / max, codes);
      } else {
        s = __builtin_nanf("");
        std::memset(codes, 0, 64);
      }
      const int32_t total = sum.first + sum.second;
      const float scales[2] = {s, s / 16};
      const int32_t neg_sums[3] = {-total, -sum.first, -sum.second};
      const float offsets[3] = {s * static_cast<float>(total), s * static_cast<float>(sum.first),
                                s * static_cast<float>(sum.second)};
      std::byte* meta = block + a.nt * 64 + t * 4 * kActMetaWords;
      std::memcpy(meta + 4 * kActScale, scales, 8);
      std::memcpy(meta + 4 * kActNegSum, neg_sums, 4);
      std::memcpy(meta + 4 * kActOffset, offsets, 4);
      std::memcpy(meta + 4 * kActNegSum0, neg_sums + 1, 8);
      std::memcpy(meta + 4 * kActOffset0, offsets + 1, 8);
    }
  }
}

}  // namespace
}  // namespace carat
