// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace carat {

// Watches a stream of text for stop strings. Text that may be the beginning of one is held back
// until it is certain.
class StopStrings {
 public:
  explicit StopStrings(std::vector<std::string> stops);

  // Adds text and returns what may be shown now. After a match: the text before it, and stopped().
  std::string Push(std::string_view text);
  // What was held back, when the stream ends without a match.
  std::string Flush();

  bool stopped() const { return !match_.empty(); }
  const std::string& match() const { return match_; }

 private:
  std::vector<std::string> stops_;  // non-empty ones
  std::string pending_;
  std::string match_;
};

}  // namespace carat
