// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace carat {

// Bytes of unknown origin (names and texts from files) for a one-line message or a terminal:
// invalid UTF-8 becomes U+FFFD; control characters become "\xNN", what ends a line or turns the
// direction of writing becomes "\uNNNN"; what is longer than `max_bytes` is cut at a character and
// ends in "...".
std::string Printable(std::string_view bytes, size_t max_bytes = 96);

}  // namespace carat
