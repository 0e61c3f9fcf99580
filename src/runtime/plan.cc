// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "kernels/dispatch.h"
#include "model/kv_cache.h"
#include "model/scratch.h"
#include "model/weights.h"
#include "runtime/engine.h"

namespace carat {
namespace {

// The program and its libraries, touched while a model runs, and the C library's heap.
constexpr uint64_t kProgramBytes = uint64_t{14} << 20;

// The first number in a file of /proc or /sys; 0 when there is none ("max").
uint64_t NumberIn(const char* path, const char* key) {
  std::ifstream in(path);
  std::string word;
  uint64_t value = 0;
  if (!key) return in >> value ? value : 0;
  while (in >> word)
    if (word == key) return in >> value ? value : 0;
  return 0;
}

// Bytes this process could still get: what the machine calls available, and its limits.
uint64_t AvailableBytes() {
  uint64_t most = NumberIn("/proc/meminfo", "MemAvailable:") * 1024;
  if (most == 0) most = static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  const uint64_t group = NumberIn("/sys/fs/cgroup/memory.max", nullptr);
  if (group > 0) {
    const uint64_t used = NumberIn("/sys/fs/cgroup/memory.current", nullptr);
    const uint64_t cache = NumberIn("/sys/fs/cgroup/memory.stat", "file");
    const uint64_t taken = used > cache ? used - cache : 0;
    most = std::min(most, group > taken ? group - taken : 0);
  }
  rlimit limit;
  if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
    most = std::min<uint64_t>(most, limit.rlim_cur);
  return most;
}

std::string Megabytes(uint64_t bytes) {
  return fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6);
}

}  // namespace

NumericMode ToNumeric(Mode mode) {
  return mode == Mode::kExact ? NumericMode::kExact : NumericMode::kFast;
}

int ThreadsOf(const LoadOptions& options) {
  return options.threads > 0 ? options.threads : DefaultThreads();
}

Status CheckContext(int64_t tokens) {
  constexpr int64_t kMost = int64_t{1} << 30;
  if (tokens >= 0 && tokens <= kMost) return {};
  return InvalidArgument("the context is {}, expected 0 (the default) to {}", tokens, kMost);
}

Result<MemoryPlan> MakePlan(const Config& config, const ModelTensors& tensors,
                            uint64_t tokenizer_bytes, const LoadOptions& options) {
  CARAT_RETURN_IF_ERROR(InitKernels());
  if (options.threads < 0 || options.threads > 1024)
    return InvalidArgument("threads is {}, expected 0 to 1024", options.threads);
  CARAT_RETURN_IF_ERROR(CheckContext(options.context_tokens));
  const NumericMode mode = ToNumeric(options.mode);
  const int threads = ThreadsOf(options);
  const int sequences = std::max(1, options.max_sequences);
  MemoryPlan plan;
  plan.context_tokens =
      options.context_tokens > 0 ? options.context_tokens : std::min<int64_t>(config.context, 8192);
  const WeightBytes weights = CountWeights(config, tensors, mode);
  plan.weights_mapped = weights.mapped;
  plan.weights_anonymous = weights.anonymous;
  const int element = mode == NumericMode::kExact ? ExactKernels().kv_element_bytes
                                                  : Kernels().mode.kv_element_bytes;
  const int64_t chunk = std::min<int64_t>(kPrefillChunk, plan.context_tokens);
  plan.kv = static_cast<uint64_t>(sequences) *
            KvGeometry(config, element).Bytes(plan.context_tokens, chunk);
  plan.ple_rows = static_cast<uint64_t>(threads) * 4 *
                  static_cast<uint64_t>(
                      std::max<int64_t>(config.width, int64_t{config.layers} * config.ple_width));
  plan.scratch = ScratchBytes(config, mode, chunk, sequences, plan.context_tokens, threads) +
                 static_cast<uint64_t>(sequences) * static_cast<uint64_t>(config.vocab) * 4;
  plan.tokenizer = tokenizer_bytes;
  plan.program = kProgramBytes;
  const uint64_t running = plan.weights_mapped + plan.weights_anonymous + plan.ple_rows + plan.kv +
                           plan.scratch + plan.tokenizer + plan.program;
  // While the first (largest) matrix is packed its source is resident beside it.
  const uint64_t loading = plan.tokenizer + plan.program + 2 * weights.largest_source;
  plan.peak = std::max(running, loading);
  return plan;
}

Status CheckPlan(const MemoryPlan& plan, const std::string& file) {
  // Mapped weights may be dropped and read again by the system; without room for them every token
  // would wait for the disk, so they count in full.
  const uint64_t available = AvailableBytes();
  if (available == 0 || plan.peak <= available) return {};
  std::string regions;
  for (const auto& [name, bytes] : PlanLines(plan))
    if (name != "peak") regions += fmt::format("{} {}, ", name, Megabytes(bytes));
  return NoMemory(
      "{}: needs {} of memory ({}for {} tokens), {} are available; a smaller --ctx needs less",
      file, Megabytes(plan.peak), regions, plan.context_tokens, Megabytes(available));
}

std::vector<std::pair<std::string_view, uint64_t>> PlanLines(const MemoryPlan& plan) {
  return {{"weights-mapped", plan.weights_mapped},
          {"weights-anonymous", plan.weights_anonymous},
          {"ple-rows", plan.ple_rows},
          {"kv", plan.kv},
          {"scratch", plan.scratch},
          {"tokenizer", plan.tokenizer},
          {"program", plan.program},
          {"peak", plan.peak}};
}

}  // namespace carat
