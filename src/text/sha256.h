// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace carat {

// The SHA-256 digest (FIPS 180-4) in lower-case hex.
std::string Sha256Hex(std::string_view data);

}  // namespace carat
