// SPDX-License-Identifier: Apache-2.0
#include "json_writer.h"

#include <fmt/format.h>

#include <cmath>

namespace carat {

int SequenceLength(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto tail = [&](size_t i, int low = 0x80, int high = 0xBF) {
    return i < text.size() && byte(i) >= low && byte(i) <= high;
  };
  const int b = byte(0);
  if (b < 0x80) return 1;
  if (b >= 0xC2 && b <= 0xDF) return tail(1) ? 2 : 0;
  if (b >= 0xE0 && b <= 0xEF) {
    // No overlong forms (E0 80..9F) and no surrogates (ED A0..BF).
    return tail(1, b == 0xE0 ? 0xA0 : 0x80, b == 0xED ? 0x9F : 0xBF) && tail(2) ? 3 : 0;
  }
  if (b >= 0xF0 && b <= 0xF4) {
    return tail(1, b == 0xF0 ? 0x90 : 0x80, b == 0xF4 ? 0x8F : 0xBF) && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

JsonWriter& JsonWriter::Open(char bracket) {
  Separate();
  text_ += bracket;
  separate_ = false;
  return *this;
}

JsonWriter& JsonWriter::Close(char bracket) {
  text_ += bracket;
  separate_ = true;
  return *this;
}

void JsonWriter::Separate() {
  if (separate_) text_ += ',';
  separate_ = true;
}

JsonWriter& JsonWriter::Key(std::string_view name) {
  Separate();
  Quote(name);
  text_ += ':';
  separate_ = false;
  return *this;
}

JsonWriter& JsonWriter::String(std::string_view value) {
  Separate();
  Quote(value);
  return *this;
}

JsonWriter& JsonWriter::Int(int64_t value) { return Raw(fmt::format_int(value).c_str()); }
JsonWriter& JsonWriter::Uint(uint64_t value) { return Raw(fmt::format_int(value).c_str()); }
JsonWriter& JsonWriter::Bool(bool value) { return Raw(value ? "true" : "false"); }

JsonWriter& JsonWriter::Number(double value) {
  return Raw(std::isfinite(value) ? fmt::format("{}", value) : "null");
}

JsonWriter& JsonWriter::Raw(std::string_view json) {
  Separate();
  text_ += json;
  return *this;
}

void JsonWriter::Quote(std::string_view value) {
  text_ += '"';
  while (!value.empty()) {
    const char c = value[0];
    const int length = SequenceLength(value);
    if (length != 1) {
      text_ += length == 0 ? std::string_view("\xEF\xBF\xBD")
                           : value.substr(0, static_cast<size_t>(length));
    } else if (c == '"' || c == '\\') {
      text_ += '\\';
      text_ += c;
    } else if (c == '\n') {
      text_ += "\\n";
    } else if (c == '\t') {
      text_ += "\\t";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      text_ += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      text_ += c;
    }
    value.remove_prefix(length == 0 ? 1 : static_cast<size_t>(length));
  }
  text_ += '"';
}

}  // namespace carat
