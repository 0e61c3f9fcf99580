// SPDX-License-Identifier: Apache-2.0
#include "io/tensor_entry.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>

#include "base/printable.h"

namespace carat {

std::string ShowShape(const std::vector<uint64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

Status CheckUniqueNames(const std::string& file, const std::vector<TensorEntry>& tensors) {
  // Sorting instead of hashing: nobody can prepare names that collide.
  std::vector<std::string_view> names;
  names.reserve(tensors.size());
  for (const TensorEntry& t : tensors) names.push_back(t.name);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) return BadFile("{}: tensor \"{}\" twice", file, Printable(*twice));
  return {};
}

}  // namespace carat
