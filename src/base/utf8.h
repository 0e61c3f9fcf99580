// SPDX-License-Identifier: Apache-2.0
// Just enough UTF-8 for a tokenizer and for JSON.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace carat {

// Length in bytes (1..4) of the valid sequence that starts at s[0], or 0 when there is none
// (overlong forms, surrogates and values above U+10FFFF are invalid). Requires !s.empty().
int Utf8Length(std::string_view s);

// True when s is the beginning of a valid sequence that needs more bytes. Requires !s.empty().
bool Utf8Incomplete(std::string_view s);

bool IsValidUtf8(std::string_view s);

void AppendUtf8(std::string* out, uint32_t code_point);

// Copy with each byte that is not part of a valid sequence replaced by U+FFFD.
std::string ReplaceInvalidUtf8(std::string_view s);

}  // namespace carat
