// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

namespace carat {

// Lines that a person types: with editing and history where carat was built with libedit and the
// terminal can do it, plain otherwise.
class LineReader {
 public:
  static std::unique_ptr<LineReader> Create();
  virtual ~LineReader() = default;

  enum class Event { kLine, kInterrupt, kEnd };
  // `prompt` is shown with a space behind it. The line is without its line feed. kInterrupt:
  // Ctrl-C; kEnd: Ctrl-D or the terminal is gone.
  virtual Event Read(const std::string& prompt, std::string* line) = 0;
};

}  // namespace carat
