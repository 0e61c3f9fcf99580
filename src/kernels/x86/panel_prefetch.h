// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace carat {
namespace {

// With few tokens the panels come from memory, at the speed of the fetches in flight: some far
// ahead into the second-level cache, some just ahead into the first. Measured on a Xeon that reads
// 18.4 GB/s per core: none 13.2, near alone 14.9, far alone 16.3, both 16.9.
constexpr int kNearBytes = 512, kFarBytes = 3072;

// The lines that are as far ahead of this block.
inline void PrefetchPanel(const std::byte* block, int32_t block_bytes) {
  for (int32_t i = 0; i < block_bytes; i += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(block + kNearBytes + i), _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(block + kFarBytes + i), _MM_HINT_T1);
  }
}

}  // namespace
}  // namespace carat
