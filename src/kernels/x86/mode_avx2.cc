// SPDX-License-Identifier: Apache-2.0
// The fast mode kernels in AVX2 with FMA and F16C.
#include "kernels/fill.h"
#include "kernels/generic/attention.inl.h"

namespace carat {

void FillModeAvx2(ModeKernels* k) { *k = kModeKernels; }

}  // namespace carat
