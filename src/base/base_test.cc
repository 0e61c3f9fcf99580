// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "base/checked.h"
#include "base/mapped_file.h"
#include "base/rng.h"
#include "base/utf8.h"

namespace carat {
namespace {

TEST(Checked, RefusesWhatWraps) {
  uint64_t x;
  EXPECT_TRUE(CheckedMul(1u << 31, 1u << 31, &x));
  EXPECT_EQ(x, uint64_t{1} << 62);
  EXPECT_FALSE(CheckedMul(uint64_t{1} << 33, uint64_t{1} << 31, &x));
  EXPECT_FALSE(CheckedAdd(~uint64_t{0}, 1, &x));
  EXPECT_FALSE(CheckedRoundUp(~uint64_t{0} - 3, 32, &x));
  EXPECT_TRUE(CheckedRoundUp(33, 32, &x));
  EXPECT_EQ(x, 64u);
}

TEST(Utf8, AcceptsExactlyTheValidSequences) {
  EXPECT_EQ(Utf8Length("a"), 1);
  EXPECT_EQ(Utf8Length("\xC3\xA9"), 2);
  EXPECT_EQ(Utf8Length("\xF0\x9F\x99\x82"), 4);
  for (const char* bad :
       {"\x80", "\xC0\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xFF", "\xE0\x9F\x80"})
    EXPECT_EQ(Utf8Length(bad), 0) << bad;
  EXPECT_TRUE(Utf8Incomplete("\xF0\x9F"));
  EXPECT_FALSE(Utf8Incomplete("\xF0\x80"));
  EXPECT_FALSE(Utf8Incomplete("a"));
  EXPECT_EQ(ReplaceInvalidUtf8("a\xFF\xC3\xA9"), "a\xEF\xBF\xBD\xC3\xA9");
}

TEST(Rng, MatchesThePublishedPhiloxVectors) {
  // Random123 known answers for philox4x32-10: zero and all-ones counter and key.
  EXPECT_EQ(CounterRandom(0, 0, 0), 0xe169c58d6627e8d5u);
  EXPECT_EQ(CounterRandom(~0ull, ~0ull, ~0ull), 0x41c83b0e408f276du);
}

TEST(MappedFile, ReadsThroughMapAndDescriptor) {
  const std::string path = testing::TempDir() + "carat_mapped_file_test";
  std::ofstream(path) << "hello";
  auto file = MappedFile::Open(path);
  ASSERT_TRUE(file);
  EXPECT_EQ((*file)->size(), 5u);
  std::byte two[2];
  ASSERT_TRUE((*file)->ReadAt(3, two));
  EXPECT_EQ(static_cast<char>(two[0]), 'l');
  EXPECT_FALSE((*file)->ReadAt(4, two));
  EXPECT_FALSE((*file)->ReadAt(~uint64_t{0}, two));
  unlink(path.c_str());
  auto gone = MappedFile::Open(path);
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code, Code::kNotFound);
  auto dir = MappedFile::Open(testing::TempDir());
  ASSERT_FALSE(dir);
  EXPECT_EQ(dir.error().code, Code::kBadFile);
}

TEST(MappedFile, KeepsBytesThatAreInMemory) {
  const auto file = MappedFile::FromBytes({std::byte{1}, std::byte{2}, std::byte{3}}, "made.up");
  EXPECT_EQ(file->path(), "made.up");
  EXPECT_EQ(file->size(), 3u);
  file->Drop(0, 3);
  std::byte two[2];
  ASSERT_TRUE(file->ReadAt(1, two));
  EXPECT_EQ(two[1], std::byte{3});
  EXPECT_EQ(file->bytes()[0], std::byte{1});
  EXPECT_FALSE(file->ReadAt(2, two));
  EXPECT_TRUE(MappedFile::FromBytes({}, "empty")->bytes().empty());
}

}  // namespace
}  // namespace carat
