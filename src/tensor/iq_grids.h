// SPDX-License-Identifier: Apache-2.0
// Code books of the IQ1, IQ2 and IQ3 types, one int8 value per byte, element 0 in the lowest byte.
// The numbers are part of the formats: they were read off the output of llama.cpp's decoders.
#pragma once

#include <array>
#include <cstdint>

namespace carat {

extern const std::array<uint64_t, 256> kIq2XxsGrid;      // 8 elements of 8, 25, 43
extern const std::array<uint64_t, 512> kIq2XsGrid;       // likewise
extern const std::array<uint64_t, 1024> kIq2SGrid;       // likewise
extern const std::array<uint32_t, 256> kIq3XxsGrid;      // 4 elements of 4, 12, ... 52, 62
extern const std::array<uint32_t, 512> kIq3SGrid;        // 4 elements of 1, 3, ... 15
extern const std::array<uint64_t, 2048> kIq1GridTimes8;  // 8 elements of -8, 0, 8

}  // namespace carat
