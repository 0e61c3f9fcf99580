// SPDX-License-Identifier: Apache-2.0
// y = x W^T for weights of any type, in the numeric mode the weight was prepared for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/aligned.h"
#include "base/thread_pool.h"
#include "tensor/dtype.h"

namespace carat {

enum class NumericMode {
  kExact,  // float32 activations, dequantised weights, sums in double
  kFast,   // integer dot products for quantised weights, float32 for the others
};

// A matrix as a checkpoint stores it: `rows` x `cols`, row-major, rows back to back.
struct MatrixView {
  DType dtype = DType::kF32;
  const std::byte* data = nullptr;  // mapped memory; must outlive what is made from it
  int64_t rows = 0;
  int64_t cols = 0;
  float scale = 1;  // multiplies the whole product (NVFP4's companion tensor); 1 in all other types
};

// Scratch of one ParallelFor worker set; grown on demand, reused between calls. One per context.
class LinearScratch;

// One block of memory for the panels of many matrices. Large pages then hold nearly all of them,
// which matters: streaming from small pages was a third slower.
class PanelArena {
 public:
  PanelArena() = default;  // empty
  // `bytes`: the sum of PackedBytes.
  explicit PanelArena(uint64_t bytes) : memory_(std::make_shared<PageBuffer>(bytes)) {}
  // The next `bytes` bytes, a multiple of 64: zeroed and 64-byte aligned; the whole arena lives as
  // long as anyone holds such a pointer. Null when not that many are left.
  std::shared_ptr<std::byte> Take(uint64_t bytes);

 private:
  std::shared_ptr<PageBuffer> memory_;
  uint64_t used_ = 0;
};

// A weight matrix prepared for one mode. Immutable, shareable between contexts and threads.
class Linear {
 public:
  Linear() = default;
  // kExact keeps the view (no copy). kFast keeps float weights in place and packs quantised ones
  // into panels, with `pool` (tensor/quant_codes.h is the decoder). Panels come from `arena` while
  // it has room, else they have memory of their own.
  static Linear Prepare(const MatrixView& w, NumericMode mode, ThreadPool& pool,
                        PanelArena* arena = nullptr);
  // Anonymous bytes that Prepare would take for this matrix: exact, for the memory plan.
  static uint64_t PackedBytes(DType dtype, int64_t rows, int64_t cols, NumericMode mode);

  int64_t rows() const;
  int64_t cols() const;
  bool packed() const;  // true: the source pages are no longer needed

  struct Impl;
  const Impl* impl() const { return impl_.get(); }

 private:
  std::shared_ptr<const Impl> impl_;
};

// One product of a group that shares its input (q, k, v; gate, up).
struct LinearOutput {
  const Linear* weight;
  float* y;        // [t, rows], row i at y + i * stride
  int64_t stride;  // in floats, >= rows
};

// For each output: y[i, o] = sum_k x[i, k] * W[o, k], i in [0, t). x is [t, cols] with rows
// `x_stride` floats apart; all weights of the group have the same cols. Every element of y is
// computed in an order that depends on the weight's type and shape and on its own row of x only:
// t, the grouping and the thread count never change a bit. t may be 0.
void Apply(ThreadPool& pool, LinearScratch& scratch, const float* x, int64_t x_stride, int64_t t,
           std::span<const LinearOutput> outputs);

class LinearScratch {
 public:
  // At least `bytes` bytes, 64-byte aligned, contents undefined. Slot 0 is for quantised
  // activations, slots 1.. for the threads.
  std::byte* Get(int slot, size_t bytes);
  // Bytes held now, for tests of the memory plan.
  uint64_t bytes() const;

 private:
  std::vector<PageBuffer> slots_;
};

// Upper bound of what Apply takes from a LinearScratch for t rows of at most `cols` columns.
uint64_t LinearScratchBytes(int64_t t, int64_t cols, int threads, NumericMode mode);

}  // namespace carat
