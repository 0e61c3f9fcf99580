// SPDX-License-Identifier: Apache-2.0
#include "base/utf8.h"

namespace carat {
namespace {

uint8_t At(std::string_view s, size_t i) { return static_cast<uint8_t>(s[i]); }

// Bytes that the leading byte announces (0: not a leading byte) and the range of the second byte.
struct Lead {
  int length;
  uint8_t low, high;
};
Lead LeadOf(uint8_t c) {
  if (c < 0x80) return {1, 0, 0};
  if (c < 0xC2) return {0, 0, 0};
  if (c < 0xE0) return {2, 0x80, 0xBF};
  if (c == 0xE0) return {3, 0xA0, 0xBF};
  if (c == 0xED) return {3, 0x80, 0x9F};
  if (c < 0xF0) return {3, 0x80, 0xBF};
  if (c == 0xF0) return {4, 0x90, 0xBF};
  if (c < 0xF4) return {4, 0x80, 0xBF};
  if (c == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

// Number of leading bytes of s, at most `lead.length`, that fit the sequence.
int Matching(std::string_view s, Lead lead) {
  int n = 1;
  while (n < lead.length && static_cast<size_t>(n) < s.size()) {
    const uint8_t c = At(s, n);
    if (n == 1 ? (c < lead.low || c > lead.high) : (c & 0xC0) != 0x80) break;
    ++n;
  }
  return n;
}

}  // namespace

int Utf8Length(std::string_view s) {
  const Lead lead = LeadOf(At(s, 0));
  return lead.length > 0 && Matching(s, lead) == lead.length ? lead.length : 0;
}

bool Utf8Incomplete(std::string_view s) {
  const Lead lead = LeadOf(At(s, 0));
  return lead.length > 1 && s.size() < static_cast<size_t>(lead.length) &&
         static_cast<size_t>(Matching(s, lead)) == s.size();
}

bool IsValidUtf8(std::string_view s) {
  while (!s.empty()) {
    const int n = Utf8Length(s);
    if (n == 0) return false;
    s.remove_prefix(n);
  }
  return true;
}

void AppendUtf8(std::string* out, uint32_t c) {
  if (c < 0x80) {
    out->push_back(static_cast<char>(c));
  } else if (c < 0x800) {
    out->push_back(static_cast<char>(0xC0 | c >> 6));
    out->push_back(static_cast<char>(0x80 | (c & 0x3F)));
  } else if (c < 0x10000) {
    out->push_back(static_cast<char>(0xE0 | c >> 12));
    out->push_back(static_cast<char>(0x80 | (c >> 6 & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (c & 0x3F)));
  } else {
    out->push_back(static_cast<char>(0xF0 | c >> 18));
    out->push_back(static_cast<char>(0x80 | (c >> 12 & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (c >> 6 & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (c & 0x3F)));
  }
}

std::string ReplaceInvalidUtf8(std::string_view s) {
  std::string out;
  out.reserve(s.size());
  while (!s.empty()) {
    const int n = Utf8Length(s);
    if (n == 0) {
      out += "\xEF\xBF\xBD";
      s.remove_prefix(1);
    } else {
      out.append(s.substr(0, n));
      s.remove_prefix(n);
    }
  }
  return out;
}

}  // namespace carat
