// SPDX-License-Identifier: Apache-2.0
// What the per-ISA files export: each fills one family of one instruction set and may leave
// entries as they are, which inherits them from the next lower one.
#pragma once

#include "kernels/linear_kernels.h"
#include "kernels/mode_kernels.h"

namespace carat {

void FillLinearScalar(LinearKernels* k);
void FillModeScalar(ModeKernels* k);
#if defined(__x86_64__)
void FillLinearAvx2(LinearKernels* k);
void FillModeAvx2(ModeKernels* k);
void FillLinearAvx512Vnni(LinearKernels* k);
void FillModeAvx512Vnni(ModeKernels* k);
#endif

}  // namespace carat
