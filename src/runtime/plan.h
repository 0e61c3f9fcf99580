// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "carat/carat.h"
#include "model/config.h"
#include "model/tensors.h"

namespace carat {

// The context a load with these options serves: as asked, else min(trained context, 8192).
int64_t PlannedContext(const Config& config, const LoadOptions& options);

// Everything that will be allocated or mapped, before it is. `tokenizer_bytes`: what the tokenizer
// holds. Nothing of the weights is read.
MemoryPlan MakePlan(const Config& config, const ModelTensors& tensors, uint64_t tokenizer_bytes,
                    const LoadOptions& options);

// kNoMemory with the plan's numbers when its peak exceeds what the machine (or the process's
// control group or address-space limit) can give.
Status CheckPlan(const MemoryPlan& plan, const std::string& file);

}  // namespace carat
