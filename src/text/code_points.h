// SPDX-License-Identifier: Apache-2.0
// One code point at a time.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/utf8.h"

namespace carat {

inline constexpr uint32_t kNoCodePoint = 0xFFFFFFFF;
// U+2581, which stands for the space in pieces.
inline constexpr uint32_t kMetaSpace = 0x2581;
inline constexpr std::string_view kMetaSpaceUtf8 = "\xE2\x96\x81";

struct CodePoint {
  uint32_t value;  // kNoCodePoint: a byte that is not part of valid UTF-8
  int length;      // in bytes, 1..4
};

// The code point that starts at s[at]. Requires at < s.size().
inline CodePoint CodePointAt(std::string_view s, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(s[at + i]); };
  const uint32_t c = byte(0);
  if (c < 0x80) return {c, 1};
  switch (Utf8Length(s.substr(at, 4))) {
    case 2:
      return {(c & 0x1F) << 6 | (byte(1) & 0x3Fu), 2};
    case 3:
      return {(c & 0x0F) << 12 | (byte(1) & 0x3Fu) << 6 | (byte(2) & 0x3Fu), 3};
    case 4:
      return {
          (c & 0x07) << 18 | (byte(1) & 0x3Fu) << 12 | (byte(2) & 0x3Fu) << 6 | (byte(3) & 0x3Fu),
          4};
    default:
      return {kNoCodePoint, 1};
  }
}

}  // namespace carat
