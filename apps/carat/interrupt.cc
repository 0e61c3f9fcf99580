// SPDX-License-Identifier: Apache-2.0
#include "interrupt.h"

#include <unistd.h>

#include <atomic>
#include <csignal>

namespace carat {
namespace {

// A signal handler can reach nothing but globals.
std::atomic<int> g_presses{0};
std::atomic<int> g_polled{0};
std::atomic<Session*> g_session{nullptr};
static_assert(std::atomic<Session*>::is_always_lock_free);

constexpr int kPatience = 3;

void OnInterrupt(int) {
  if (g_polled.load() == 0 || g_presses.fetch_add(1) + 1 >= kPatience) _exit(130);
  if (Session* session = g_session.load()) session->Cancel();
}

}  // namespace

void Interrupt::Install() {
  struct sigaction action = {};
  action.sa_handler = OnInterrupt;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
}

bool Interrupt::pending() { return g_presses.load() > 0; }

void Interrupt::Clear() { g_presses.store(0); }

Interrupt::Polled::Polled(Session* session) : outer_(g_session.load()) {
  g_session.store(session);
  g_polled.fetch_add(1);
}

Interrupt::Polled::~Polled() {
  g_polled.fetch_sub(1);
  g_session.store(outer_);
}

}  // namespace carat
