// SPDX-License-Identifier: Apache-2.0
#include "tensor/quant_codes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "tensor/block_decoder.h"
#include "tensor/dequant.h"
#include "tensor/iq_grids.h"
#include "tensor/test_util.h"

namespace carat {
namespace {

// Bytes without structure. Some scales are infinite or NaN, which must not disturb the codes.
std::vector<std::byte> RandomBytes(size_t size, uint64_t seed) {
  std::vector<std::byte> bytes(size);
  uint64_t state = seed;
  for (std::byte& byte : bytes) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    byte = static_cast<std::byte>(state >> 56);
  }
  return bytes;
}

struct Decoded {
  std::vector<int8_t> codes;
  std::vector<float> scales, offsets;
};

Decoded Decode(DType type, const std::byte* blocks, int64_t n) {
  const int group = CodesOf(type).group;
  Decoded out{std::vector<int8_t>(n), std::vector<float>(n / group), std::vector<float>(n / group)};
  DecodeCodes(type, blocks, n, out.codes.data(), out.scales.data(), out.offsets.data());
  return out;
}

TEST(DecodeCodes, BlocksHaveTheSizesOfTheTypeTable) {
  for (DType type : QuantizedTypes()) {
    EXPECT_EQ(DecoderOf(type).elems, static_cast<int>(Info(type).block_elems)) << Name(type);
    EXPECT_EQ(DecoderOf(type).bytes, static_cast<int>(Info(type).block_bytes)) << Name(type);
  }
}

TEST(DecodeCodes, FormatsStateExactlyTheCodesThatOccur) {
  for (DType type : QuantizedTypes()) {
    const CodeFormat format = CodesOf(type);
    EXPECT_TRUE(format.group == 16 || format.group == 32) << Name(type);
    const int64_t n = 1 << 18;
    const auto blocks = RandomBytes(*RowBytes(type, n), 7);
    const Decoded decoded = Decode(type, blocks.data(), n);
    const auto [low, high] = std::minmax_element(decoded.codes.begin(), decoded.codes.end());
    EXPECT_EQ(*low, format.min_code) << Name(type);
    EXPECT_EQ(*high, format.max_code) << Name(type);
    const bool any_offset = std::any_of(decoded.offsets.begin(), decoded.offsets.end(),
                                        [](float offset) { return offset != 0; });
    EXPECT_EQ(any_offset, format.has_offset) << Name(type);
  }
}

TEST(DecodeCodes, CodeTimesScalePlusOffsetIsTheValue) {
  for (DType type : QuantizedTypes()) {
    const int group = CodesOf(type).group;
    const int64_t n = 256 * 64;
    const auto blocks = RandomBytes(*RowBytes(type, n), 11);
    const Decoded decoded = Decode(type, blocks.data(), n);
    std::vector<float> values(n);
    DequantRow(type, blocks.data(), n, values.data());
    for (int64_t i = 0; i < n; ++i) {
      const float product = static_cast<float>(decoded.codes[i]) * decoded.scales[i / group];
      const float value = product + decoded.offsets[i / group];
      if (std::isnan(value)) {
        ASSERT_TRUE(std::isnan(values[i])) << Name(type) << " " << i;
      } else {
        ASSERT_EQ(values[i], value) << Name(type) << " " << i;
      }
    }
  }
}

TEST(DecodeCodes, NeedsNeitherAlignmentNorOffsets) {
  for (DType type : QuantizedTypes()) {
    const int64_t n = 512;
    const auto blocks = RandomBytes(*RowBytes(type, n), 13);
    const Decoded want = Decode(type, blocks.data(), n);
    // Exactly as long as needed, so that a sanitizer sees any read or write past the end.
    std::vector<std::byte> shifted(blocks.size() + 1);
    std::memcpy(shifted.data() + 1, blocks.data(), blocks.size());
    std::vector<int8_t> codes(n);
    std::vector<float> scales(n / CodesOf(type).group);
    DecodeCodes(type, shifted.data() + 1, n, codes.data(), scales.data(), nullptr);
    EXPECT_EQ(codes, want.codes) << Name(type);
    EXPECT_EQ(std::memcmp(scales.data(), want.scales.data(), scales.size() * sizeof(float)), 0)
        << Name(type);
  }
}

TEST(DecodeCodes, NothingIsWrittenForNoElements) {
  for (DType type : QuantizedTypes()) {
    int8_t code = 77;
    float scale = 5, offset = 6;
    DecodeCodes(type, nullptr, 0, &code, &scale, &offset);
    EXPECT_EQ(code, 77) << Name(type);
    EXPECT_EQ(scale, 5) << Name(type);
    EXPECT_EQ(offset, 6) << Name(type);
  }
}

TEST(SpreadBits, PutsEachBitIntoItsByte) {
  for (int bits = 0; bits < 256; ++bits) {
    const uint64_t spread = SpreadBits(static_cast<uint8_t>(bits));
    uint8_t bytes[8];
    std::memcpy(bytes, &spread, 8);
    for (int i = 0; i < 8; ++i) ASSERT_EQ(bytes[i], bits >> i & 1) << bits;
  }
}

// A code book in the hexadecimal form whose CRC-32 is published: per entry, element j as an index
// into `values` in bits w * j ... .
template <class Grid>
uint32_t GridCrc(const Grid& grid, const std::vector<int>& values, int bits, int digits) {
  std::string text;
  for (const auto& entry : grid) {
    int8_t elements[sizeof(entry)];
    std::memcpy(elements, &entry, sizeof(entry));
    unsigned packed = 0;
    for (size_t j = 0; j < sizeof(entry); ++j) {
      const auto at = std::find(values.begin(), values.end(), elements[j]);
      if (at == values.end()) return 0;
      packed |= static_cast<unsigned>(at - values.begin()) << (bits * j);
    }
    char hex[8];
    std::snprintf(hex, sizeof(hex), "%0*x", digits, packed);
    text += hex;
  }
  return Crc32(text.data(), text.size());
}

TEST(IqGrids, HaveThePublishedChecksums) {
  EXPECT_EQ(GridCrc(kIq2XxsGrid, {8, 25, 43}, 2, 4), 0x757ee0ccu);
  EXPECT_EQ(GridCrc(kIq2XsGrid, {8, 25, 43}, 2, 4), 0x0ee9db97u);
  EXPECT_EQ(GridCrc(kIq2SGrid, {8, 25, 43}, 2, 4), 0x86810c0eu);
  EXPECT_EQ(GridCrc(kIq3XxsGrid, {4, 12, 20, 28, 36, 44, 52, 62}, 3, 3), 0xd4e0a9ccu);
  EXPECT_EQ(GridCrc(kIq3SGrid, {1, 3, 5, 7, 9, 11, 13, 15}, 3, 3), 0xb012af85u);
  EXPECT_EQ(GridCrc(kIq1GridTimes8, {-8, 0, 8}, 2, 4), 0x776605f5u);
}

}  // namespace
}  // namespace carat
