// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>

namespace carat {

// How far a long job is, on standard error: a bar with the time left on a terminal; elsewhere one
// line for every tenth, or nothing. Says nothing about jobs that end within a second.
class Progress {
 public:
  enum class Elsewhere { kLines, kNothing };
  explicit Progress(std::string label, Elsewhere elsewhere = Elsewhere::kLines);
  ~Progress();  // takes the bar away
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `share` in 0..1.
  void Update(double share);

 private:
  void DrawBar(double share, double seconds);

  std::string label_;
  Elsewhere elsewhere_;
  bool terminal_;
  bool drawn_ = false;
  int tenth_ = 0;
  std::chrono::steady_clock::time_point start_, last_draw_;
};

}  // namespace carat
