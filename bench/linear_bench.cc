// SPDX-License-Identifier: Apache-2.0
// Matrix products in the shapes of Gemma 4 E2B (cols x rows). bytes_per_second counts weight bytes
// as packed; items_per_second counts weight-activation products.
//
//   linear_bench --benchmark_filter=Panel          one thread, every instruction set
//   linear_bench --benchmark_filter=Apply          the whole operation, 1 and 2 threads
//   linear_bench --benchmark_filter=Stream         weights far larger than any cache
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/rng.h"
#include "kernels/dispatch.h"
#include "kernels/panel.h"
#include "ops/linear.h"

namespace carat {
namespace {

struct Shape {
  int64_t cols, rows;
};
constexpr Shape kUp{1536, 6144}, kDown{6144, 1536}, kHead{1536, 262144};

// Random codes; every 16-bit word is a half float of moderate size, so any scale is harmless.
std::vector<std::byte> RandomWeights(DType dtype, int64_t rows, int64_t cols) {
  std::vector<std::byte> data(*RowBytes(dtype, static_cast<uint64_t>(cols)) *
                              static_cast<size_t>(rows));
  uint64_t state = 1;
  for (size_t i = 0; i + 2 <= data.size(); i += 2) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const auto half = static_cast<uint16_t>((state >> 48 & 0x83FF) | 0x2000);
    std::memcpy(&data[i], &half, 2);
  }
  return data;
}

std::vector<float> RandomActivations(int64_t n) {
  std::vector<float> x(static_cast<size_t>(n));
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(2 * CounterUniform(1, 2, i) - 1);
  return x;
}

void Report(benchmark::State& state, double weight_bytes, double products) {
  state.SetBytesProcessed(static_cast<int64_t>(weight_bytes * double(state.iterations())));
  state.SetItemsProcessed(static_cast<int64_t>(products * double(state.iterations())));
}

// panel_dot alone over 256 rows that stay in the second-level cache.
void Panel(benchmark::State& state, const KernelTable* table, DType dtype, int64_t tokens) {
  const LinearKernels& k = table->linear;
  constexpr int64_t kCols = 1536, kRows = 256, kBlocks = kCols / kBlockCols;
  const auto weights = RandomWeights(dtype, kRows, kCols);
  const auto row_bytes = static_cast<int64_t>(*RowBytes(dtype, kCols));
  const PanelFormat format = PanelFormatOf(dtype);
  const auto panel_bytes = static_cast<int64_t>(PanelBytes(format, kCols));
  PageBuffer panels(static_cast<size_t>(panel_bytes * (kRows / kPanelRows)));
  for (int64_t p = 0; p < kRows / kPanelRows; ++p)
    PackPanel(dtype, format, weights.data() + p * kPanelRows * row_bytes, row_bytes, kPanelRows,
              kCols, panels.data() + p * panel_bytes);
  const auto x = RandomActivations(tokens * kCols);
  std::vector<float> y(static_cast<size_t>(tokens * kRows));
  PageBuffer tile(static_cast<size_t>(tokens * kBlocks * kActBlockBytes));
  for (int64_t t = 0; t < tokens; t += k.token_tile) {
    const int nt = static_cast<int>(std::min<int64_t>(k.token_tile, tokens - t));
    k.quantize(
        {x.data() + t * kCols, kCols, nt, kBlocks, tile.data() + t * kBlocks * kActBlockBytes});
  }
  for (auto _ : state) {
    for (int64_t t = 0; t < tokens; t += k.token_tile) {
      const int nt = static_cast<int>(std::min<int64_t>(k.token_tile, tokens - t));
      for (int64_t p = 0; p < kRows / kPanelRows; ++p) {
        PanelDotArgs a;
        a.format = &format;
        a.panel = panels.data() + p * panel_bytes;
        a.tile = tile.data() + t * kBlocks * kActBlockBytes;
        a.nt = nt;
        a.blocks = kBlocks;
        a.y = y.data() + t * kRows + p * kPanelRows;
        a.y_stride = kRows;
        a.rows = kPanelRows;
        k.panel_dot(a);
      }
    }
    benchmark::DoNotOptimize(y.data());
    benchmark::ClobberMemory();
  }
  Report(state, double(panels.size()), double(kCols * kRows * tokens));
}

// Quantisation of the activations alone.
void Quantize(benchmark::State& state, const KernelTable* table) {
  const LinearKernels& k = table->linear;
  constexpr int64_t kCols = 1536, kBlocks = kCols / kBlockCols;
  const auto x = RandomActivations(k.token_tile * kCols);
  PageBuffer tile(static_cast<size_t>(k.token_tile * kBlocks * kActBlockBytes));
  for (auto _ : state) {
    k.quantize({x.data(), kCols, k.token_tile, kBlocks, tile.data()});
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * kCols * k.token_tile);
}

void Apply(benchmark::State& state, DType dtype, NumericMode mode, Shape shape, int64_t tokens,
           int threads) {
  ThreadPool pool(threads);
  const auto data = RandomWeights(dtype, shape.rows, shape.cols);
  const Linear w = Linear::Prepare({dtype, data.data(), shape.rows, shape.cols, 1}, mode, pool);
  const auto x = RandomActivations(tokens * shape.cols);
  PageBuffer y(static_cast<size_t>(tokens * shape.rows) * sizeof(float));
  LinearScratch scratch;
  const LinearOutput out{&w, y.as<float>(), shape.rows};
  for (auto _ : state) {
    Apply(pool, scratch, x.data(), shape.cols, tokens, {&out, 1});
    benchmark::ClobberMemory();
  }
  const uint64_t packed = Linear::PackedBytes(dtype, shape.rows, shape.cols, mode);
  Report(state, packed > 0 ? double(packed) : double(data.size()),
         double(shape.cols * shape.rows * tokens));
}

std::string Name(Shape s) { return std::to_string(s.cols) + "x" + std::to_string(s.rows); }

void RegisterAll() {
  for (const KernelTable* table : Runnable()) {
    const std::string isa = table->isa;
    benchmark::RegisterBenchmark(("Quantize/" + isa).c_str(), Quantize, table);
    for (const DType dtype : {DType::kQ4_0, DType::kQ8_0, DType::kQ4_K, DType::kQ6_K})
      for (const int64_t tokens : {1, 2, 4, 8, 64})
        benchmark::RegisterBenchmark(
            ("Panel/" + isa + "/" + Name(dtype) + "/tokens:" + std::to_string(tokens)).c_str(),
            Panel, table, dtype, tokens);
  }
  const auto apply = [](const char* name, DType dtype, NumericMode mode, Shape shape,
                        int64_t tokens, int threads) {
    benchmark::RegisterBenchmark(
        (std::string(name) + "/" + Name(dtype) + "/" + Name(shape) +
         "/tokens:" + std::to_string(tokens) + "/threads:" + std::to_string(threads))
            .c_str(),
        Apply, dtype, mode, shape, tokens, threads)
        ->UseRealTime();
  };
  const int most = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  for (const int threads : {1, most}) {
    for (const Shape shape : {kUp, kDown})
      for (const int64_t tokens : {1, 4, 8, 64, 512})
        apply("Apply", DType::kQ4_0, NumericMode::kFast, shape, tokens, threads);
    apply("Apply", DType::kBF16, NumericMode::kFast, kUp, 512, threads);
    apply("ApplyExact", DType::kQ4_0, NumericMode::kExact, kUp, 1, threads);
    apply("ApplyExact", DType::kQ4_0, NumericMode::kExact, kUp, 512, threads);
    apply("Stream", DType::kQ4_0, NumericMode::kFast, kHead, 1, threads);
    // About 0.9 GB.
    apply("Stream", DType::kQ4_0, NumericMode::kFast, {1536, 1 << 20}, 1, threads);
    apply("Stream", DType::kBF16, NumericMode::kFast, kHead, 1, threads);
    if (most == 1) break;
  }
}

}  // namespace
}  // namespace carat

int main(int argc, char** argv) {
  if (const auto status = carat::InitKernels(); !status) {
    std::fprintf(stderr, "%s\n", status.error().message.c_str());
    return 2;
  }
  carat::RegisterAll();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
