// SPDX-License-Identifier: Apache-2.0
// Ctrl-C. Code that can stop by itself says so with a Polled object and asks pending(); anywhere
// else the program ends at once with status 130.
#pragma once

#include "carat/carat.h"

namespace carat {

class Interrupt {
 public:
  // Once, at the start of the program. System calls are not restarted after the signal.
  static void Install();
  static bool pending();
  static void Clear();

  // While one exists, Ctrl-C only sets pending(), and cancels what `session` is doing. The third
  // unanswered one ends the program all the same. Objects nest.
  class Polled {
   public:
    explicit Polled(Session* session = nullptr);
    ~Polled();
    Polled(const Polled&) = delete;
    Polled& operator=(const Polled&) = delete;

   private:
    Session* outer_;
  };
};

}  // namespace carat
