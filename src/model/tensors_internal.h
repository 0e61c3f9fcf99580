// SPDX-License-Identifier: Apache-2.0
// Inside of ResolveTensors.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "io/checkpoint.h"
#include "model/tensors.h"

namespace carat {

// All elements of a small F32, F16 or BF16 tensor, plus `offset`. The caller has checked the shape.
// Errors: kBadFile (type, values that are not finite).
Result<std::vector<float>> ReadFloats(const std::string& file, const TensorEntry& entry,
                                      float offset);

}  // namespace carat
