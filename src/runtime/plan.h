// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "carat/carat.h"
#include "model/config.h"
#include "model/tensors.h"
#include "ops/linear.h"

namespace carat {

NumericMode ToNumeric(Mode mode);
// As asked, else one per physical core.
int ThreadsOf(const LoadOptions& options);

// 0 (the default) to 2^30: sizes of a cache stay far from 2^63. Errors: kInvalidArgument.
Status CheckContext(int64_t tokens);

// Everything that will be allocated or mapped, before it is. `tokenizer_bytes`: what the tokenizer
// holds. Nothing of the weights is read. Errors: kInvalidArgument (options, CARAT_ISA).
Result<MemoryPlan> MakePlan(const Config& config, const ModelTensors& tensors,
                            uint64_t tokenizer_bytes, const LoadOptions& options);

// kNoMemory with the plan's numbers when its peak exceeds what the machine (or the process's
// control group or address-space limit) can give.
Status CheckPlan(const MemoryPlan& plan, const std::string& file);

}  // namespace carat
