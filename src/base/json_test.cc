// SPDX-License-Identifier: Apache-2.0
#include "base/json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/printable.h"

namespace carat {
namespace {

std::string Problem(std::string_view text, const JsonLimits& limits = {}) {
  const auto r = ParseJson(text, "f.json", limits);
  if (r) return "accepted";
  EXPECT_EQ(r.error().code, Code::kBadFile);
  EXPECT_EQ(r.error().message.find('\n'), std::string::npos);
  return r.error().message;
}

TEST(Json, KeepsOrderAndKinds) {
  const auto r = ParseJson(R"({"b": [1, -2, 1.5, true, null, "x\u00fc"], "a": {}} )"
                           "\n",
                           "f.json");
  ASSERT_TRUE(r) << r.error().message;
  EXPECT_EQ(DumpJson(*r), "{\"b\":[1,-2,1.5,true,null,\"x\xC3\xBC\"],\"a\":{}}");
  EXPECT_EQ(DumpJson(*r, 1).substr(0, 8), "{\n \"b\": ");
}

TEST(Json, RefusesWhatIsNotStrictJson) {
  EXPECT_EQ(Problem("[1, 2"),
            "f.json: invalid JSON: byte 6: syntax error while parsing array - "
            "unexpected end of input; expected ']'");
  for (const char* bad : {"", " ", "{", "{} x", "[1,]", "{\"a\":1,}", "nul", "'a'", "// c\n1",
                          "\"\xFF\"", "\"\xC0\xAF\"", "\"\xED\xA0\x80\"", "\"\\ud800\"", "01",
                          "1e999", "\"a\nb\"", "{\"a\":1,\"\\u0061\":2}", "NaN"}) {
    EXPECT_NE(Problem(bad), "accepted") << bad;
  }
  EXPECT_NE(Problem(std::string_view("1\0", 2)), "accepted");
  EXPECT_NE(Problem(std::string_view("[\"a\0b\"]", 7)), "accepted");
  EXPECT_EQ(Problem("{\"a\":1,\"a\":2}"), "f.json: invalid JSON: name \"a\" twice in an object");
}

TEST(Json, KeepsItsLimits) {
  const std::string deep = std::string(256, '[') + std::string(256, ']');
  EXPECT_EQ(Problem(deep), "accepted");
  EXPECT_EQ(Problem("[" + deep + "]"), "f.json: invalid JSON: nested deeper than 256");
  EXPECT_EQ(Problem(std::string(2000000, '[')), "f.json: invalid JSON: nested deeper than 256");
  EXPECT_EQ(Problem("[1,2,3]", {.max_values = 3}), "f.json: invalid JSON: more than 3 values");
  EXPECT_EQ(Problem("[1]", {.max_bytes = 2}), "f.json: JSON of 3 bytes, expected at most 2");
}

TEST(Json, ReadsALargeObjectInLinearTime) {
  // With a look-up among all earlier names this is 2 * 10^10 comparisons.
  std::string text = "{";
  for (int i = 0; i < 200000; ++i) {
    if (i) text += ',';
    text += '"' + std::to_string(i) + "\":" + std::to_string(i);
  }
  text += "}";
  const auto r = ParseJson(text, "vocabulary");
  ASSERT_TRUE(r);
  EXPECT_EQ(r->size(), 200000u);
}

TEST(Json, GetsTypedMembersAndNamesWhatIsWrong) {
  const auto r = ParseJson(
      R"({"i":5,"f":1.5,"s":"x","b":true,"n":null,"l":[1,2],"o":{},"t":["a"],"u":18446744073709551615,
          "m":[1,"x"]})",
      "config.json");
  ASSERT_TRUE(r);
  EXPECT_EQ(*JsonInt(*r, "i", "c"), 5);
  EXPECT_EQ(*JsonNumber(*r, "i", "c"), 5.0);
  EXPECT_EQ(*JsonNumber(*r, "f", "c"), 1.5);
  EXPECT_EQ(*JsonBoolOr(*r, "b", false, "c"), true);
  EXPECT_EQ(*JsonBoolOr(*r, "absent", true, "c"), true);
  EXPECT_EQ(*JsonBoolOr(*r, "n", true, "c"), true);
  EXPECT_EQ(*JsonStringOr(*r, "s", "y", "c"), "x");
  EXPECT_EQ(*JsonStringOr(*r, "absent", "y", "c"), "y");
  EXPECT_EQ(*JsonInts(*r, "l", "c"), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(*JsonStrings(*r, "t", "c"), std::vector<std::string>{"a"});
  EXPECT_TRUE((*JsonObject(*r, "o", "c"))->is_object());
  EXPECT_EQ(JsonInt(*r, "n", "config.json").error().message,
            "config.json: \"n\": missing, expected integer");
  EXPECT_EQ(JsonInt(*r, "f", "config.json").error().message,
            "config.json: \"f\": expected integer, found number 1.5");
  EXPECT_EQ(JsonNumber(*r, "s", "config.json").error().message,
            "config.json: \"s\": expected number, found string \"x\"");
  EXPECT_EQ(JsonInts(*r, "m", "config.json").error().message,
            "config.json: \"m\"[1]: expected integer, found string \"x\"");
  EXPECT_FALSE(JsonInt(*r, "u", "c"));
  EXPECT_FALSE(JsonBoolOr(*r, "i", true, "c"));
  EXPECT_FALSE(JsonObject(*r, "l", "c"));
  EXPECT_FALSE(JsonArray(*r, "o", "c"));
  EXPECT_FALSE(JsonInt((*r)["l"], "i", "c"));
}

TEST(Printable, MakesOneSafeLine) {
  EXPECT_EQ(Printable("a\xC3\xBC b"), "a\xC3\xBC b");
  EXPECT_EQ(Printable(std::string_view("a\0\n\x1B[", 5)), "a\\x00\\x0a\\x1b[");
  EXPECT_EQ(Printable("\xFF"), "\xEF\xBF\xBD");
  EXPECT_EQ(Printable("\xC2\x9B"), "\\x9b");
  EXPECT_EQ(Printable("\u2028\u2029"), "\\u2028\\u2029");
  EXPECT_EQ(Printable("a\u202Eb\u2066c"), "a\\u202eb\\u2066c");
  EXPECT_EQ(Printable("\u2027\u202F\u2065\u206A\u2581"), "\u2027\u202F\u2065\u206A\u2581");
  EXPECT_EQ(Printable("abcdef", 3), "abc...");
  EXPECT_EQ(Printable("ab\xC3\xBC", 3), "ab...");
  EXPECT_EQ(Printable("abc", 3), "abc");
}

}  // namespace
}  // namespace carat
