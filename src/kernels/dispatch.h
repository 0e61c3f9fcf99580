// SPDX-License-Identifier: Apache-2.0
// Which kernels this process runs. No per-ISA file includes this header.
#pragma once

#include <span>
#include <string_view>

#include "base/result.h"
#include "kernels/kernel_table.h"

namespace carat {

// The best table that this processor runs, or the one named by the environment variable CARAT_ISA
// (scalar, avx2, avx512vnni); chosen at the first call of either function, then fixed.
const KernelTable& Kernels();

// kInvalidArgument when CARAT_ISA names no table or one that this processor cannot run (Kernels()
// then keeps to the best one). Programs call it once at start.
Status InitKernels();

// What the two above do with the value of CARAT_ISA; empty: the best.
Result<const KernelTable*> ChooseKernels(std::string_view isa);

// Every table this processor can run, slowest first: what tests and benchmarks loop over.
std::span<const KernelTable* const> Runnable();

}  // namespace carat
