// SPDX-License-Identifier: Apache-2.0
// Hashes of the text module's open-addressing tables. Never stored in files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace carat {

inline uint64_t MixHash(uint64_t x) {
  x *= 0x9E3779B97F4A7C15u;
  x ^= x >> 32;
  x *= 0xD6E8FEB86659FD93u;
  return x ^ x >> 32;
}

inline uint64_t HashBytes(std::string_view s) {
  uint64_t h = s.size() * 0xA24BAED4963EE407u;
  const char* p = s.data();
  size_t n = s.size();
  for (; n >= 8; p += 8, n -= 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    h = (h ^ word) * 0x9FB21C651E98DF25u;
    h ^= h >> 35;
  }
  uint64_t word = 0;
  if (n > 0) std::memcpy(&word, p, n);
  return MixHash(h ^ word);
}

// Slots of a table for n entries: a power of two, at most two thirds full.
inline size_t TableSlots(size_t n) {
  size_t slots = 16;
  while (slots < n + n / 2) slots *= 2;
  return slots;
}

// A file whose entries share hashes can make building quadratic; no honest one comes near this.
inline constexpr int kMaxProbes = 1024;

}  // namespace carat
