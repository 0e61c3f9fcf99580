// SPDX-License-Identifier: Apache-2.0
#include "progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "output.h"

namespace carat {
namespace {

constexpr double kQuietSeconds = 1, kRedrawSeconds = 0.1;
constexpr int kBarWidth = 30;

using Seconds = std::chrono::duration<double>;

std::string TimeLeft(double seconds) {
  const auto s = static_cast<int64_t>(std::clamp(seconds, 0.0, 1e6));
  if (s >= 3600) return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
  return fmt::format("{}:{:02}", s / 60, s % 60);
}

}  // namespace

Progress::Progress(std::string label, Elsewhere elsewhere)
    : label_(std::move(label)),
      elsewhere_(elsewhere),
      terminal_(ErrorIsTerminal()),
      start_(std::chrono::steady_clock::now()),
      last_draw_(start_) {}

Progress::~Progress() {
  if (drawn_) Note("\r\033[K");
}

void Progress::Update(double share) {
  share = std::clamp(share, 0.0, 1.0);
  const auto now = std::chrono::steady_clock::now();
  const double seconds = Seconds(now - start_).count();
  if (seconds < kQuietSeconds) return;
  if (terminal_) {
    if (drawn_ && Seconds(now - last_draw_).count() < kRedrawSeconds) return;
    last_draw_ = now;
    DrawBar(share, seconds);
  } else if (elsewhere_ == Elsewhere::kLines && static_cast<int>(share * 10) > tenth_) {
    tenth_ = static_cast<int>(share * 10);
    const double left = seconds * (1 - share) / share;
    Note(fmt::format("{}: {} %, {} left\n", label_, tenth_ * 10, TimeLeft(left)));
  }
}

void Progress::DrawBar(double share, double seconds) {
  drawn_ = true;
  const auto full = static_cast<int>(share * kBarWidth);
  const std::string left = share > 0 ? TimeLeft(seconds * (1 - share) / share) + " left" : "";
  Note(fmt::format("\r{} [{:#<{}}{:.<{}}] {:3.0f} % {}\033[K", label_, "", full, "",
                   kBarWidth - full, share * 100, left));
}

}  // namespace carat
