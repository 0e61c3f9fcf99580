// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "carat/carat.h"
#include "output.h"

namespace carat {

struct ChatOptions {
  GenerateOptions generate;
  std::string system;    // "": none
  bool chat = true;      // false: no chat format, the text is continued
  bool special = false;  // without a chat format: control strings become control tokens
  bool verbose = false;
};

// A conversation at the terminal, until the user leaves it. Errors: what makes going on senseless;
// a failed answer is only told.
Status ChatLoop(Model& model, Session& session, const ChatOptions& options, Output& out);

}  // namespace carat
