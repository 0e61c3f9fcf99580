// SPDX-License-Identifier: Apache-2.0
#include "base/printable.h"

#include <fmt/core.h>

#include "base/utf8.h"

namespace carat {

std::string Printable(std::string_view bytes, size_t max_bytes) {
  std::string out;
  while (!bytes.empty()) {
    const auto c = static_cast<unsigned char>(bytes[0]);
    int n = Utf8Length(bytes);
    std::string piece;
    if (n == 0) {
      piece = "\xEF\xBF\xBD";
      n = 1;
    } else if (c < 0x20 || c == 0x7F) {
      piece = fmt::format("\\x{:02x}", c);
    } else if (n == 2 && c == 0xC2 && static_cast<unsigned char>(bytes[1]) < 0xA0) {
      piece = fmt::format("\\x{:02x}", static_cast<unsigned char>(bytes[1]));  // C1 controls
    } else if (n == 3 && c == 0xE2 && (bytes[1] == '\x80' || bytes[1] == '\x81')) {
      const int point = 0x2000 | (bytes[1] & 1) << 6 | (bytes[2] & 0x3F);
      const bool line_end = point == 0x2028 || point == 0x2029;
      const bool turns =
          (point >= 0x202A && point <= 0x202E) || (point >= 0x2066 && point <= 0x2069);
      piece = line_end || turns ? fmt::format("\\u{:04x}", point) : std::string(bytes.substr(0, 3));
    } else {
      piece = std::string(bytes.substr(0, static_cast<size_t>(n)));
    }
    if (out.size() + piece.size() > max_bytes) return out + "...";
    out += piece;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return out;
}

}  // namespace carat
