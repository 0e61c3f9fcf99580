// SPDX-License-Identifier: Apache-2.0
// The fast mode kernels in plain C++.
#include "kernels/fill.h"
#include "kernels/generic/attention.inl.h"

namespace carat {

void FillModeScalar(ModeKernels* k) { *k = kModeKernels; }

}  // namespace carat
