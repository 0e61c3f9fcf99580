// SPDX-License-Identifier: Apache-2.0
#include "kernels/fill.h"
#include "kernels/generic/float_dot.inl.h"

namespace carat {

void FillLinearAvx2(LinearKernels* k) { FillDots(k); }

}  // namespace carat
