// SPDX-License-Identifier: Apache-2.0
#include "model/decoder.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "model/attention.h"
#include "model/experts.h"

namespace carat {
namespace {

// Work of about this many floats is worth handing to another thread.
constexpr int64_t kGrainFloats = 16384;

int64_t RowGrain(int64_t row_floats) {
  return std::max<int64_t>(1, kGrainFloats / std::max<int64_t>(row_floats, 1));
}

// One step on its way through the layers.
class Step {
 public:
  Step(const Weights& weights, ThreadPool& pool, Scratch& scratch, std::span<const StepSpan> spans,
       const StepOptions& options)
      : w_(weights),
        c_(weights.config),
        k_(*weights.kernels),
        pool_(pool),
        scratch_(scratch),
        spans_(spans),
        options_(options) {}

  Result<std::span<const float>> Run();

 private:
  void LayOutRows();
  Status Embed();
  Status PerLayerInputs();
  void PerLayerProjection(const Linear& part, int64_t row_begin, int64_t rows, int first_layer);
  Status AddTableRows(int64_t row_begin, int64_t rows, int first_layer, int end_layer);
  void Rotations();
  void KeepWantedRows();
  void Layer(int i);
  void AttentionBlock(int i);
  void MlpBlock(int i);
  void PleBlock(int i);
  void Record(int i);

  // y = W x for all rows in hand.
  void Project(const float* x, int64_t x_stride, std::span<const LinearOutput> outputs) {
    Apply(pool_, scratch_.linear(), x, x_stride, rows(), outputs);
  }
  template <class F>
  Status TryRows(int64_t begin, int64_t end, int64_t grain, F&& f);
  template <class F>
  void ForRows(int64_t row_floats, F&& f) {
    pool_.ParallelFor(rows(), RowGrain(row_floats), [&](int64_t b, int64_t e, int) {
      for (int64_t r = b; r < e; ++r) f(r);
    });
  }
  int64_t rows() const { return static_cast<int64_t>(row_.size()); }
  // A row's id and soft row (null: none), before rows leave.
  int32_t Id(int64_t r) const { return spans_[row_[r].span].ids[r - first_row_[row_[r].span]]; }
  const float* Soft(int64_t r) const {
    const StepSpan& span = spans_[row_[r].span];
    return span.soft.empty() ? nullptr : span.soft[r - first_row_[row_[r].span]];
  }
  int64_t ple_stride() const { return int64_t{c_.layers} * c_.ple_width; }

  const Weights& w_;
  const Config& c_;
  const ModeKernels& k_;
  ThreadPool& pool_;
  Scratch& scratch_;
  std::span<const StepSpan> spans_;
  const StepOptions& options_;

  std::vector<AttentionRow> row_;   // the rows still in hand
  std::vector<uint8_t> wanted_;     // per row in hand
  std::vector<int64_t> first_row_;  // per span
  int64_t wanted_count_ = 0;
  int last_owner_ = 0;
  float *x_ = nullptr, *h_ = nullptr, *ple_ = nullptr;
  float *cos_[2] = {}, *sin_[2] = {};
};

void Step::LayOutRows() {
  int64_t total = 0;
  for (const StepSpan& span : spans_) total += static_cast<int64_t>(span.ids.size());
  row_.reserve(static_cast<size_t>(total));
  for (size_t s = 0; s < spans_.size(); ++s) {
    const StepSpan& span = spans_[s];
    const int64_t n = static_cast<int64_t>(span.ids.size());
    const int64_t start = span.cache->length();
    first_row_.push_back(static_cast<int64_t>(row_.size()));
    int64_t block_end = -1;  // last row of the block that contains row i
    for (int64_t i = 0; i < n; ++i) {
      const bool in_block = c_.vision_blocks && !span.blocks.empty() && span.blocks[i] >= 0;
      if (in_block && i > block_end) {
        block_end = i;
        while (block_end + 1 < n && span.blocks[block_end + 1] == span.blocks[i]) ++block_end;
      }
      AttentionRow r;
      r.span = static_cast<int>(s);
      r.position = start + i;
      // Keys of a window: the query and window - 1 before it, and its whole block (2.13).
      r.first[0] = std::max<int64_t>(0, r.position - c_.window + 1);
      r.first[1] = 0;
      r.last[0] = in_block ? start + block_end : r.position;
      r.last[1] = in_block && c_.vision_blocks_global ? start + block_end : r.position;
      row_.push_back(r);
      wanted_.push_back(i >= span.wants_from);
      wanted_count_ += i >= span.wants_from;
    }
  }
  for (int i = 0; i < c_.layers; ++i)
    if (c_.plan[i].owns_kv) last_owner_ = i;
}

// Calls f(row, thread), which may fail, for rows [begin, end); the first error found is returned.
template <class F>
Status Step::TryRows(int64_t begin, int64_t end, int64_t grain, F&& f) {
  std::atomic<bool> failed{false};
  std::vector<Status> status(static_cast<size_t>(pool_.threads()));
  pool_.ParallelFor(end - begin, grain, [&](int64_t b, int64_t e, int thread) {
    for (int64_t r = begin + b; r < begin + e && !failed; ++r) {
      Status one = f(r, thread);
      if (one) continue;
      status[static_cast<size_t>(thread)] = std::move(one);
      failed = true;
    }
  });
  for (Status& one : status) CARAT_RETURN_IF_ERROR(one);
  return {};
}

Status Step::Embed() {
  x_ = scratch_.Get(Scratch::kX, rows() * c_.width);
  h_ = scratch_.Get(Scratch::kH, rows() * c_.width);
  const float scale = w_.embedding_scale;
  return TryRows(0, rows(), RowGrain(c_.width), [&](int64_t r, int) -> Status {
    float* x = x_ + r * c_.width;
    if (const float* soft = Soft(r)) {
      std::memcpy(x, soft, sizeof(float) * static_cast<size_t>(c_.width));
      return {};
    }
    CARAT_RETURN_IF_ERROR(w_.embedding.Read(Id(r), x));
    for (int64_t d = 0; d < c_.width; ++d) x[d] *= scale;
    return {};
  });
}

// ple[t, l] = (norm(projection) + table row * sqrt(P)) / sqrt(2), text-model.md 2.3. Here the
// projection, scaled by D^-1/2 and normed; AddTableRows joins the rest.
void Step::PerLayerProjection(const Linear& part, int64_t row_begin, int64_t n, int first_layer) {
  const int64_t p = c_.ple_width;
  const int64_t layers = part.rows() / p;
  float* out = ple_ + row_begin * ple_stride() + first_layer * p;
  const LinearOutput output{&part, out, ple_stride()};
  Apply(pool_, scratch_.linear(), x_ + row_begin * c_.width, c_.width, n, {&output, 1});
  const float root = static_cast<float>(1.0 / std::sqrt(static_cast<double>(c_.width)));
  pool_.ParallelFor(n, RowGrain(layers * p), [&](int64_t b, int64_t e, int) {
    for (int64_t r = b; r < e; ++r) {
      float* y = out + r * ple_stride();
      for (int64_t i = 0; i < layers * p; ++i) y[i] *= root;
      for (int64_t l = 0; l < layers; ++l)
        k_.rms_norm(y + l * p, w_.ple_norm.data(), y + l * p, p, c_.eps);
    }
  });
}

Status Step::AddTableRows(int64_t row_begin, int64_t n, int first_layer, int end_layer) {
  const int64_t p = c_.ple_width;
  float* buffers = scratch_.Get(Scratch::kPleTable, pool_.threads() * ple_stride());
  const double root_p = std::sqrt(static_cast<double>(p)), root_half = std::sqrt(0.5);
  return TryRows(row_begin, row_begin + n, 8, [&](int64_t r, int thread) -> Status {
    float* table = buffers + thread * ple_stride();
    int32_t id = Id(r);
    // Soft rows, soft-token ids and ids beyond the table use the row of <pad> (2.3).
    if (Soft(r) || id >= c_.ple_vocab || id == c_.image_token || id == c_.audio_token ||
        id == c_.video_token)
      id = 0;
    CARAT_RETURN_IF_ERROR(w_.ple_table.Read(id, table));
    float* y = ple_ + r * ple_stride();
    for (int64_t j = first_layer * p; j < end_layer * p; ++j)
      y[j] = static_cast<float>((y[j] + table[j] * root_p) * root_half);
    return {};
  });
}

Status Step::PerLayerInputs() {
  if (c_.ple_width == 0) return {};
  ple_ = scratch_.Get(Scratch::kPle, rows() * ple_stride());
  const int own = c_.first_shared();
  PerLayerProjection(w_.ple_projection_own, 0, rows(), 0);
  CARAT_RETURN_IF_ERROR(AddTableRows(0, rows(), 0, own));
  if (own == c_.layers) return {};
  // Layers that share caches run for wanted rows only: neighbours are projected together.
  for (int64_t b = 0; b < rows();) {
    if (!wanted_[b] && !options_.trace) {
      ++b;
      continue;
    }
    int64_t e = b;
    while (e < rows() && (wanted_[e] || options_.trace)) ++e;
    PerLayerProjection(w_.ple_projection_rest, b, e - b, own);
    CARAT_RETURN_IF_ERROR(AddTableRows(b, e - b, own, c_.layers));
    b = e;
  }
  return {};
}

void Step::Rotations() {
  const Scratch::Buffer buffers[2][2] = {{Scratch::kCos0, Scratch::kSin0},
                                         {Scratch::kCos1, Scratch::kSin1}};
  for (int kind = 0; kind < 2; ++kind) {
    const auto& freq = c_.rope[kind].inv_freq;
    const int64_t n = static_cast<int64_t>(freq.size());
    cos_[kind] = scratch_.Get(buffers[kind][0], rows() * n);
    sin_[kind] = scratch_.Get(buffers[kind][1], rows() * n);
    ForRows(n * 16, [&](int64_t r) {
      const float position = static_cast<float>(row_[r].position);
      for (int64_t i = 0; i < n; ++i) {
        // The product is rounded to float32 as in the reference, the sine is not (2.6).
        const double angle = position * freq[i];
        cos_[kind][r * n + i] = static_cast<float>(std::cos(angle));
        sin_[kind][r * n + i] = static_cast<float>(std::sin(angle));
      }
    });
  }
}

// After the last layer that owns a cache, only rows that lead to wanted hidden states matter
// (text-model.md 8.1). Moves them to the front of every buffer that lives on.
void Step::KeepWantedRows() {
  if (options_.trace || wanted_count_ == rows()) return;
  int64_t to = 0;
  for (int64_t r = 0; r < rows(); ++r) {
    if (!wanted_[r]) continue;
    if (to != r) {
      const auto move = [&](float* base, int64_t stride) {
        std::memcpy(base + to * stride, base + r * stride,
                    static_cast<size_t>(stride) * sizeof(float));
      };
      move(x_, c_.width);
      move(h_, c_.width);
      if (ple_) move(ple_, ple_stride());
      for (int kind = 0; kind < 2; ++kind) {
        const int64_t n = static_cast<int64_t>(c_.rope[kind].inv_freq.size());
        move(cos_[kind], n);
        move(sin_[kind], n);
      }
      row_[to] = row_[r];
    }
    ++to;
  }
  row_.resize(static_cast<size_t>(to));
  wanted_.assign(static_cast<size_t>(to), 1);
}

void Step::AttentionBlock(int i) {
  const LayerPlan& plan = c_.plan[i];
  const LayerWeights& l = w_.layers[i];
  const int64_t d = plan.head_dim, kv_width = d * plan.kv_heads, q_width = d * c_.heads;
  const int64_t pairs = static_cast<int64_t>(c_.rope[plan.rope].inv_freq.size());

  ForRows(c_.width, [&](int64_t r) {
    k_.rms_norm(x_ + r * c_.width, l.attn_norm.data(), h_ + r * c_.width, c_.width, c_.eps);
  });
  const auto rotation = [&](int64_t r) {
    return std::pair(cos_[plan.rope] + r * pairs, sin_[plan.rope] + r * pairs);
  };

  float* q = scratch_.Get(Scratch::kQ, rows() * q_width);
  std::vector<LinearOutput> outputs;
  const bool last = i == last_owner_ && !options_.trace && wanted_count_ < rows();
  if (!last) outputs.push_back({&l.q, q, q_width});
  if (plan.owns_kv) {
    float* k = scratch_.Get(Scratch::kK, rows() * kv_width);
    float* v = scratch_.Get(Scratch::kV, rows() * kv_width);
    outputs.push_back({&l.k, k, kv_width});
    if (!plan.k_eq_v) outputs.push_back({&l.v, v, kv_width});
    Project(h_, c_.width, outputs);
    outputs.clear();
    ForRows(4 * kv_width, [&](int64_t r) {
      const auto [cos, sin] = rotation(r);
      KvCache& cache = *spans_[row_[r].span].cache;
      const int64_t block = row_[r].position / kKvBlock;
      const int lane = static_cast<int>(row_[r].position % kKvBlock);
      for (int h = 0; h < plan.kv_heads; ++h) {
        float* key = k + r * kv_width + h * d;
        float* value = v + r * kv_width + h * d;
        if (plan.k_eq_v) std::memcpy(value, key, static_cast<size_t>(d) * sizeof(float));
        if (c_.value_norm) k_.rms_norm(value, nullptr, value, d, c_.eps);
        k_.norm_rope(key, l.k_norm.data(), d, c_.eps, cos, sin, pairs, 1.0f);
        k_.store_kv(key, value, d, lane, cache.Block(i, h, block));
      }
    });
    if (last) {
      KeepWantedRows();
      if (rows() == 0) return;
      outputs.push_back({&l.q, q, q_width});
    }
  }
  if (!outputs.empty()) Project(h_, c_.width, outputs);

  ForRows(2 * q_width, [&](int64_t r) {
    const auto [cos, sin] = rotation(r);
    for (int h = 0; h < c_.heads; ++h)
      k_.norm_rope(q + r * q_width + h * d, l.q_norm.data(), d, c_.eps, cos, sin, pairs,
                   c_.attention_scale);
  });

  float* attn = scratch_.Get(Scratch::kAttn, rows() * q_width);
  Attend(w_, pool_, scratch_, spans_, row_, i, q, attn);
  float* branch = scratch_.Get(Scratch::kBranch, rows() * c_.width);
  const LinearOutput o{&l.o, branch, c_.width};
  Project(attn, q_width, {&o, 1});
  ForRows(c_.width, [&](int64_t r) {
    k_.add_norm(x_ + r * c_.width, branch + r * c_.width, l.post_attn_norm.data(), c_.width, c_.eps,
                1.0f);
  });
}

void Step::MlpBlock(int i) {
  const LayerPlan& plan = c_.plan[i];
  const LayerWeights& l = w_.layers[i];
  const int64_t f = plan.ff_width;
  ForRows(c_.width, [&](int64_t r) {
    k_.rms_norm(x_ + r * c_.width, l.ffn_norm.data(), h_ + r * c_.width, c_.width, c_.eps);
  });
  float* gate = scratch_.Get(Scratch::kGate, rows() * f);
  float* up = scratch_.Get(Scratch::kUp, rows() * f);
  const LinearOutput outputs[] = {{&l.gate, gate, f}, {&l.up, up, f}};
  Project(h_, c_.width, outputs);
  pool_.ParallelFor(rows(), RowGrain(4 * f), [&](int64_t b, int64_t e, int) {
    k_.gelu_mul(gate + b * f, up + b * f, gate + b * f, (e - b) * f);
  });
  float* branch = scratch_.Get(Scratch::kBranch, rows() * c_.width);
  const LinearOutput down{&l.down, branch, c_.width};
  Project(gate, f, {&down, 1});

  if (!l.expert_gate.empty()) {
    ExpertRouting* routing = nullptr;
    ExpertRouting recorded;
    if (options_.trace) routing = &recorded;
    const float* sum = RunExperts(w_, pool_, scratch_, i, x_, rows(), routing);
    ForRows(2 * c_.width, [&](int64_t r) {
      float* m = branch + r * c_.width;
      k_.rms_norm(m, l.post_ffn_norm_1.data(), m, c_.width, c_.eps);
      k_.add_norm(m, sum + r * c_.width, l.post_ffn_norm_2.data(), c_.width, c_.eps, 1.0f);
    });
    if (routing) {
      options_.trace->experts[i] = std::move(recorded.experts);
      options_.trace->expert_weights[i] = std::move(recorded.weights);
    }
  }
  const float scale = c_.ple_width > 0 ? 1.0f : l.layer_scale;
  ForRows(c_.width, [&](int64_t r) {
    k_.add_norm(x_ + r * c_.width, branch + r * c_.width, l.post_ffn_norm.data(), c_.width, c_.eps,
                scale);
  });
}

void Step::PleBlock(int i) {
  const LayerWeights& l = w_.layers[i];
  const int64_t p = c_.ple_width;
  float* z = scratch_.Get(Scratch::kPleGate, rows() * p);
  const LinearOutput gate{&l.ple_gate, z, p};
  Project(x_, c_.width, {&gate, 1});
  ForRows(4 * p, [&](int64_t r) {
    k_.gelu_mul(z + r * p, ple_ + r * ple_stride() + i * p, z + r * p, p);
  });
  float* branch = scratch_.Get(Scratch::kBranch, rows() * c_.width);
  const LinearOutput out{&l.ple_out, branch, c_.width};
  Project(z, p, {&out, 1});
  ForRows(c_.width, [&](int64_t r) {
    k_.add_norm(x_ + r * c_.width, branch + r * c_.width, l.ple_post_norm.data(), c_.width, c_.eps,
                l.layer_scale);
  });
}

void Step::Layer(int i) {
  AttentionBlock(i);
  if (rows() == 0) return;
  MlpBlock(i);
  if (c_.ple_width > 0) PleBlock(i);
}

void Step::Record(int i) {
  if (options_.trace) options_.trace->hidden[i].assign(x_, x_ + rows() * c_.width);
}

Result<std::span<const float>> Step::Run() {
  LayOutRows();
  CARAT_CHECK(rows() > 0);
  CARAT_RETURN_IF_ERROR(Embed());
  CARAT_RETURN_IF_ERROR(PerLayerInputs());
  Rotations();
  for (const StepSpan& span : spans_) span.cache->Reserve(static_cast<int64_t>(span.ids.size()));
  if (options_.trace) {
    options_.trace->hidden.resize(static_cast<size_t>(c_.layers) + 1);
    options_.trace->experts.resize(static_cast<size_t>(c_.layers));
    options_.trace->expert_weights.resize(static_cast<size_t>(c_.layers));
    if (ple_) options_.trace->ple.assign(ple_, ple_ + rows() * ple_stride());
  }
  Record(0);
  for (int i = 0; i < c_.layers && rows() > 0; ++i) {
    if (options_.cancel && options_.cancel->cancelled()) return Cancelled();
    Layer(i);
    Record(i + 1);
  }
  for (const StepSpan& span : spans_) span.cache->Advance(static_cast<int64_t>(span.ids.size()));

  float* out = scratch_.Get(Scratch::kWanted, std::max<int64_t>(wanted_count_, 1) * c_.width);
  int64_t to = 0;
  for (int64_t r = 0; r < rows(); ++r) {
    if (!wanted_[r]) continue;
    k_.rms_norm(x_ + r * c_.width, w_.output_norm.data(), out + to * c_.width, c_.width, c_.eps);
    ++to;
  }
  return std::span<const float>(out, static_cast<size_t>(to * c_.width));
}

}  // namespace

Result<std::span<const float>> Forward(const Weights& weights, ThreadPool& pool, Scratch& scratch,
                                       std::span<const StepSpan> spans,
                                       const StepOptions& options) {
  return Step(weights, pool, scratch, spans, options).Run();
}

void Logits(const Weights& weights, ThreadPool& pool, Scratch& scratch,
            std::span<const float> hidden, float* logits) {
  const Config& c = weights.config;
  const int64_t n = static_cast<int64_t>(hidden.size()) / c.width;
  const LinearOutput out{&weights.output, logits, c.vocab};
  Apply(pool, scratch.linear(), hidden.data(), c.width, n, {&out, 1});
  if (c.softcap <= 0) return;
  pool.ParallelFor(n * c.vocab, kGrainFloats, [&](int64_t b, int64_t e, int) {
    weights.kernels->softcap(logits + b, e - b, c.softcap);
  });
}

}  // namespace carat
