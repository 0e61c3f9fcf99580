// SPDX-License-Identifier: Apache-2.0
#include "io/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "io/gguf_for_test.h"

namespace carat {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

std::string File(std::string_view json, size_t data_bytes) {
  return test::Raw<uint64_t>(json.size()) + std::string(json) + std::string(data_bytes, '\7');
}
Result<SafetensorsFile> Parse(std::string_view json, size_t data_bytes) {
  return ParseSafetensors(test::InMemory(File(json, data_bytes), "test.safetensors"));
}
std::string Problem(std::string_view json, size_t data_bytes) {
  const auto file = Parse(json, data_bytes);
  if (file) return "accepted";
  EXPECT_EQ(file.error().code, Code::kBadFile);
  return file.error().message;
}

fs::path TempFolder() {
  const fs::path path = fs::path(testing::TempDir()) / ("carat_io_" + std::to_string(::getpid()));
  fs::create_directories(path);
  return path;
}

TEST(Safetensors, ReadsTensorsInTheOrderOfTheirData) {
  const auto file = Parse(
      R"({"b":{"dtype":"U8","shape":[3],"data_offsets":[8,11]},"__metadata__":{"format":"pt"},)"
      R"("a":{"shape":[2,2],"data_offsets":[0,8],"dtype":"BF16","more":{"x":[1,{"dtype":2}]}}})",
      11);
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->metadata.at("format"), "pt");
  ASSERT_EQ(file->tensors.size(), 2u);
  EXPECT_EQ(file->tensors[0].name, "a");
  EXPECT_EQ(file->tensors[0].dtype, DType::kBF16);
  EXPECT_THAT(file->tensors[0].shape, ElementsAre(2, 2));
  EXPECT_EQ(file->tensors[1].name, "b");
  EXPECT_EQ(file->tensors[1].offset, file->file->size() - 3);
  EXPECT_EQ(file->tensors[1].bytes, 3u);
}

TEST(Safetensors, NamesWhatIsWrong) {
  EXPECT_THAT(Problem(R"({"w":{"dtype":"F32","shape":[1]}})", 0),
              HasSubstr("tensor \"w\": data_offsets: missing"));
  EXPECT_THAT(Problem(R"({"w":{"dtype":"F32","dtype":"F32","shape":[],"data_offsets":[0,4]}})", 4),
              HasSubstr("tensor \"w\": dtype twice"));
  EXPECT_THAT(Problem(R"({"w":{"dtype":"F32","shape":{},"data_offsets":[0,4]}})", 4),
              HasSubstr("tensor \"w\": shape: expected an array, found an object"));
  EXPECT_THAT(Problem(R"({"w":{"dtype":"F32","shape":[[1]],"data_offsets":[0,4]}})", 4),
              HasSubstr("shape: expected a whole number below 2^64, found an array"));
  EXPECT_THAT(Problem(R"({"w":{"dtype":"F32","shape":["1"],"data_offsets":[0,4]}})", 4),
              HasSubstr("found string"));
  EXPECT_THAT(Problem(R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[4]}})", 4),
              HasSubstr("expected two numbers, found 1"));
  EXPECT_THAT(Problem(R"({"w":null})", 0), HasSubstr("\"w\": expected an object, found null"));
  EXPECT_THAT(Problem(R"({"__metadata__":{"a":{}}})", 0),
              HasSubstr("\"__metadata__\": expected a string, found an object"));
  EXPECT_THAT(Problem(R"({"__metadata__":{},"__metadata__":{}})", 0), HasSubstr("twice"));
  EXPECT_THAT(
      Problem(R"({"w":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}})", 0),
      HasSubstr("does not fit 64 bits"));
}

TEST(Safetensors, BoundsDepthAndRank) {
  const std::string deep(100000, '[');
  EXPECT_THAT(Problem("{\"w\":{\"x\":" + deep, 0), HasSubstr("nested too deeply"));
  std::string shape = "1";
  for (int i = 0; i < 31; ++i) shape += ",1";
  const auto entry = [](const std::string& dims) {
    return R"({"w":{"dtype":"U8","shape":[)" + dims + R"(],"data_offsets":[0,1]}})";
  };
  EXPECT_EQ(Problem(entry(shape), 1), "accepted");
  EXPECT_THAT(Problem(entry(shape + ",1"), 1), HasSubstr("at most 32 dimensions"));
}

TEST(Safetensors, SurvivesEveryByteReplacedAndEveryTruncation) {
  const std::string good = File(
      R"({"__metadata__":{"k":"v"},"w":{"dtype":"BF16","shape":[2,2],"data_offsets":[0,8]}})", 8);
  for (size_t i = 0; i < good.size(); ++i) {
    for (const char v : std::string_view("\0\1 \"{}[],:-.09e\\u\x7f\x80\xff", 20)) {
      std::string bytes = good;
      bytes[i] = v;
      const auto file = ParseSafetensors(test::InMemory(bytes, "test.safetensors"));
      if (!file) {
        EXPECT_EQ(file.error().code, Code::kBadFile);
      }
    }
    EXPECT_FALSE(ParseSafetensors(test::InMemory(good.substr(0, i), "test.safetensors"))) << i;
  }
}

TEST(SafetensorsWriter, WritesWhatTheReaderReads) {
  const fs::path path = TempFolder() / "out.safetensors";
  const std::vector<float> a = {1, 2, 3, 4, 5, 6};
  const std::vector<int64_t> b = {-1};
  const std::vector<TensorToWrite> tensors = {
      {"a \"q\"\n\xC3\xBC", DType::kF32, {2, 3}, std::as_bytes(std::span(a))},
      {"b", DType::kI64, {}, std::as_bytes(std::span(b))},
      {"none", DType::kBF16, {0, 5}, {}}};
  const SafetensorsMetadata metadata = {{"format", "pt"}, {"x", "\xC3\xBC\n"}};

  ASSERT_TRUE(WriteSafetensors(path, tensors, metadata));
  const auto one = MappedFile::Open(path);
  ASSERT_TRUE(one);
  const auto read = ParseSafetensors(*one);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_THAT(read->metadata, testing::ElementsAreArray(metadata.begin(), metadata.end()));
  ASSERT_EQ(read->tensors.size(), 3u);
  EXPECT_EQ(read->tensors[0].name, tensors[0].name);
  EXPECT_EQ(read->tensors[0].shape, tensors[0].shape);
  EXPECT_EQ(read->tensors[0].offset % 8, 0u);
  EXPECT_EQ(std::memcmp(read->tensors[0].data(), a.data(), 24), 0);
  EXPECT_EQ(std::memcmp(read->tensors[1].data(), b.data(), 8), 0);

  // One at a time gives the same bytes.
  const fs::path other = TempFolder() / "stream.safetensors";
  {
    auto writer = SafetensorsWriter::Create(other);
    ASSERT_TRUE(writer) << writer.error().message;
    for (const TensorToWrite& t : tensors) ASSERT_TRUE(writer->Add(t));
    EXPECT_FALSE(fs::exists(other));
    ASSERT_TRUE(writer->Finish(metadata));
  }
  const auto two = MappedFile::Open(other);
  ASSERT_TRUE(two);
  ASSERT_EQ((*one)->size(), (*two)->size());
  EXPECT_EQ(std::memcmp((*one)->bytes().data(), (*two)->bytes().data(), (*one)->size()), 0);
  EXPECT_EQ(std::distance(fs::directory_iterator(TempFolder()), fs::directory_iterator()), 2)
      << "temporary files remain";
  fs::remove_all(TempFolder());
}

TEST(SafetensorsWriter, LeavesTheOldFileWhenItCannotFinish) {
  const fs::path path = TempFolder() / "out.safetensors";
  ASSERT_TRUE(WriteSafetensors(path, {}));
  const std::vector<std::byte> bytes(7);
  const std::vector<TensorToWrite> wrong_size = {{"w", DType::kF32, {2}, bytes}};
  EXPECT_EQ(WriteSafetensors(path, wrong_size).error().code, Code::kInvalidArgument);
  const std::vector<TensorToWrite> wrong_type = {{"w", DType::kQ4_0, {32}, bytes}};
  EXPECT_THAT(WriteSafetensors(path, wrong_type).error().message, HasSubstr("no type Q4_0"));
  const std::vector<TensorToWrite> twice = {{"w", DType::kU8, {7}, bytes},
                                            {"w", DType::kU8, {7}, bytes}};
  EXPECT_THAT(WriteSafetensors(path, twice).error().message, HasSubstr("twice"));
  const std::vector<TensorToWrite> bad_name = {{"\xFF", DType::kU8, {7}, bytes}};
  EXPECT_FALSE(WriteSafetensors(path, bad_name));
  {
    auto writer = SafetensorsWriter::Create(path);
    ASSERT_TRUE(writer);
    EXPECT_TRUE(writer->Add({"w", DType::kU8, {7}, bytes}));
  }
  EXPECT_TRUE(OpenSafetensors(path)->empty());
  EXPECT_EQ(std::distance(fs::directory_iterator(TempFolder()), fs::directory_iterator()), 1);
  EXPECT_EQ(WriteSafetensors(TempFolder() / "no" / "x", {}).error().code, Code::kBadFile);
  fs::remove_all(TempFolder());
}

}  // namespace
}  // namespace carat
