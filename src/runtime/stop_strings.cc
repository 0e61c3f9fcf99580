// SPDX-License-Identifier: Apache-2.0
#include "runtime/stop_strings.h"

#include <algorithm>
#include <utility>

namespace carat {

StopStrings::StopStrings(std::vector<std::string> stops) {
  for (std::string& s : stops)
    if (!s.empty()) stops_.push_back(std::move(s));
}

std::string StopStrings::Push(std::string_view text) {
  if (stopped()) return {};
  pending_ += text;
  // The earliest match wins; at one place the longest.
  size_t at = std::string::npos;
  for (const std::string& stop : stops_) {
    const size_t found = pending_.find(stop);
    if (found == std::string::npos) continue;
    if (found < at || (found == at && stop.size() > match_.size())) {
      at = found;
      match_ = stop;
    }
  }
  if (stopped()) {
    std::string out = pending_.substr(0, at);
    pending_.clear();
    return out;
  }
  size_t hold = 0;
  for (const std::string& stop : stops_) {
    for (size_t n = std::min(stop.size() - 1, pending_.size()); n > hold; --n) {
      if (pending_.compare(pending_.size() - n, n, stop, 0, n) == 0) {
        hold = n;
        break;
      }
    }
  }
  std::string out = pending_.substr(0, pending_.size() - hold);
  pending_.erase(0, out.size());
  return out;
}

std::string StopStrings::Flush() { return std::exchange(pending_, {}); }

}  // namespace carat
