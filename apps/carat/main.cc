// SPDX-License-Identifier: Apache-2.0
#include <exception>
#include <new>

#include "commands.h"
#include "interrupt.h"
#include "output.h"

namespace carat {
namespace {

struct Dispatch {
  Output& out;
  Status operator()(const HelpText& help) const { return out.Write(help.text); }
  Status operator()(const VersionOptions& o) const { return VersionCommand(o, out); }
  Status operator()(const RunOptions& o) const { return RunCommand(o, out); }
  Status operator()(const InspectCommandOptions& o) const { return InspectCommand(o, out); }
  Status operator()(const TokenizeCommandOptions& o) const { return TokenizeCommand(o, out); }
  Status operator()(const ModelsOptions& o) const { return ModelsCommand(o, out); }
  Status operator()(const PerplexityOptions& o) const { return PerplexityCommand(o, out); }
  Status operator()(const BenchOptions& o) const { return BenchCommand(o, out); }
  Status operator()(const TraceCommandOptions& o) const { return TraceCommand(o, out); }
};

int Main(int argc, const char* const* argv) {
  PrepareStreams();
  Interrupt::Install();
  Output out;
  Status status;
  if (const auto command = ParseCommandLine(argc, argv)) {
    status = std::visit(Dispatch{out}, *command);
    // What was printed before an error is still worth reading.
    const Status flushed = out.failed() ? Status() : out.Flush();
    if (status) status = flushed;
  } else {
    status = tl::unexpected(command.error());
  }
  if (status || out.broken()) return 0;
  const Error& error = status.error();
  if (error.code != Code::kCancelled) Complain(error.message);
  return ExitCode(error.code);
}

}  // namespace
}  // namespace carat

int main(int argc, char** argv) {
  try {
    return carat::Main(argc, argv);
  } catch (const std::bad_alloc&) {
    carat::Complain("out of memory");
    return carat::ExitCode(carat::Code::kNoMemory);
  } catch (const std::exception& error) {
    carat::Complain(error.what());
    return carat::ExitCode(carat::Code::kInternal);
  }
}
