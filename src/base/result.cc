// SPDX-License-Identifier: Apache-2.0
#include "base/result.h"

namespace carat {

int ExitCode(Code code) {
  switch (code) {
    case Code::kInternal:
      return 1;
    case Code::kInvalidArgument:
      return 2;
    case Code::kBadFile:
      return 3;
    case Code::kNoMemory:
      return 4;
    case Code::kNotFound:
    case Code::kOffline:
      return 5;
    case Code::kCancelled:
      return 130;
  }
  return 1;
}

const char* CodeName(Code code) {
  switch (code) {
    case Code::kInternal:
      return "internal error";
    case Code::kInvalidArgument:
      return "invalid argument";
    case Code::kBadFile:
      return "bad file";
    case Code::kNoMemory:
      return "not enough memory";
    case Code::kNotFound:
      return "not found";
    case Code::kOffline:
      return "offline";
    case Code::kCancelled:
      return "cancelled";
  }
  return "error";
}

}  // namespace carat
