// SPDX-License-Identifier: Apache-2.0
#include "json_writer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace carat {
namespace {

std::string Quoted(std::string_view text) { return JsonWriter().String(text).text(); }

TEST(JsonWriter, PutsCommasBetweenValuesAndMembersOnly) {
  JsonWriter json;
  json.BeginObject().Key("a").BeginArray().Int(1).Uint(2).BeginArray().EndArray().EndArray();
  json.Key("b").BeginObject().EndObject().Key("c").Bool(true).Key("d").Raw("[{}]").EndObject();
  EXPECT_EQ(json.text(), R"({"a":[1,2,[]],"b":{},"c":true,"d":[{}]})");
}

TEST(JsonWriter, EscapesWhatJsonCannotHold) {
  EXPECT_EQ(Quoted("a\"b\\c\nd\te\x01\x7f"), R"("a\"b\\c\nd\te\u0001\u007f")");
  EXPECT_EQ(Quoted(std::string_view("\0", 1)), R"("\u0000")");
}

TEST(JsonWriter, KeepsUtf8AndReplacesEveryOtherByte) {
  EXPECT_EQ(Quoted("é€𝄞"), "\"é€𝄞\"");
  // A cut sequence, an overlong form, a surrogate, a value above U+10FFFF.
  EXPECT_EQ(Quoted("\xE2\x82"), "\"\uFFFD\uFFFD\"");
  EXPECT_EQ(Quoted("\xC0\x80"), "\"\uFFFD\uFFFD\"");
  EXPECT_EQ(Quoted("\xED\xA0\x80"), "\"\uFFFD\uFFFD\uFFFD\"");
  EXPECT_EQ(Quoted("\xF4\x90\x80\x80"), "\"\uFFFD\uFFFD\uFFFD\uFFFD\"");
}

TEST(JsonWriter, WritesNumbersThatReadBackEqual) {
  EXPECT_EQ(JsonWriter().Number(0.1).text(), "0.1");
  EXPECT_EQ(std::stod(JsonWriter().Number(1.0 / 3).text()), 1.0 / 3);
  EXPECT_EQ(JsonWriter().Int(std::numeric_limits<int64_t>::min()).text(), "-9223372036854775808");
  EXPECT_EQ(JsonWriter().Uint(std::numeric_limits<uint64_t>::max()).text(), "18446744073709551615");
}

TEST(JsonWriter, WritesNullForNumbersThatJsonLacks) {
  EXPECT_EQ(JsonWriter().Number(NAN).text(), "null");
  EXPECT_EQ(JsonWriter().Number(-INFINITY).text(), "null");
}

}  // namespace
}  // namespace carat
