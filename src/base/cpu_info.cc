// SPDX-License-Identifier: Apache-2.0
#include "base/cpu_info.h"

#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace carat {

#if defined(__x86_64__)
namespace {

bool Bit(uint32_t word, int bit) { return (word >> bit & 1) != 0; }

// XCR0: the register state that the system saves on a context switch. Inline assembly because the
// intrinsic needs -mxsave.
uint64_t Xcr0() {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t{high} << 32 | low;
}

std::string Brand() {
  uint32_t words[12] = {};
  if (static_cast<uint32_t>(__get_cpuid_max(0x80000000u, nullptr)) < 0x80000004u) return {};
  for (uint32_t i = 0; i < 3; ++i)
    __get_cpuid(0x80000002u + i, &words[4 * i], &words[4 * i + 1], &words[4 * i + 2],
                &words[4 * i + 3]);
  char text[sizeof words + 1] = {};
  std::memcpy(text, words, sizeof words);
  std::string brand = text;
  brand.erase(0, brand.find_first_not_of(' '));
  brand.erase(brand.find_last_not_of(' ') + 1);
  return brand;
}

}  // namespace

CpuInfo DetectCpu() {
  CpuInfo info;
  info.brand = Brand();
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return info;
  const bool osxsave = Bit(c, 27), fma = Bit(c, 12), f16c = Bit(c, 29), avx = Bit(c, 28);
  if (!osxsave || !avx) return info;
  const uint64_t state = Xcr0();
  constexpr uint64_t kYmm = 0x6, kZmm = 0xE6;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return info;
  info.avx2_fma = (state & kYmm) == kYmm && Bit(b, 5) && fma && f16c;
  info.avx512_vnni = info.avx2_fma && (state & kZmm) == kZmm && Bit(b, 16) /* F */ &&
                     Bit(b, 17) /* DQ */ && Bit(b, 30) /* BW */ && Bit(b, 31) /* VL */ &&
                     Bit(c, 11) /* VNNI */;
  return info;
}
#else
CpuInfo DetectCpu() { return {}; }
#endif

}  // namespace carat
