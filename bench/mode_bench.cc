// SPDX-License-Identifier: Apache-2.0
// The mode kernels of every set that runs here: attention with the heads of E2B (eight query heads
// on one KV head), and the row operations. FLOP/s counts two per product of q k and of weight v.
#include <benchmark/benchmark.h>

#include <cmath>
#include <string>
#include <vector>

#include "base/aligned.h"
#include "kernels/dispatch.h"
#include "kernels/mode_kernels.h"

namespace carat {
namespace {

std::vector<float> Wave(int64_t n, float size) {
  std::vector<float> v(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i)
    v[static_cast<size_t>(i)] = size * std::sin(0.37f * static_cast<float>(i % 1009));
  return v;
}

// Arguments: rows, dh, visible positions.
void BM_Attention(benchmark::State& state, const ModeKernels* k) {
  const int rows = static_cast<int>(state.range(0)), dh = static_cast<int>(state.range(1));
  const int64_t positions = state.range(2);
  const int64_t first = 5, count = (first + positions - 1) / kKvBlock + 1;
  const auto block_bytes = static_cast<size_t>(2 * dh * kKvBlock * k->kv_element_bytes);
  const PageBuffer cache(block_bytes * static_cast<size_t>(count));
  std::vector<const std::byte*> blocks;
  const auto key = Wave(dh, 1), value = Wave(dh, 1);
  for (int64_t i = 0; i < count * kKvBlock; ++i) {
    std::byte* block = cache.data() + block_bytes * static_cast<size_t>(i / kKvBlock);
    k->store_kv(key.data(), value.data(), dh, i % kKvBlock, block);
    if (i % kKvBlock == 0) blocks.push_back(block);
  }
  const PageBuffer scores(static_cast<size_t>(rows * count * kKvBlock) * sizeof(float));
  std::vector<float> q = Wave(int64_t{rows} * dh, 0.1f), out(q.size());
  std::vector<const float*> qp;
  std::vector<float*> op;
  for (int r = 0; r < rows; ++r) {
    qp.push_back(&q[static_cast<size_t>(r * dh)]);
    op.push_back(&out[static_cast<size_t>(r * dh)]);
  }
  const std::vector<int64_t> begin(static_cast<size_t>(rows), first);
  const std::vector<int64_t> end(static_cast<size_t>(rows), first + positions - 1);
  AttentionTile tile;
  tile.rows = rows;
  tile.dh = dh;
  tile.q = qp.data();
  tile.out = op.data();
  tile.first = begin.data();
  tile.last = end.data();
  tile.blocks = blocks.data();
  tile.block_count = count;
  tile.scores = scores.as<float>();
  for (auto _ : state) {
    k->attention(tile);
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
  const double flops = 4.0 * rows * dh * static_cast<double>(positions);
  state.counters["FLOP/s"] =
      benchmark::Counter(flops, benchmark::Counter::kIsIterationInvariantRate);
}

void CountElements(benchmark::State& state) {
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * state.range(0));
}

void BM_RmsNorm(benchmark::State& state, const ModeKernels* k) {
  const auto x = Wave(state.range(0), 1), w = Wave(state.range(0), 2);
  std::vector<float> y(x.size());
  for (auto _ : state) {
    k->rms_norm(x.data(), w.data(), y.data(), state.range(0), 1e-6f);
    benchmark::ClobberMemory();
  }
  CountElements(state);
}

void BM_GeluMul(benchmark::State& state, const ModeKernels* k) {
  const auto x = Wave(state.range(0), 3), w = Wave(state.range(0), 2);
  std::vector<float> y(x.size());
  for (auto _ : state) {
    k->gelu_mul(x.data(), w.data(), y.data(), state.range(0));
    benchmark::ClobberMemory();
  }
  CountElements(state);
}

void BM_Softcap(benchmark::State& state, const ModeKernels* k) {
  auto x = Wave(state.range(0), 20);
  for (auto _ : state) {
    k->softcap(x.data(), state.range(0), 30);
    benchmark::ClobberMemory();
  }
  CountElements(state);
}

void RegisterSet(const std::string& name, const ModeKernels* k) {
  auto* attention = benchmark::RegisterBenchmark(("Attention/" + name).c_str(), BM_Attention, k);
  attention->ArgNames({"rows", "dh", "positions"});
  for (int rows : {8, 4, 2, 1}) {
    attention->Args({rows, 256, 512});
    attention->Args({rows, 512, 4096});
  }
  benchmark::RegisterBenchmark(("RmsNorm/" + name).c_str(), BM_RmsNorm, k)->Arg(1536);
  benchmark::RegisterBenchmark(("GeluMul/" + name).c_str(), BM_GeluMul, k)->Arg(6144);
  benchmark::RegisterBenchmark(("Softcap/" + name).c_str(), BM_Softcap, k)->Arg(262144);
}

const bool kRegistered = [] {
  RegisterSet("exact", &ExactKernels());
  for (const KernelTable* t : Runnable()) RegisterSet(t->isa, &t->mode);
  return true;
}();

}  // namespace
}  // namespace carat

BENCHMARK_MAIN();
