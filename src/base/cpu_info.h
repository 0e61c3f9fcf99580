// SPDX-License-Identifier: Apache-2.0
// What this processor and its operating system let us run.
#pragma once

#include <string>

namespace carat {

struct CpuInfo {
  bool avx2_fma = false;     // AVX2, FMA3 and F16C, with ymm state saved by the system
  bool avx512_vnni = false;  // the above, AVX512 F, BW, VL, DQ, VNNI, with zmm state saved
  std::string brand;         // "Intel(R) Xeon(R) Processor"; empty when unknown
};

// Asks the processor each time; keep the result.
CpuInfo DetectCpu();

}  // namespace carat
