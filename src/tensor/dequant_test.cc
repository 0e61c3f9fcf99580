// SPDX-License-Identifier: Apache-2.0
#include "tensor/dequant.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "base/golden_for_test.h"
#include "tensor/half.h"
#include "tensor/test_util.h"

namespace carat {
namespace {

// The block of file-formats.md 11.1: a fixed byte pattern with harmless scales written over it.
struct BlockVector {
  DType type;
  int d, m;  // byte offsets of the first and second float16 field, -1 for none
  uint32_t crc;
  double sum;
  float first[4], last[2];
};

constexpr BlockVector kVectors[] = {
    {DType::kQ4_0, 0, -1, 0x6f402fe8, -2.0625, {0.1875, -0.25, 0.3125, -0.125}, {0.1875, -0.5}},
    {DType::kQ4_1,
     0,
     2,
     0x3b9393e7,
     15.5625,
     {0.859375, 0.421875, 0.984375, 0.546875},
     {0.296875, 0.609375}},
    {DType::kQ5_0, 0, -1, 0x85c7fc20, -2.8125, {0.9375, 0.5, -0.9375, 0.625}, {-0.1875, 0.125}},
    {DType::kQ5_1,
     0,
     2,
     0x9a8f5c88,
     32.8125,
     {1.109375, 0.671875, 1.234375, 1.796875},
     {0.421875, 0.734375}},
    {DType::kQ8_0, 0, -1, 0x00c477c0, -3, {-4.3125, 0.25, 4.8125, -6.625}, {4.5625, -6.875}},
    {DType::kIQ4_NL,
     0,
     -1,
     0xdab54598,
     -30.0625,
     {2.375, -3.0625, 4.3125, -1.375},
     {2.375, -7.9375}},
    {DType::kMXFP4, -1, -1, 0xc2727839, 3.125, {0.25, -0.375, 0.5, -0.75}, {1.5, -0.375}},
    {DType::kNVFP4, -1, -1, 0xdfdc55f6, 201.279296875, {-3, 4, -6, 0}, {-60, 20}},
    {DType::kQ2_K,
     80,
     82,
     0x70f96271,
     102.4375,
     {0.46875, 1.03125, 1.59375, -0.09375},
     {-0.328125, -0.328125}},
    {DType::kQ3_K, 108, -1, 0x007c5409, 14.625, {-0.4375, 0.875, -1.3125, 1.75}, {1.5, -1.5}},
    {DType::kQ4_K,
     0,
     2,
     0xe627241e,
     3226,
     {5.015625, -0.671875, 6.640625, 0.953125},
     {-1.078125, -1.078125}},
    {DType::kQ5_K,
     0,
     2,
     0x8c3ae8d7,
     6771,
     {18.015625, -0.671875, 19.640625, 0.953125},
     {-1.078125, -1.078125}},
    {DType::kQ6_K, 208, -1, 0x410ccea0, -927.75, {10.0625, -2.875, -38.8125, 40.25}, {-45, 18}},
    {DType::kIQ4_XS,
     0,
     -1,
     0x0fb2d569,
     -403.125,
     {-188.5, 45.3125, -117.8125, 96.0625},
     {65.625, -46.875}},
    {DType::kTQ1_0, 52, -1, 0xa4f62dc6, -0.9375, {-0.0625, 0, 0.0625, -0.0625}, {-0.0625, 0.0625}},
    {DType::kTQ2_0, 64, -1, 0x39016b24, 7.8125, {0, 0.0625, 0.125, -0.0625}, {0.125, -0.0625}},
    {DType::kQ1_0,
     0,
     -1,
     0xfa5b0d8d,
     -0.375,
     {0.0625, 0.0625, -0.0625, 0.0625},
     {-0.0625, -0.0625}},
    {DType::kQ2_0, 0, -1, 0x01641bba, 1.6875, {0.125, 0.0625, 0.125, 0.0625}, {-0.0625, -0.0625}},
    {DType::kIQ2_XXS,
     0,
     -1,
     0x2efdc5a0,
     -18.640625,
     {-7.7265625, -7.7265625, -1.4375, -1.4375},
     {1.4375, -4.4921875}},
    {DType::kIQ2_XS,
     0,
     -1,
     0x6b279f19,
     41.609375,
     {1.4375, -4.4921875, 1.4375, 1.4375},
     {-1.9375, 1.9375}},
    {DType::kIQ2_S,
     0,
     -1,
     0x9547475d,
     -15.71875,
     {-0.4375, -1.3671875, 1.3671875, -0.4375},
     {0.5625, -3.0234375}},
    {DType::kIQ3_XXS,
     0,
     -1,
     0x1b1f76bf,
     121.34375,
     {-18.5625, -15.1875, 11.8125, -15.1875},
     {1.6875, 15.1875}},
    {DType::kIQ3_S,
     0,
     -1,
     0x43f3a8e6,
     10.125,
     {-2.1875, -0.4375, 6.5625, 4.8125},
     {3.9375, 4.8125}},
    {DType::kIQ1_S,
     0,
     -1,
     0x6991846b,
     -4.5625,
     {0.0390625, 0.0390625, -0.2734375, -0.2734375},
     {0.0390625, -0.2734375}},
    {DType::kIQ1_M,
     -1,
     -1,
     0xf595b231,
     -3.8125,
     {0.1640625, -0.2109375, -0.2109375, -0.2109375},
     {-0.0703125, -0.6328125}},
};
static_assert(std::size(kVectors) == 25);

std::vector<uint8_t> MakeBlock(const BlockVector& vector) {
  std::vector<uint8_t> block(Info(vector.type).block_bytes);
  for (size_t i = 0; i < block.size(); ++i) block[i] = static_cast<uint8_t>(73 * i + 41);
  const auto store_u16 = [&](int at, uint16_t value) { std::memcpy(&block[at], &value, 2); };
  if (vector.d >= 0) store_u16(vector.d, 0x2C00);
  if (vector.m >= 0) store_u16(vector.m, 0x2A00);
  if (vector.type == DType::kMXFP4) block[0] = 0x7D;
  if (vector.type == DType::kNVFP4) {
    const uint8_t scales[4] = {0x38, 0x41, 0x07, 0x5A};
    std::memcpy(block.data(), scales, sizeof(scales));
  }
  if (vector.type == DType::kIQ1_M) {
    const uint8_t top[4] = {0x0, 0x0, 0xC, 0x2};
    for (int i = 0; i < 4; ++i) {
      uint8_t& byte = block[48 + 2 * i + 1];
      byte = static_cast<uint8_t>((byte & 15) | top[i] << 4);
    }
  }
  return block;
}

class BlockVectorTest : public testing::TestWithParam<BlockVector> {};

TEST_P(BlockVectorTest, DequantisesToThePublishedValues) {
  const BlockVector& vector = GetParam();
  const std::vector<uint8_t> block = MakeBlock(vector);
  std::vector<float> values(Info(vector.type).block_elems);
  DequantRow(vector.type, reinterpret_cast<const std::byte*>(block.data()),
             static_cast<int64_t>(values.size()), values.data());
  double sum = 0;
  for (float value : values) sum += value;
  EXPECT_EQ(sum, vector.sum);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(values[i], vector.first[i]) << i;
  for (int i = 0; i < 2; ++i) EXPECT_EQ(values[values.size() - 2 + i], vector.last[i]) << i;
  EXPECT_EQ(Crc32(values.data(), values.size() * sizeof(float)), vector.crc);
}

INSTANTIATE_TEST_SUITE_P(AllTypes, BlockVectorTest, testing::ValuesIn(kVectors),
                         [](const auto& param) { return std::string(Name(param.param.type)); });

// Zeros may differ in sign, everything else must have the same bits.
uint32_t BitsButZeroSign(float value) { return value == 0 ? 0 : FloatToBits(value); }

TEST(DequantGolden, EveryTypeHasTheBitsOfLlamaCpp) {
  const std::filesystem::path folder = test::Golden("gguf/dequant");
  const Json index = test::ReadIndex(folder);
  ASSERT_EQ(index.size(), 28u);
  for (const auto& entry : index) {
    const std::string name = entry["type"];
    SCOPED_TRACE(name);
    const auto type = FromGgml(entry["id"]);
    ASSERT_TRUE(type.has_value());
    EXPECT_EQ(Name(*type), name);
    const std::string file = test::ReadFile(folder / std::string(entry["gguf"]));
    const std::string expected = test::ReadFile(folder / std::string(entry["expected"]));
    ASSERT_EQ(file.substr(0, 4), "GGUF");

    // The data section is what the file ends with: the tensors in order, each padded to 32 bytes.
    std::vector<std::pair<int64_t, int64_t>> shapes;  // rows, columns
    uint64_t section = 0;
    for (const auto& tensor : entry["tensors"]) {
      shapes.emplace_back(tensor["ne"][1], tensor["ne"][0]);
      const uint64_t row_bytes = *RowBytes(*type, shapes.back().second);
      section += (row_bytes * shapes.back().first + 31) / 32 * 32;
    }
    ASSERT_LT(section, file.size());
    uint64_t at = file.size() - section;
    for (size_t i = 0; i < shapes.size(); ++i) {
      const auto& tensor = entry["tensors"][i];
      SCOPED_TRACE(tensor["name"].get<std::string>());
      const auto [rows, cols] = shapes[i];
      const uint64_t row_bytes = *RowBytes(*type, cols);
      const size_t expected_at = tensor["expected_offset"];
      ASSERT_LE(expected_at + rows * cols * sizeof(float), expected.size());
      std::vector<float> want(rows * cols), got(rows * cols);
      std::memcpy(want.data(), expected.data() + expected_at, want.size() * sizeof(float));
      for (int64_t r = 0; r < rows; ++r) {
        const char* const row = file.data() + at + r * row_bytes;
        DequantRow(*type, reinterpret_cast<const std::byte*>(row), cols, got.data() + r * cols);
      }
      for (size_t k = 0; k < got.size(); ++k) {
        ASSERT_EQ(BitsButZeroSign(got[k]), BitsButZeroSign(want[k]))
            << "element " << k << ": " << got[k] << " instead of " << want[k];
      }
      at += (row_bytes * rows + 31) / 32 * 32;
    }
  }
}

TEST(DequantRow, ReadsFloatTypesFromAnyAddress) {
  const float values[] = {0.0f, -1.5f, 65504.0f, 0x1p-24f, 0x1p-14f, -0x1.8p-20f, 1.0f, 0.1f};
  constexpr int kCount = std::size(values);
  for (int shift = 0; shift < 4; ++shift) {
    std::vector<std::byte> f32(shift + 4 * kCount), f16(shift + 2 * kCount), bf16(f16.size());
    std::memcpy(f32.data() + shift, values, sizeof(values));
    for (int i = 0; i < kCount; ++i) {
      const uint16_t half = FloatToF16(values[i]), brain = FloatToBf16(values[i]);
      std::memcpy(f16.data() + shift + 2 * i, &half, 2);
      std::memcpy(bf16.data() + shift + 2 * i, &brain, 2);
    }
    float got[kCount];
    DequantRow(DType::kF32, f32.data() + shift, kCount, got);
    for (int i = 0; i < kCount; ++i) EXPECT_EQ(got[i], values[i]) << i;
    DequantRow(DType::kF16, f16.data() + shift, kCount, got);
    for (int i = 0; i < kCount; ++i) EXPECT_EQ(got[i], F16ToFloat(FloatToF16(values[i]))) << i;
    DequantRow(DType::kBF16, bf16.data() + shift, kCount, got);
    for (int i = 0; i < kCount; ++i) EXPECT_EQ(got[i], Bf16ToFloat(FloatToBf16(values[i]))) << i;
  }
}

TEST(DequantRow, LongRowsEqualTheirBlocks) {
  // 37 blocks cross the boundaries of whatever is decoded at a time.
  for (const BlockVector& vector : kVectors) {
    const int64_t elems = Info(vector.type).block_elems, bytes = Info(vector.type).block_bytes;
    std::vector<uint8_t> row;
    std::vector<float> want(37 * elems), got(37 * elems);
    for (int b = 0; b < 37; ++b) {
      std::vector<uint8_t> block = MakeBlock(vector);
      block[bytes / 2] = static_cast<uint8_t>(31 * b);
      row.insert(row.end(), block.begin(), block.end());
      DequantRow(vector.type, reinterpret_cast<const std::byte*>(block.data()), elems,
                 want.data() + b * elems);
    }
    DequantRow(vector.type, reinterpret_cast<const std::byte*>(row.data()), 37 * elems, got.data());
    EXPECT_EQ(std::memcmp(got.data(), want.data(), got.size() * sizeof(float)), 0)
        << Name(vector.type);
  }
}

TEST(DequantRow, SmallestAndSpecialMxfp4ScalesAreExact) {
  for (int e : {0, 1, 2, 127, 128, 254}) {
    std::vector<uint8_t> block(17, 0x97);  // codes 12 / 2 and -1 / 2
    block[0] = static_cast<uint8_t>(e);
    float values[32];
    DequantRow(DType::kMXFP4, reinterpret_cast<const std::byte*>(block.data()), 32, values);
    const auto scale = static_cast<float>(std::ldexp(1.0, e - 128));
    EXPECT_EQ(values[0], 12 * scale) << e;
    EXPECT_EQ(values[16], -scale) << e;
  }
}

TEST(DequantRow, EveryNvfp4ScaleFollowsItsDefinition) {
  for (int byte = 0; byte < 256; ++byte) {
    std::vector<uint8_t> block(36, 0x22);  // E2M1 code 2 is 1.0
    block[2] = static_cast<uint8_t>(byte);
    float values[64];
    DequantRow(DType::kNVFP4, reinterpret_cast<const std::byte*>(block.data()), 64, values);
    const int exponent = byte >> 3 & 15, mantissa = byte & 7;
    const double value =
        exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
    EXPECT_EQ(values[32], byte == 0x7F ? 0 : value) << byte;
  }
}

}  // namespace
}  // namespace carat
