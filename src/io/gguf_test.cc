// SPDX-License-Identifier: Apache-2.0
#include "io/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "io/gguf_for_test.h"

namespace carat {
namespace {

using test::GgufBytes;
using test::ParseGgufBytes;
using test::Raw;
using testing::ElementsAre;
using testing::HasSubstr;

// The worked example of file-formats.md 1.8.
std::string Example() {
  std::string out = "GGUF" + Raw<uint32_t>(3) + Raw<uint64_t>(2) + Raw<uint64_t>(3);
  out += test::RawString("general.architecture") + Raw<uint32_t>(8) + test::RawString("gemma4");
  out += test::RawString("general.alignment") + Raw<uint32_t>(4) + Raw<uint32_t>(32);
  out += test::RawString("a.b") + Raw<uint32_t>(9) + Raw<uint32_t>(7) + Raw<uint64_t>(3);
  out += std::string("\1\1\0", 3);
  out += test::RawString("x") + Raw<uint32_t>(2) + Raw<uint64_t>(2) + Raw<uint64_t>(2);
  out += Raw<uint32_t>(0) + Raw<uint64_t>(0);
  out += test::RawString("y") + Raw<uint32_t>(1) + Raw<uint64_t>(32) + Raw<uint32_t>(8);
  out += Raw<uint64_t>(32);
  EXPECT_EQ(out.size(), 0xcfu);
  out.resize(0xe0);
  for (float v : {1.0f, 2.0f, 3.0f, 4.0f}) out += Raw(v);
  out.resize(0x100);
  out += Raw<uint16_t>(0x3800);
  for (char q = 0; q < 32; ++q) out += q;
  out.resize(0x140);
  return out;
}

// Every integer of the example: where it is and its bytes.
struct Field {
  size_t at;
  size_t bytes;
  const char* what;
};
constexpr Field kFields[] = {
    {0x04, 4, "version"},     {0x08, 8, "tensor count"}, {0x10, 8, "key count"},
    {0x18, 8, "key length"},  {0x34, 4, "value type"},   {0x38, 8, "string length"},
    {0x46, 8, "key length"},  {0x5f, 4, "value type"},   {0x63, 4, "alignment"},
    {0x67, 8, "key length"},  {0x72, 4, "value type"},   {0x76, 4, "element type"},
    {0x7a, 8, "array count"}, {0x85, 8, "name length"},  {0x8e, 4, "dimensions"},
    {0x92, 8, "x ne[0]"},     {0x9a, 8, "x ne[1]"},      {0xa2, 4, "x type"},
    {0xa6, 8, "x offset"},    {0xae, 8, "name length"},  {0xb7, 4, "dimensions"},
    {0xbb, 8, "y ne[0]"},     {0xc3, 4, "y type"},       {0xc7, 8, "y offset"},
};

uint64_t Get(const std::string& bytes, const Field& f) {
  uint64_t v = 0;
  std::memcpy(&v, bytes.data() + f.at, f.bytes);
  return v;
}

// What holds for every result, accepted or not.
void ExpectClean(const Result<GgufFile>& file) {
  if (!file) {
    EXPECT_EQ(file.error().code, Code::kBadFile);
    EXPECT_THAT(file.error().message, HasSubstr("test.gguf: "));
    EXPECT_EQ(file.error().message.find_first_of(std::string_view("\n\0", 2)), std::string::npos);
    return;
  }
  for (const TensorEntry& t : file->tensors) {
    ASSERT_LE(t.offset, file->file->size());
    ASSERT_LE(t.bytes, file->file->size() - t.offset);
  }
}

TEST(Gguf, ReadsTheWorkedExample) {
  const auto file = ParseGgufBytes(Example());
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->version, 3u);
  EXPECT_EQ(file->alignment, 32u);
  EXPECT_EQ(file->data_start, 0xe0u);
  EXPECT_EQ(*file->metadata->RequireString("general.architecture"), "gemma4");
  EXPECT_THAT(*file->metadata->RequireBools("a.b"), ElementsAre(true, true, false));
  ASSERT_EQ(file->tensors.size(), 2u);
  const TensorEntry& x = file->tensors[0];
  EXPECT_EQ(x.name, "x");
  EXPECT_EQ(x.dtype, DType::kF32);
  EXPECT_THAT(x.shape, ElementsAre(2, 2));
  EXPECT_EQ(x.offset, 0xe0u);
  EXPECT_EQ(x.bytes, 16u);
  const TensorEntry& y = file->tensors[1];
  EXPECT_EQ(y.dtype, DType::kQ8_0);
  EXPECT_EQ(y.offset, 0x100u);
  EXPECT_EQ(y.bytes, 34u);
  EXPECT_EQ(static_cast<uint8_t>(y.data()[33]), 31);
}

TEST(Gguf, SurvivesEveryIntegerReplaced) {
  const std::string good = Example();
  size_t accepted = 0, refused = 0;
  for (const Field& f : kFields) {
    const uint64_t value = Get(good, f);
    for (const uint64_t bad :
         {uint64_t{0}, uint64_t{1}, uint64_t{0x7fffffff}, uint64_t{1} << 31, uint64_t{0xffffffff},
          ~uint64_t{0} >> 1, uint64_t{1} << 63, ~uint64_t{0}, value + 1, value - 1}) {
      SCOPED_TRACE(testing::Message() << f.what << " at " << f.at << ": " << bad);
      std::string bytes = good;
      std::memcpy(bytes.data() + f.at, &bad, f.bytes);
      const auto file = ParseGgufBytes(bytes);
      ExpectClean(file);
      ++(file ? accepted : refused);
      // No field of this file may be huge.
      if (bad >= 0x7fffffff && Get(bytes, f) >= 0x7fffffff) {
        EXPECT_FALSE(file);
      }
    }
  }
  // Few variants are sound: the number itself, version 2, smaller counts that still parse.
  EXPECT_GT(refused, 200u);
  EXPECT_GT(accepted, 0u);
}

TEST(Gguf, SurvivesEveryByteReplaced) {
  const std::string good = Example();
  for (size_t i = 0; i < 0xe0; ++i) {
    for (const int v : {0x00, 0x01, 0x7f, 0x80, 0xff}) {
      std::string bytes = good;
      bytes[i] = static_cast<char>(v);
      ExpectClean(ParseGgufBytes(bytes));
    }
  }
}

TEST(Gguf, RefusesEveryTruncationThatCutsATensor) {
  const std::string good = Example();
  const size_t last_byte_needed = 0x122;  // the padding behind it may be missing
  for (size_t n = 0; n <= good.size(); ++n) {
    const auto file = ParseGgufBytes(good.substr(0, n));
    ExpectClean(file);
    EXPECT_EQ(file.has_value(), n >= last_byte_needed) << n;
  }
}

TEST(Gguf, RefusesKeysAndTensorsTwice) {
  GgufBytes keys;
  keys.U32("a", 1).String("b", "x").U32("a", 1);
  EXPECT_THAT(keys.Parse().error().message, HasSubstr("metadata key \"a\" twice"));
  GgufBytes kinds;
  kinds.U32("a", 1).String("a", "x");
  EXPECT_FALSE(kinds.Parse());
  GgufBytes tensors;
  tensors.Tensor("t", {4}).Tensor("u", {4}).Tensor("t", {4});
  EXPECT_THAT(tensors.Parse().error().message, HasSubstr("tensor \"t\" twice"));
}

TEST(Gguf, RefusesTypesThatHaveNoSize) {
  for (const uint32_t type : {4u, 5u, 9u, 15u, 31u, 32u, 33u, 36u, 37u, 38u, 43u, 1u << 31, ~0u}) {
    GgufBytes file;
    file.TensorAs("t", {256}, type, 0, 1024);
    EXPECT_THAT(file.Parse().error().message, HasSubstr(fmt::format("type {}: ", type)));
  }
}

TEST(Gguf, ChecksTheAlignment) {
  for (const uint32_t good : {8u, 16u, 64u, 1u << 20}) {
    GgufBytes file(good);
    file.U32("general.alignment", good).Tensor("a", {3}).Tensor("b", {5});
    EXPECT_TRUE(file.Parse()) << good;
  }
  for (const uint32_t bad : {0u, 1u, 3u, 4u, 12u, 48u, 1u << 21, 1u << 31}) {
    GgufBytes file;
    file.U32("general.alignment", bad);
    EXPECT_FALSE(file.Parse()) << bad;
  }
  GgufBytes wrong;
  wrong.Scalar<uint64_t>("general.alignment", GgufType::kU64, 32);
  EXPECT_THAT(wrong.Parse().error().message, HasSubstr("expected u32, found u64 32"));
}

TEST(Gguf, AcceptsAnyOrderGapsAndEmptyTensors) {
  GgufBytes file;
  file.TensorAs("late", {4}, 0, 128, 16)
      .TensorAs("early", {4}, 0, 0, 16)
      .TensorAs("empty", {0, 7}, 0, 32, 0)
      .TensorAs("scalar", {}, 0, 64, 4)
      .TensorAs("unused", {1}, 0, 96, 100);
  const auto parsed = file.Parse();
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(parsed->tensors[0].name, "late");
  EXPECT_THAT(parsed->tensors[2].shape, ElementsAre(7, 0));
  EXPECT_EQ(parsed->tensors[2].bytes, 0u);
  EXPECT_TRUE(parsed->tensors[3].shape.empty());
  EXPECT_EQ(parsed->tensors[3].bytes, 4u);
}

TEST(Gguf, AcceptsAnEmptyTensorBehindPaddingThatIsMissing) {
  GgufBytes file;
  file.TensorAs("a", {1}, 0, 0, 4).TensorAs("empty", {0}, 0, 32, 0);
  std::string bytes = file.Bytes();
  bytes.resize(bytes.size() - 28);
  const auto parsed = ParseGgufBytes(bytes);
  ASSERT_TRUE(parsed) << parsed.error().message;
  ExpectClean(parsed);
  GgufBytes far;
  far.TensorAs("a", {1}, 0, 0, 4).TensorAs("empty", {0}, 0, 64 << 10, 0);
  EXPECT_FALSE(far.Parse());
}

TEST(Gguf, RefusesOverlapWhereverItLies) {
  for (const uint64_t offset : {0, 32, 64, 96}) {
    GgufBytes file;
    file.TensorAs("big", {32}, 0, 0, 128).TensorAs("small", {1}, 0, offset, 32);
    EXPECT_THAT(file.Parse().error().message, HasSubstr("overlap")) << offset;
  }
}

TEST(Gguf, NamesInMessagesAreSafeToPrint) {
  GgufBytes file;
  file.TensorAs("evil\n\x1b[2J\xff", {4}, 4, 0, 16);
  const auto parsed = file.Parse();
  ASSERT_FALSE(parsed);
  EXPECT_THAT(parsed.error().message, HasSubstr("evil\\x0a\\x1b[2J\xEF\xBF\xBD"));
}

TEST(Gguf, BoundsWhatManySmallThingsCost) {
  // As many keys and tensors as the caps allow, and one more.
  for (const bool too_many : {false, true}) {
    GgufBytes keys, tensors;
    for (int i = 0; i < (1 << 16) + too_many; ++i) {
      keys.Scalar<uint8_t>(std::to_string(i), GgufType::kU8, 0);
      tensors.TensorAs(std::to_string(i), {0}, 0, 0, 0);
    }
    EXPECT_EQ(keys.Parse().has_value(), !too_many);
    EXPECT_EQ(tensors.Parse().has_value(), !too_many);
  }
}

TEST(Gguf, ReadsAHeaderOfRealSizeQuickly) {
  std::vector<std::string> tokens(262144), merges(514906);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = "token" + std::to_string(i);
  for (size_t i = 0; i < merges.size(); ++i) merges[i] = "left" + std::to_string(i) + " r";
  GgufBytes file;
  file.Strings("tokenizer.ggml.tokens", tokens)
      .Array<float>("tokenizer.ggml.scores", GgufType::kF32, std::vector<float>(tokens.size()))
      .Array<int32_t>("tokenizer.ggml.token_type", GgufType::kI32,
                      std::vector<int32_t>(tokens.size(), 1))
      .Strings("tokenizer.ggml.merges", merges);
  const auto mapped = test::InMemory(file.Bytes(), "test.gguf");
  EXPECT_GT(mapped->size(), 15u << 20);
  const auto begin = std::chrono::steady_clock::now();
  const auto parsed = ParseGguf(mapped);
  const std::chrono::duration<double, std::milli> ms = std::chrono::steady_clock::now() - begin;
  ASSERT_TRUE(parsed);
  RecordProperty("parse_ms", std::to_string(ms.count()));
  EXPECT_LT(ms.count(), 1000);  // about 3 on an idle machine
  EXPECT_EQ(parsed->metadata->RequireStrings("tokenizer.ggml.merges")->back(), "left514905 r");
}

TEST(GgufMetadata, ReadsOnlyTheKindThatIsThere) {
  GgufBytes bytes;
  bytes.U32("u32", 7)
      .F32("f32", 1.5f)
      .Bool("bool", true)
      .String("string", "text")
      .Scalar<int32_t>("i32", GgufType::kI32, -3)
      .Scalar<uint16_t>("u16", GgufType::kU16, 9)
      .Scalar<uint64_t>("u64", GgufType::kU64, 1)
      .Array<int32_t>("ints", GgufType::kI32, {-1, 2})
      .Array<uint8_t>("bytes", GgufType::kU8, {0, 2})
      .Array<float>("floats", GgufType::kF32, {0.5f})
      .Strings("strings", {"", "a b"})
      .Array<uint32_t>("none", GgufType::kU32, {});
  const auto file = bytes.Parse();
  ASSERT_TRUE(file) << file.error().message;
  const GgufMetadata& m = *file->metadata;
  EXPECT_EQ(*m.RequireU32("u32"), 7u);
  EXPECT_EQ(*m.U32Or("absent", 5), 5u);
  EXPECT_EQ(*m.RequireF32("f32"), 1.5f);
  EXPECT_EQ(*m.F32Or("absent", 2), 2);
  EXPECT_EQ(*m.BoolOr("bool", false), true);
  EXPECT_EQ(*m.BoolOr("absent", true), true);
  EXPECT_EQ(*m.RequireString("string"), "text");
  EXPECT_EQ(*m.StringOr("absent", "x"), "x");
  EXPECT_EQ(*m.RequireI32("i32"), -3);
  EXPECT_EQ(*m.U16Or("u16", 0), 9);
  EXPECT_THAT(*m.RequireInts("ints", false), ElementsAre(-1, 2));
  EXPECT_THAT(*m.RequireInts("u32", true), ElementsAre(7));
  EXPECT_THAT(*m.RequireInts("i32", true), ElementsAre(-3));
  EXPECT_TRUE(m.RequireInts("none", false)->empty());
  EXPECT_THAT(*m.RequireBools("bytes"), ElementsAre(false, true));
  EXPECT_THAT(*m.RequireBools("ints"), ElementsAre(true, true));
  EXPECT_THAT(*m.RequireF32s("floats"), ElementsAre(0.5f));
  EXPECT_THAT(*m.RequireStrings("strings"), ElementsAre("", "a b"));

  EXPECT_EQ(m.RequireU32("absent").error().message, "test.gguf: \"absent\": missing, expected u32");
  EXPECT_EQ(m.RequireU32("u64").error().message, "test.gguf: \"u64\": expected u32, found u64 1");
  EXPECT_EQ(m.U32Or("string", 1).error().message,
            "test.gguf: \"string\": expected u32, found string \"text\"");
  EXPECT_EQ(m.RequireF32s("bytes").error().message,
            "test.gguf: \"bytes\": expected array of f32, found array of 2 u8");
  EXPECT_FALSE(m.RequireU32("i32"));
  EXPECT_FALSE(m.RequireU32("u16"));
  EXPECT_FALSE(m.RequireF32("u32"));
  EXPECT_FALSE(m.BoolOr("u32", true));
  EXPECT_FALSE(m.RequireString("strings"));
  EXPECT_FALSE(m.StringOr("u32", ""));
  EXPECT_FALSE(m.RequireInts("bytes", true));
  EXPECT_FALSE(m.RequireInts("u32", false));
  EXPECT_FALSE(m.RequireInts("u64", true));
  EXPECT_FALSE(m.RequireBools("bool"));
  EXPECT_FALSE(m.RequireBools("floats"));
  EXPECT_FALSE(m.RequireF32s("f32"));
  EXPECT_FALSE(m.RequireStrings("string"));
  EXPECT_FALSE(m.RequireStrings("ints"));
}

TEST(GgufMetadata, DescribesValuesForPeople) {
  GgufBytes bytes;
  bytes.U32("a", 7).String("b", "x\ny").Strings("c", {"1", "2"}).Bool("d", true).F32("e", 0.5f);
  const auto file = bytes.Parse();
  ASSERT_TRUE(file);
  const auto text = [&](const char* key) { return Describe(*file->metadata->Find(key)); };
  EXPECT_EQ(text("a"), "u32 7");
  EXPECT_EQ(text("b"), "string \"x\\x0ay\"");
  EXPECT_EQ(text("c"), "array of 2 string");
  EXPECT_EQ(text("d"), "bool true");
  EXPECT_EQ(text("e"), "f32 0.5");
}

}  // namespace
}  // namespace carat
