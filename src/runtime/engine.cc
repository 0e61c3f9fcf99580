// SPDX-License-Identifier: Apache-2.0
#include "runtime/engine.h"

#include <sched.h>

#include <fstream>
#include <set>
#include <string>
#include <utility>

namespace carat {

Engine::Engine(std::shared_ptr<const Weights> weights, std::unique_ptr<ThreadPool> pool)
    : weights_(std::move(weights)),
      pool_(std::move(pool)),
      geometry_(weights_->config, weights_->kernels->kv_element_bytes) {}

int DefaultThreads() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  // Two hardware threads of a core share its multipliers: one of them is enough.
  std::set<std::string> cores;
  int logical = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &set)) continue;
    ++logical;
    std::ifstream in("/sys/devices/system/cpu/cpu" + std::to_string(cpu) +
                     "/topology/thread_siblings_list");
    std::string siblings;
    if (in >> siblings) cores.insert(siblings);
  }
  const int n = cores.empty() ? logical : static_cast<int>(cores.size());
  return n < 1 ? 1 : n;
}

}  // namespace carat
