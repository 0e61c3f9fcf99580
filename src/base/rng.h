// SPDX-License-Identifier: Apache-2.0
// Counter-based random numbers: value = f(seed, stream, counter), so threads, batches and the
// order of calls cannot change a result.
#pragma once

#include <cstdint>

namespace carat {

// 64 well-mixed bits (Philox 4x32, 10 rounds; Salmon et al., 2011).
uint64_t CounterRandom(uint64_t seed, uint64_t stream, uint64_t counter);

// Uniform in [0, 1) with 53 bits.
inline double CounterUniform(uint64_t seed, uint64_t stream, uint64_t counter) {
  return static_cast<double>(CounterRandom(seed, stream, counter) >> 11) * 0x1p-53;
}

}  // namespace carat
