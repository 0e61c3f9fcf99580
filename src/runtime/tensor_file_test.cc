// SPDX-License-Identifier: Apache-2.0
#include "carat/tensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>

#include "io/safetensors.h"

namespace carat {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class TensorFileTest : public ::testing::Test {
 protected:
  TensorFileTest() : path_(fs::temp_directory_path() / fmt::format("carat_{}.st", getpid())) {}
  ~TensorFileTest() override { fs::remove(path_); }

  // Writes one tensor "t" of any type.
  template <class T>
  std::unique_ptr<TensorFile> File(DType type, std::vector<T> values) {
    const TensorToWrite tensor{.name = "t",
                               .dtype = type,
                               .shape = {values.size()},
                               .bytes = std::as_bytes(std::span<const T>(values))};
    EXPECT_TRUE(WriteSafetensors(path_, {&tensor, 1}));
    auto file = TensorFile::Open(path_);
    EXPECT_TRUE(file);
    return std::move(*file);
  }

  fs::path path_;
};

TEST_F(TensorFileTest, ReadsWhatWasWritten) {
  const std::vector<float> floats = {1.5f, -2, 3, 4, 5, 6};
  const std::vector<int32_t> ints = {7, -8};
  const std::vector<NamedValues> tensors = {
      {.name = "a.f", .shape = {2, 3}, .floats = floats, .ints = {}, .is_int = false},
      {.name = "a.i", .shape = {2}, .floats = {}, .ints = ints, .is_int = true}};
  const Status written = WriteTensors(path_, tensors);
  ASSERT_TRUE(written) << written.error().message;
  const auto file = TensorFile::Open(path_);
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_THAT((*file)->Names(), ElementsAre("a.f", "a.i"));
  EXPECT_TRUE((*file)->Has("a.f"));
  EXPECT_FALSE((*file)->Has("a"));
  EXPECT_THAT((*file)->Shape("a.f").value(), ElementsAre(2, 3));
  EXPECT_EQ((*file)->Floats("a.f").value(), floats);
  EXPECT_EQ((*file)->Ints("a.i").value(), ints);
}

TEST_F(TensorFileTest, ReadsIntegersOfEveryWidth) {
  EXPECT_THAT(File<int8_t>(DType::kI8, {-1, 2})->Ints("t").value(), ElementsAre(-1, 2));
  EXPECT_THAT(File<uint8_t>(DType::kU8, {200})->Ints("t").value(), ElementsAre(200));
  EXPECT_THAT(File<int64_t>(DType::kI64, {-3, 1 << 30})->Ints("t").value(),
              ElementsAre(-3, 1 << 30));
  EXPECT_THAT(File<float>(DType::kF32, {5, -6})->Ints("t").value(), ElementsAre(5, -6));
}

TEST_F(TensorFileTest, ReadsFloatsOfEveryWidth) {
  EXPECT_THAT(File<double>(DType::kF64, {0.5, -2})->Floats("t").value(), ElementsAre(0.5f, -2));
  EXPECT_THAT(File<uint16_t>(DType::kBF16, {0x3F80})->Floats("t").value(), ElementsAre(1.0f));
  EXPECT_THAT(File<uint16_t>(DType::kF16, {0xC000})->Floats("t").value(), ElementsAre(-2.0f));
}

TEST_F(TensorFileTest, RefusesValuesThatAreNoInt32) {
  const auto fraction = File<float>(DType::kF32, {1, 1.5f})->Ints("t");
  ASSERT_FALSE(fraction);
  EXPECT_EQ(fraction.error().code, Code::kBadFile);
  EXPECT_THAT(fraction.error().message,
              HasSubstr("t: element 1: expected a 32-bit integer, found 1.5"));
  EXPECT_FALSE(File<int64_t>(DType::kI64, {int64_t{1} << 31})->Ints("t"));
  EXPECT_FALSE(File<uint64_t>(DType::kU64, {~uint64_t{0}})->Ints("t"));
  EXPECT_FALSE(File<float>(DType::kF32, {NAN})->Ints("t"));
}

TEST_F(TensorFileTest, NamesTheTensorThatIsMissingOrOfAnotherType) {
  const auto file = File<int32_t>(DType::kI32, {1});
  const auto missing = file->Ints("x");
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().message, HasSubstr("expected a tensor x, found none"));
  const auto wrong = file->Floats("t");
  ASSERT_FALSE(wrong);
  EXPECT_THAT(wrong.error().message, HasSubstr("t: expected F32, F16, BF16 or F64, found I32"));
}

TEST_F(TensorFileTest, RefusesAShapeThatDoesNotFit) {
  const std::vector<float> floats = {1, 2, 3};
  const NamedValues tensor{
      .name = "a", .shape = {2, 2}, .floats = floats, .ints = {}, .is_int = false};
  const Status written = WriteTensors(path_, {&tensor, 1});
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, Code::kInvalidArgument);
  EXPECT_FALSE(fs::exists(path_));
}

TEST_F(TensorFileTest, SaysThatAFileIsNotThere) {
  const auto file = TensorFile::Open(path_);
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, Code::kNotFound);
}

}  // namespace
}  // namespace carat
