// SPDX-License-Identifier: Apache-2.0
// Standard output with its errors seen: a full disk is an error, a reader that has gone away
// (`carat ... | head`) is a reason to stop quietly.
#pragma once

#include <string>
#include <string_view>

#include "carat/result.h"

namespace carat {

class Output {
 public:
  // Collects up to 64 KiB before writing. Errors: kInternal (cannot write), kCancelled (the reader
  // has gone away; see broken()).
  Status Write(std::string_view text);
  Status Flush();
  // Write and Flush.
  Status Show(std::string_view text);

  bool broken() const { return broken_; }  // the reader has gone away
  bool failed() const { return failed_; }  // broken, or an error
  bool terminal() const;

 private:
  std::string buffer_;
  bool broken_ = false, failed_ = false;
};

// Makes descriptors 0 to 2 safe to use: a closed one would otherwise be taken by the first file we
// open. Also makes writing to a closed pipe an error instead of the end of the process.
void PrepareStreams();

// One line on standard error, "carat: " in front.
void Complain(std::string_view message);

// Lines for people on standard error, as they are.
void Note(std::string_view text);

// Colours and bars: standard error is a terminal; colours also want NO_COLOR unset and a terminal
// that knows them.
bool ErrorIsTerminal();
bool ColourWanted(bool terminal);

// All of standard input. Errors: kInternal, kCancelled (Ctrl-C).
Result<std::string> ReadStandardInput();
bool InputIsTerminal();

}  // namespace carat
