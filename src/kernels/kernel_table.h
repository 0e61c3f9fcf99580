// SPDX-License-Identifier: Apache-2.0
// The loops that exist once per instruction set, as plain function pointers. Every family of
// kernels has its own struct and its own files; dispatch.h hands out the finished table.
#pragma once

#include "kernels/linear_kernels.h"
#include "kernels/mode_kernels.h"

namespace carat {

struct KernelTable {
  const char* isa = nullptr;  // "scalar", "avx2", "avx512vnni"
  LinearKernels linear;
  ModeKernels mode;  // the fast set
};

}  // namespace carat
