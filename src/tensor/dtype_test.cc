// SPDX-License-Identifier: Apache-2.0
#include "tensor/dtype.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <string>

#include "tensor/test_util.h"

namespace carat {
namespace {

TEST(DType, EveryGgmlIdIsKnownOrRefusedByName) {
  const struct {
    uint32_t id;
    const char* name;
    uint32_t elems, bytes;
  } kKnown[] = {
      {0, "F32", 1, 4},         {1, "F16", 1, 2},         {2, "Q4_0", 32, 18},
      {3, "Q4_1", 32, 20},      {6, "Q5_0", 32, 22},      {7, "Q5_1", 32, 24},
      {8, "Q8_0", 32, 34},      {10, "Q2_K", 256, 84},    {11, "Q3_K", 256, 110},
      {12, "Q4_K", 256, 144},   {13, "Q5_K", 256, 176},   {14, "Q6_K", 256, 210},
      {16, "IQ2_XXS", 256, 66}, {17, "IQ2_XS", 256, 74},  {18, "IQ3_XXS", 256, 98},
      {19, "IQ1_S", 256, 50},   {20, "IQ4_NL", 32, 18},   {21, "IQ3_S", 256, 110},
      {22, "IQ2_S", 256, 82},   {23, "IQ4_XS", 256, 136}, {24, "I8", 1, 1},
      {25, "I16", 1, 2},        {26, "I32", 1, 4},        {27, "I64", 1, 8},
      {28, "F64", 1, 8},        {29, "IQ1_M", 256, 56},   {30, "BF16", 1, 2},
      {34, "TQ1_0", 256, 54},   {35, "TQ2_0", 256, 66},   {39, "MXFP4", 32, 17},
      {40, "NVFP4", 64, 36},    {41, "Q1_0", 128, 18},    {42, "Q2_0", 64, 18},
  };
  std::set<uint32_t> ids;
  for (const auto& known : kKnown) {
    ids.insert(known.id);
    const auto type = FromGgml(known.id);
    ASSERT_TRUE(type.has_value()) << known.name;
    EXPECT_STREQ(Name(*type), known.name);
    EXPECT_EQ(Info(*type).block_elems, known.elems) << known.name;
    EXPECT_EQ(Info(*type).block_bytes, known.bytes) << known.name;
  }
  for (uint32_t id = 0; id < 1000; ++id) {
    EXPECT_EQ(FromGgml(id).has_value(), ids.count(id) == 1) << id;
  }
  EXPECT_FALSE(FromGgml(UINT32_MAX).has_value());

  for (uint32_t id : {4u, 5u, 31u, 32u, 33u, 36u, 37u, 38u}) {
    EXPECT_NE(RefusedGgmlName(id).find("(removed)"), std::string_view::npos) << id;
  }
  EXPECT_EQ(RefusedGgmlName(4), "Q4_2 (removed)");
  EXPECT_EQ(RefusedGgmlName(33), "Q4_0_8_8 (removed)");
  for (uint32_t id : {9u, 15u}) {
    EXPECT_NE(RefusedGgmlName(id).find("activations"), std::string_view::npos) << id;
  }
  EXPECT_EQ(RefusedGgmlName(43), "unknown");
}

TEST(DType, SafetensorsNamesHaveTheirSizes) {
  const struct {
    const char* name;
    uint64_t bits;
  } kKnown[] = {{"BOOL", 8},    {"U8", 8},     {"I8", 8},   {"F8_E5M2", 8},     {"F8_E4M3", 8},
                {"F8_E8M0", 8}, {"I16", 16},   {"U16", 16}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8},
                {"F16", 16},    {"BF16", 16},  {"I32", 32}, {"U32", 32},        {"F32", 32},
                {"C64", 64},    {"F64", 64},   {"I64", 64}, {"U64", 64},        {"F4", 4},
                {"F6_E2M3", 6}, {"F6_E3M2", 6}};
  for (const auto& known : kKnown) {
    const auto type = FromSafetensors(known.name);
    ASSERT_TRUE(type.has_value()) << known.name;
    EXPECT_STREQ(Name(*type), known.name);
    EXPECT_EQ(RowBytes(*type, 64), 64 * known.bits / 8) << known.name;
  }
  for (const char* name : {"", "f32", "F32 ", "Q4_0", "NVFP4", "F128"}) {
    EXPECT_FALSE(FromSafetensors(name).has_value()) << name;
  }
}

TEST(DType, NamesAreUnique) {
  std::set<std::string> names;
  for (DType type : AllTypes()) EXPECT_TRUE(names.insert(Name(type)).second) << Name(type);
}

TEST(DType, WeightsAreThreeFloatsAndTwentyFiveQuantisedTypes) {
  std::set<std::string> floats;
  for (DType type : AllTypes()) {
    if (IsFloat(type)) floats.insert(Name(type));
    EXPECT_EQ(IsWeight(type), IsFloat(type) || IsQuantized(type));
    EXPECT_FALSE(IsFloat(type) && IsQuantized(type));
  }
  EXPECT_EQ(floats, (std::set<std::string>{"F32", "F16", "BF16"}));
  EXPECT_EQ(QuantizedTypes().size(), 25u);
  EXPECT_FALSE(IsQuantized(DType::kBool));
  EXPECT_FALSE(IsQuantized(DType::kF8_E4M3));
}

TEST(RowBytes, CountsWholeBlocksOnly) {
  EXPECT_EQ(RowBytes(DType::kF32, 0), 0u);
  EXPECT_EQ(RowBytes(DType::kQ4_0, 2816), 2816u / 32 * 18);
  EXPECT_EQ(RowBytes(DType::kQ6_K, 1536), 1536u / 256 * 210);
  EXPECT_EQ(RowBytes(DType::kF4, 6), 3u);
  EXPECT_EQ(RowBytes(DType::kF6_E2M3, 8), 6u);
  EXPECT_EQ(RowBytes(DType::kQ4_0, 33), std::nullopt);
  EXPECT_EQ(RowBytes(DType::kQ6_K, 704), std::nullopt);
  EXPECT_EQ(RowBytes(DType::kF4, 3), std::nullopt);
  EXPECT_EQ(RowBytes(DType::kF6_E3M2, 6), std::nullopt);
}

TEST(RowBytes, RefusesWhatWraps) {
  const uint64_t most = UINT64_MAX / 8;
  EXPECT_EQ(RowBytes(DType::kF64, most), most * 8);
  EXPECT_EQ(RowBytes(DType::kF64, most + 1), std::nullopt);
  EXPECT_EQ(RowBytes(DType::kF32, UINT64_MAX), std::nullopt);
  EXPECT_EQ(RowBytes(DType::kI8, UINT64_MAX), UINT64_MAX);
  // More bytes than elements, so that the largest multiple of the block wraps.
  EXPECT_EQ(RowBytes(DType::kQ8_0, UINT64_MAX - 31), std::nullopt);
  EXPECT_TRUE(RowBytes(DType::kQ4_0, UINT64_MAX - 31).has_value());
}

}  // namespace
}  // namespace carat
