// SPDX-License-Identifier: Apache-2.0
// The fast mode kernels in AVX-512 (F, BW, VL, DQ).
#include "kernels/fill.h"
#include "kernels/generic/attention.inl.h"

namespace carat {

void FillModeAvx512Vnni(ModeKernels* k) { *k = kModeKernels; }

}  // namespace carat
