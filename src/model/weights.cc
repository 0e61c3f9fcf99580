// SPDX-License-Identifier: Apache-2.0
#include "model/weights.h"

#include <algorithm>
#include <cmath>

#include "kernels/dispatch.h"
#include "tensor/half.h"

namespace carat {
namespace {

// Rows [first, first + count) of a matrix.
MatrixView Rows(const MatrixView& m, int64_t first, int64_t count) {
  MatrixView out = m;
  out.rows = count;
  if (m.data) out.data = m.data + static_cast<uint64_t>(first) * *RowBytes(m.dtype, m.cols);
  return out;
}

uint64_t SourceBytes(const MatrixView& m) {
  return m.data ? static_cast<uint64_t>(m.rows) * *RowBytes(m.dtype, m.cols) : 0;
}

// Visits every matrix of the decoder in the order in which it is prepared, biggest first, so that
// the moment when source and panels of one matrix coexist comes before memory is full.
template <class F>
void ForEachMatrix(const Config& config, const ModelTensors& t, F&& f) {
  f(t.output);
  if (config.ple_width > 0) f(t.ple_projection);
  for (const LayerTensors& l : t.layers) {
    for (const MatrixView* m :
         {&l.q, &l.k, &l.v, &l.o, &l.gate, &l.up, &l.down, &l.ple_gate, &l.ple_out, &l.router})
      if (m->data) f(*m);
    for (const auto* list : {&l.expert_gate, &l.expert_up, &l.expert_down})
      for (const MatrixView& m : *list) f(m);
  }
}

class Preparer {
 public:
  // `total`: bytes of all matrices as stored; `packed`: bytes that packing will take.
  Preparer(const ModelTensors& tensors, const PrepareOptions& options, ThreadPool& pool,
           uint64_t total, uint64_t packed)
      : tensors_(tensors), options_(options), pool_(pool), arena_(packed), total_(total) {}

  bool cancelled() const { return cancelled_; }

  Linear operator()(const MatrixView& m) {
    if (!m.data || cancelled_) return {};
    Linear linear = Linear::Prepare(m, options_.mode, pool_, &arena_);
    if (linear.packed()) DropSource(m);
    done_ += SourceBytes(m);
    if (options_.progress && total_ > 0 &&
        !options_.progress(static_cast<double>(done_) / static_cast<double>(total_)))
      cancelled_ = true;
    return linear;
  }

 private:
  void DropSource(const MatrixView& m) {
    for (const auto& file : tensors_.files) {
      const std::byte* begin = file->bytes().data();
      if (m.data < begin || m.data >= begin + file->size()) continue;
      file->Drop(static_cast<uint64_t>(m.data - begin), SourceBytes(m));
    }
  }

  const ModelTensors& tensors_;
  const PrepareOptions& options_;
  ThreadPool& pool_;
  PanelArena arena_;  // one piece, so that it gets large pages: small ones halve the read speed
  uint64_t total_, done_ = 0;
  bool cancelled_ = false;
};

std::vector<Linear> PrepareAll(Preparer& prepare, const std::vector<MatrixView>& list) {
  std::vector<Linear> out;
  out.reserve(list.size());
  for (const MatrixView& m : list) out.push_back(prepare(m));
  return out;
}

}  // namespace

Result<std::shared_ptr<const Weights>> PrepareWeights(const Config& config, ModelTensors tensors,
                                                      const PrepareOptions& options,
                                                      ThreadPool& pool) {
  auto w = std::make_shared<Weights>();
  w->config = config;
  w->mode = options.mode;
  w->kernels = options.mode == NumericMode::kExact ? &ExactKernels() : &Kernels().mode;
  w->embedding_scale = static_cast<float>(config.embedding_scale);
  if (options.bf16_embedding_scale)
    w->embedding_scale = Bf16ToFloat(FloatToBf16(w->embedding_scale));
  w->embedding = std::move(tensors.embedding);
  w->ple_table = std::move(tensors.ple_table);
  w->output_norm = std::move(tensors.output_norm);
  w->ple_norm = std::move(tensors.ple_norm);

  uint64_t total = 0, packed = 0;
  ForEachMatrix(config, tensors, [&](const MatrixView& m) {
    total += SourceBytes(m);
    packed += Linear::PackedBytes(m.dtype, m.rows, m.cols, options.mode);
  });
  Preparer prepare(tensors, options, pool, total, packed);

  w->output = prepare(tensors.output);
  if (config.ple_width > 0) {
    const int64_t own = int64_t{config.first_shared()} * config.ple_width;
    const int64_t all = int64_t{config.layers} * config.ple_width;
    w->ple_projection_own = prepare(Rows(tensors.ple_projection, 0, own));
    if (own < all) w->ple_projection_rest = prepare(Rows(tensors.ple_projection, own, all - own));
  }
  w->layers.resize(static_cast<size_t>(config.layers));
  for (int i = 0; i < config.layers; ++i) {
    LayerTensors& t = tensors.layers[i];
    const LayerPlan& plan = config.plan[i];
    LayerWeights& l = w->layers[i];
    static_cast<LayerVectors&>(l) = std::move(static_cast<LayerVectors&>(t));
    l.q = prepare(t.q);
    if (plan.owns_kv) {
      l.k = prepare(t.k);
      if (!plan.k_eq_v) l.v = prepare(t.v);
    }
    l.o = prepare(t.o);
    l.gate = prepare(t.gate);
    l.up = prepare(t.up);
    l.down = prepare(t.down);
    l.ple_gate = prepare(t.ple_gate);
    l.ple_out = prepare(t.ple_out);
    l.router = prepare(t.router);
    l.expert_gate = PrepareAll(prepare, t.expert_gate);
    l.expert_up = PrepareAll(prepare, t.expert_up);
    l.expert_down = PrepareAll(prepare, t.expert_down);
    // The scale and D^-1/2 follow the router's weightless norm: together they are its weight.
    const double root = 1.0 / std::sqrt(static_cast<double>(config.width));
    l.router_norm = std::move(l.router_scale);
    for (float& s : l.router_norm) s = static_cast<float>(s * root);
    if (prepare.cancelled()) return Cancelled();
  }
  w->files = std::move(tensors.files);
  return std::shared_ptr<const Weights>(std::move(w));
}

WeightBytes CountWeights(const Config& config, const ModelTensors& tensors, NumericMode mode) {
  WeightBytes n;
  ForEachMatrix(config, tensors, [&](const MatrixView& m) {
    const uint64_t packed = Linear::PackedBytes(m.dtype, m.rows, m.cols, mode);
    n.anonymous += packed;
    if (packed == 0) {
      n.mapped += SourceBytes(m);
    } else {
      n.largest_source = std::max(n.largest_source, SourceBytes(m));
    }
    n.parameters += static_cast<uint64_t>(m.rows) * static_cast<uint64_t>(m.cols);
  });
  n.parameters +=
      static_cast<uint64_t>(tensors.ple_table.rows) * static_cast<uint64_t>(tensors.ple_table.cols);
  uint64_t floats = tensors.output_norm.size() + tensors.ple_norm.size();
  for (const LayerTensors& l : tensors.layers)
    for (const auto* v : {&l.attn_norm, &l.q_norm, &l.k_norm, &l.post_attn_norm, &l.ffn_norm,
                          &l.post_ffn_norm, &l.ple_post_norm, &l.router_scale, &l.expert_scale,
                          &l.post_ffn_norm_1, &l.pre_ffn_norm_2, &l.post_ffn_norm_2})
      floats += v->size();
  n.parameters += floats;
  n.anonymous += sizeof(float) * floats;
  return n;
}

}  // namespace carat
