// SPDX-License-Identifier: Apache-2.0
// carat --version.
#include <fmt/format.h>

#include "commands.h"
#include "commit.h"  // made at build time: CARAT_COMMIT
#include "json_writer.h"

namespace carat {
namespace {

#if defined(__clang__)
constexpr const char* kCompiler = "Clang " __clang_version__;
#elif defined(__GNUC__)
constexpr const char* kCompiler = "GCC " __VERSION__;
#else
constexpr const char* kCompiler = "unknown";
#endif

}  // namespace

Status VersionCommand(const VersionOptions& options, Output& out) {
  CARAT_ASSIGN_OR_RETURN(const std::string isa, InstructionSet());
  if (!options.json) {
    return out.Write(fmt::format("carat {}\ncommit {}\ncompiler {}\ninstruction set {}\n",
                                 CARAT_VERSION, CARAT_COMMIT, kCompiler, isa));
  }
  JsonWriter json;
  json.BeginObject();
  json.Key("version").String(CARAT_VERSION);
  json.Key("commit").String(CARAT_COMMIT);
  json.Key("compiler").String(kCompiler);
  json.Key("isa").String(isa);
  json.EndObject();
  return out.Write(json.text() + "\n");
}

}  // namespace carat
