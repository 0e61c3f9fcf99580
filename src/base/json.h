// SPDX-License-Identifier: Apache-2.0
// JSON from outside, with limits, as values instead of exceptions. Who looks inside a value
// includes <nlohmann/json.hpp> in its .cc file; headers need this one only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace carat {

using Json = nlohmann::ordered_json;

// Depth bounds the recursion of whoever walks the tree (DumpJson does), values bound its memory:
// about 50 bytes each beside the text.
struct JsonLimits {
  int max_depth = 256;
  size_t max_bytes = size_t{256} << 20;
  size_t max_values = size_t{8} << 20;
};

// Strict RFC 8259: valid UTF-8, no comments, nothing but white space after the value, no name twice
// in an object, no NUL. Keeps the order of names. Linear in the text (times log of the largest
// object). `name` is for messages. Errors: kBadFile.
Result<Json> ParseJson(std::string_view text, std::string_view name, const JsonLimits& limits = {});

// "byte 6: syntax error while parsing array - unexpected end of input": what the library says of an
// error at `position`, shortened. For readers that take events instead of a tree.
std::string JsonSyntaxError(size_t position, std::string_view what);

// Compact, or indented by `indent` spaces. Invalid UTF-8 in strings becomes U+FFFD; numbers that
// are not finite become null.
std::string DumpJson(const Json& value, int indent = -1);

// What a value is, for messages: "object", "array of 3", "string \"abc\"", "number 1.5", "null".
std::string DescribeJson(const Json& value);

// The member `key` of `object`, or null when it is absent, null, or `object` is not an object.
const Json* JsonFind(const Json& object, std::string_view key);

// Typed members. `file` is what messages begin with ("config.json", "config.json: text_config").
// A member that is null counts as absent: an error without fallback. A wrong kind is always an
// error. Integers must be written as integers; numbers may be integers. Errors: kBadFile.
Result<int64_t> JsonInt(const Json& object, std::string_view key, std::string_view file);
Result<double> JsonNumber(const Json& object, std::string_view key, std::string_view file);
Result<bool> JsonBoolOr(const Json& object, std::string_view key, bool fallback,
                        std::string_view file);
Result<std::string> JsonStringOr(const Json& object, std::string_view key,
                                 std::string_view fallback, std::string_view file);
Result<std::vector<int64_t>> JsonInts(const Json& object, std::string_view key,
                                      std::string_view file);
Result<std::vector<std::string>> JsonStrings(const Json& object, std::string_view key,
                                             std::string_view file);
// Pointers into `object`, never null.
Result<const Json*> JsonObject(const Json& object, std::string_view key, std::string_view file);
Result<const Json*> JsonArray(const Json& object, std::string_view key, std::string_view file);

}  // namespace carat
