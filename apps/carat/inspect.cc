// SPDX-License-Identifier: Apache-2.0
// carat inspect: checks a file and shows what is in it.
#include "commands.h"
#include "model_loading.h"

namespace carat {

Status InspectCommand(const InspectCommandOptions& options, Output& out) {
  CARAT_ASSIGN_OR_RETURN(const auto path, ResolveModel(options.path));
  InspectOptions inspect = options.inspect;
  inspect.load.mode = options.model.mode;
  inspect.load.threads = options.model.threads;
  inspect.load.context_tokens = options.model.context_tokens;
  inspect.load.check_memory = false;  // a model too large for this machine may be looked at
  CARAT_ASSIGN_OR_RETURN(const InspectReport report, Inspect(path, inspect));
  return out.Write(options.json ? report.json + "\n" : report.text);
}

}  // namespace carat
