// SPDX-License-Identifier: Apache-2.0
#include "ops/linear.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/dispatch.h"
#include "kernels/panel.h"
#include "tensor/dequant.h"

namespace carat {
namespace {

// Rows are handed out in strips of a panel's height, also where there are no panels.
constexpr int kStripRows = kPanelRows;

// Blocks of a panel that are multiplied with every tile of tokens before the next ones are: even.
constexpr int64_t kChunkBlocks = 64;

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

uint64_t RoundUp64(uint64_t bytes) { return (bytes + 63) & ~uint64_t{63}; }

bool UsesPanels(DType dtype, NumericMode mode) {
  return mode == NumericMode::kFast && IsQuantized(dtype);
}

uint64_t TileBytes(int64_t tokens, int64_t cols) {
  return RoundUp64(static_cast<uint64_t>(tokens) * static_cast<uint64_t>(cols / kBlockCols) *
                   kActBlockBytes);
}

uint64_t StripScratchBytes(int64_t cols) {
  return RoundUp64(uint64_t{kStripRows} * static_cast<uint64_t>(cols) * sizeof(float));
}

}  // namespace

struct Linear::Impl {
  MatrixView view;
  NumericMode mode = NumericMode::kExact;
  int64_t row_bytes = 0;    // of the source
  PanelFormat format;       // with panels only
  int64_t panel_bytes = 0;  // 0: no panels, the source is used
  std::shared_ptr<std::byte> panels;

  int64_t strips() const { return CeilDiv(view.rows, kStripRows); }
  bool dequantises() const { return mode == NumericMode::kExact && view.dtype != DType::kF32; }
  // What a thread touches again for every tile of tokens.
  int64_t strip_bytes() const {
    if (panel_bytes > 0)
      return std::min<int64_t>(panel_bytes, kChunkBlocks / 2 * format.pair_bytes);
    return kStripRows * (dequantises() ? view.cols * int64_t{sizeof(float)} : row_bytes);
  }
};

Linear Linear::Prepare(const MatrixView& w, NumericMode mode, ThreadPool& pool, PanelArena* arena) {
  CARAT_CHECK(IsWeight(w.dtype) && w.data && w.rows > 0 && w.cols > 0);
  const auto row_bytes = RowBytes(w.dtype, static_cast<uint64_t>(w.cols));
  CARAT_CHECK(row_bytes.has_value());
  auto impl = std::make_shared<Impl>();
  impl->view = w;
  impl->mode = mode;
  impl->row_bytes = static_cast<int64_t>(*row_bytes);
  if (UsesPanels(w.dtype, mode)) {
    impl->format = PanelFormatOf(w.dtype);
    impl->panel_bytes = static_cast<int64_t>(PanelBytes(impl->format, w.cols));
    const uint64_t bytes = PackedBytes(w.dtype, w.rows, w.cols, mode);
    if (arena) impl->panels = arena->Take(bytes);
    if (!impl->panels) impl->panels = PanelArena(bytes).Take(bytes);
    pool.ParallelFor(impl->strips(), 4, [&](int64_t begin, int64_t end, int) {
      for (int64_t p = begin; p < end; ++p) {
        const int64_t row = p * kPanelRows;
        PackPanel(w.dtype, impl->format, w.data + row * impl->row_bytes, impl->row_bytes,
                  static_cast<int>(std::min<int64_t>(kPanelRows, w.rows - row)), w.cols,
                  impl->panels.get() + p * impl->panel_bytes);
      }
    });
  }
  Linear linear;
  linear.impl_ = std::move(impl);
  return linear;
}

uint64_t Linear::PackedBytes(DType dtype, int64_t rows, int64_t cols, NumericMode mode) {
  if (!UsesPanels(dtype, mode)) return 0;
  return static_cast<uint64_t>(CeilDiv(rows, kPanelRows)) * PanelBytes(PanelFormatOf(dtype), cols);
}

int64_t Linear::rows() const { return impl_ ? impl_->view.rows : 0; }
int64_t Linear::cols() const { return impl_ ? impl_->view.cols : 0; }
bool Linear::packed() const { return impl_ && impl_->panel_bytes > 0; }

std::shared_ptr<std::byte> PanelArena::Take(uint64_t bytes) {
  if (!memory_ || bytes > memory_->size() - used_) return nullptr;
  std::byte* const taken = memory_->data() + used_;
  used_ += bytes;
  return {memory_, taken};
}

std::byte* LinearScratch::Get(int slot, size_t bytes) {
  const auto index = static_cast<size_t>(slot);
  if (slots_.size() <= index) slots_.resize(index + 1);
  if (slots_[index].size() < bytes) {
    slots_[index] = PageBuffer();  // first gives the old memory back
    slots_[index] = PageBuffer(bytes);
  }
  return slots_[index].data();
}

uint64_t LinearScratch::bytes() const {
  uint64_t sum = 0;
  for (const PageBuffer& slot : slots_) sum += slot.size();
  return sum;
}

uint64_t LinearScratchBytes(int64_t t, int64_t cols, int threads, NumericMode mode) {
  if (t <= 0) return 0;
  if (mode == NumericMode::kFast) return TileBytes(t, cols);
  return static_cast<uint64_t>(threads) * StripScratchBytes(cols);
}

namespace {

// One Apply: what its tasks share.
struct Product {
  const LinearKernels& kernels;
  const float* x;
  int64_t x_stride;
  int64_t t;
  int64_t cols;
  const std::byte* acts;  // quantised activations; null without panels
  std::span<const LinearOutput> outputs;
  LinearScratch& scratch;

  void Strips(int64_t begin, int64_t end, int64_t token_begin, int64_t token_end, int thread) const;
  void Panels(const LinearOutput& out, int64_t begin, int64_t end, int64_t token_begin,
              int64_t token_end) const;
  void Rows(const LinearOutput& out, int64_t begin, int64_t end, int64_t token_begin,
            int64_t token_end, int thread) const;
};

// Strips [begin, end) of the outputs' strips, counted through. token_begin is the first of a tile.
void Product::Strips(int64_t begin, int64_t end, int64_t token_begin, int64_t token_end,
                     int thread) const {
  int64_t first = 0;  // of this output
  for (const LinearOutput& out : outputs) {
    const Linear::Impl& w = *out.weight->impl();
    const int64_t from = std::max(begin - first, int64_t{0});
    const int64_t to = std::min(end - first, w.strips());
    if (from < to) {
      if (w.panel_bytes > 0) {
        Panels(out, from, to, token_begin, token_end);
      } else {
        Rows(out, from * kStripRows, std::min(to * kStripRows, w.view.rows), token_begin, token_end,
             thread);
      }
    }
    first += w.strips();
  }
}

// A chunk of the panels stays in the second-level cache for all tiles, a chunk of a tile for all
// panels.
void Product::Panels(const LinearOutput& out, int64_t begin, int64_t end, int64_t token_begin,
                     int64_t token_end) const {
  const Linear::Impl& w = *out.weight->impl();
  const int64_t blocks = cols / kBlockCols;
  const bool one_tile = token_end - token_begin <= kernels.token_tile;
  const int64_t chunk = one_tile ? blocks : kChunkBlocks;
  PanelDotArgs a;
  a.format = &w.format;
  a.y_stride = out.stride;
  for (int64_t block = 0; block < blocks; block += chunk) {
    a.blocks = std::min(chunk, blocks - block);
    a.resume = block > 0;
    a.scale = block + a.blocks == blocks ? w.view.scale : 1;
    for (int64_t token = token_begin; token < token_end; token += kernels.token_tile) {
      a.nt = static_cast<int>(std::min<int64_t>(kernels.token_tile, token_end - token));
      a.tile = acts + (token * blocks + block * a.nt) * kActBlockBytes;
      for (int64_t p = begin; p < end; ++p) {
        const int64_t row = p * kPanelRows;
        a.panel = w.panels.get() + p * w.panel_bytes + block / 2 * w.format.pair_bytes;
        a.rows = static_cast<int>(std::min<int64_t>(kPanelRows, w.view.rows - row));
        a.y = out.y + token * out.stride + row;
        kernels.panel_dot(a);
      }
    }
  }
}

void Product::Rows(const LinearOutput& out, int64_t begin, int64_t end, int64_t token_begin,
                   int64_t token_end, int thread) const {
  const Linear::Impl& w = *out.weight->impl();
  DotArgs a;
  a.x = x + token_begin * x_stride;
  a.x_stride = x_stride;
  a.tokens = token_end - token_begin;
  a.cols = cols;
  a.y_stride = out.stride;
  a.scale = w.view.scale;
  if (!w.dequantises()) {
    a.w = w.view.data + begin * w.row_bytes;
    a.w_stride = w.row_bytes;
    a.rows = end - begin;
    a.y = out.y + token_begin * out.stride + begin;
    if (w.mode == NumericMode::kExact) return kernels.dot_f32_exact(a);
    switch (w.view.dtype) {
      case DType::kF32:
        return kernels.dot_f32(a);
      case DType::kF16:
        return kernels.dot_f16(a);
      default:
        return kernels.dot_bf16(a);
    }
  }
  std::byte* rows = scratch.Get(1 + thread, StripScratchBytes(cols));
  a.w = rows;
  a.w_stride = cols * int64_t{sizeof(float)};
  for (int64_t row = begin; row < end; row += kStripRows) {
    a.rows = std::min<int64_t>(kStripRows, end - row);
    for (int64_t r = 0; r < a.rows; ++r)
      DequantRow(w.view.dtype, w.view.data + (row + r) * w.row_bytes, cols,
                 reinterpret_cast<float*>(rows + r * a.w_stride));
    a.y = out.y + token_begin * out.stride + row;
    kernels.dot_f32_exact(a);
  }
}

// How the strips x tokens of a product are cut into tasks. Affects time only.
struct Split {
  int64_t strips;  // per task
  int64_t tokens;  // per task, a multiple of the token tile
};

Split ChooseSplit(int64_t strips, int64_t strip_bytes, int64_t tokens, int token_tile,
                  int64_t least_tokens, int threads) {
  if (tokens <= token_tile) {
    // Bound by memory: pieces long enough for the processor's prefetcher, short enough that waiting
    // for the last one costs little.
    constexpr int64_t kPieceBytes = 64 << 10;
    return {std::max({strips / (32 * threads), kPieceBytes / strip_bytes, int64_t{1}}), token_tile};
  }
  // As many strips as stay in the second-level cache (half of a usual one), fewer only if the
  // threads would not be busy to the end otherwise; then tokens are cut too.
  constexpr int64_t kCacheBytes = 512 << 10;
  const int64_t tasks = int64_t{16} * threads;
  const int64_t most_chunks = std::max<int64_t>(1, tokens / least_tokens);
  const int64_t limit = std::min(kCacheBytes / strip_bytes, strips * most_chunks / tasks);
  const int64_t groups = CeilDiv(strips, std::max<int64_t>(1, limit));
  const int64_t chunks = std::min(most_chunks, CeilDiv(tasks, groups));
  return {CeilDiv(strips, groups), CeilDiv(CeilDiv(tokens, chunks), token_tile) * token_tile};
}

}  // namespace

void Apply(ThreadPool& pool, LinearScratch& scratch, const float* x, int64_t x_stride, int64_t t,
           std::span<const LinearOutput> outputs) {
  if (t <= 0 || outputs.empty()) return;
  const LinearKernels& kernels = Kernels().linear;
  const int64_t cols = outputs.front().weight->cols();
  int64_t strips = 0, strip_bytes = 1;
  bool panels = false, dequantises = false;
  for (const LinearOutput& out : outputs) {
    CARAT_CHECK(out.weight->impl() && out.weight->cols() == cols);
    const Linear::Impl& w = *out.weight->impl();
    CARAT_CHECK(out.stride >= w.view.rows);
    strips += w.strips();
    strip_bytes = std::max(strip_bytes, w.strip_bytes());
    panels |= w.panel_bytes > 0;
    dequantises |= w.dequantises();
  }
  // Grown here, because Get is not for several threads.
  if (dequantises)
    for (int i = 0; i < pool.threads(); ++i) scratch.Get(1 + i, StripScratchBytes(cols));

  std::byte* acts = nullptr;
  if (panels) {
    acts = scratch.Get(0, TileBytes(t, cols));
    pool.ParallelFor(CeilDiv(t, kernels.token_tile), 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t tile = begin; tile < end; ++tile) {
        const int64_t token = tile * kernels.token_tile;
        QuantizeArgs a;
        a.x = x + token * x_stride;
        a.x_stride = x_stride;
        a.nt = static_cast<int>(std::min<int64_t>(kernels.token_tile, t - token));
        a.blocks = cols / kBlockCols;
        a.tile = acts + token * a.blocks * kActBlockBytes;
        kernels.quantize(a);
      }
    });
  }

  const Product product{kernels, x, x_stride, t, cols, acts, outputs, scratch};
  // Each chunk of tokens dequantises its rows again.
  const Split split = ChooseSplit(strips, strip_bytes, t, kernels.token_tile,
                                  dequantises ? 256 : 64, pool.threads());
  const int64_t chunks = CeilDiv(t, split.tokens);
  pool.ParallelFor(
      CeilDiv(strips, split.strips) * chunks, 1, [&](int64_t begin, int64_t end, int thread) {
        for (int64_t i = begin; i < end; ++i) {
          const int64_t strip = i / chunks * split.strips, token = i % chunks * split.tokens;
          product.Strips(strip, std::min(strip + split.strips, strips), token,
                         std::min(token + split.tokens, t), thread);
        }
      });
}

}  // namespace carat
