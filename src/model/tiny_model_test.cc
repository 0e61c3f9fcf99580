// SPDX-License-Identifier: Apache-2.0
// Builds the models of tiny_model_for_test.h.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/mapped_file.h"
#include "base/rng.h"
#include "model/tiny_model_for_test.h"
#include "tensor/half.h"

namespace carat {
namespace {

class Builder {
 public:
  explicit Builder(TinyModel* model) : model_(model) {}

  double Uniform() { return 2 * CounterUniform(17, 3, counter_++) - 1; }

  std::vector<float> Norm(int64_t n) {
    std::vector<float> v(static_cast<size_t>(n));
    for (float& x : v) x = static_cast<float>(1 + 0.3 * Uniform());
    return v;
  }

  std::shared_ptr<std::vector<std::byte>> Bytes(DType type, int64_t rows, int64_t cols) {
    const size_t size = static_cast<size_t>(rows) * *RowBytes(type, static_cast<uint64_t>(cols));
    auto bytes = std::make_shared<std::vector<std::byte>>(size);
    const double sigma = 1.5 / std::sqrt(static_cast<double>(cols));
    if (type == DType::kF32 || type == DType::kBF16) {
      const size_t width = type == DType::kF32 ? 4 : 2;
      for (size_t i = 0; i < size / width; ++i) {
        const float x = static_cast<float>(sigma * Uniform());
        const uint16_t half = FloatToBf16(x);
        std::memcpy(
            bytes->data() + i * width,
            type == DType::kF32 ? static_cast<const void*>(&x) : static_cast<const void*>(&half),
            width);
      }
      return bytes;
    }
    for (size_t i = 0; i < size; i += 8) {
      const uint64_t r = CounterRandom(17, 4, counter_++);
      std::memcpy(bytes->data() + i, &r, std::min<size_t>(8, size - i));
    }
    // Random codes under scales that give the values a sane size.
    const size_t block = Info(type).block_bytes;
    const auto put = [&](size_t at, double x) {
      const uint16_t h = FloatToF16(static_cast<float>(x));
      std::memcpy(bytes->data() + at, &h, 2);
    };
    for (size_t at = 0; at < size; at += block) {
      const double s = sigma * (1 + 0.3 * Uniform());
      if (type == DType::kQ4_0) put(at, s / 5);
      if (type == DType::kQ8_0) put(at, s / 74);
      if (type == DType::kQ4_K) put(at, s / 300), put(at + 2, s / 40);
      if (type == DType::kQ6_K) put(at + 208, s / 1400);
    }
    return bytes;
  }

  MatrixView Matrix(DType type, int64_t rows, int64_t cols) {
    auto bytes = Bytes(type, rows, cols);
    model_->storage.push_back(bytes);
    return {type, bytes->data(), rows, cols};
  }

  RowTable Table(DType type, int64_t rows, int64_t cols) {
    auto bytes = Bytes(type, rows, cols);
    model_->tensors.files.push_back(MappedFile::FromBytes(*bytes, "table"));
    return {model_->tensors.files.back(), 0, type, rows, cols};
  }

 private:
  TinyModel* model_;
  uint64_t counter_ = 0;
};

RopePlan Rope(int dim, double theta, int pairs) {
  RopePlan rope;
  for (int i = 0; i < pairs; ++i)
    rope.inv_freq.push_back(static_cast<float>(std::pow(theta, -2.0 * i / dim)));
  return rope;
}

}  // namespace

TinyModel MakeTinyModel(const TinyOptions& options) {
  TinyModel model;
  Config& c = model.config;
  ModelTensors& t = model.tensors;
  Builder b(&model);
  const bool gemma3 = options.kind == TinyOptions::kGemma3;
  const bool e2b = options.kind == TinyOptions::kE2b;
  const bool moe = options.kind == TinyOptions::kMoe;
  c.family = gemma3 ? Family::kGemma3 : Family::kGemma4;
  c.file = "tiny";
  c.width = 256;
  c.heads = 4;
  c.vocab = c.ple_vocab = options.vocab;
  c.window = options.window;
  c.context = 131072;
  c.softcap = gemma3 ? 0 : 30;
  c.ple_width = e2b ? 256 : 0;
  c.embedding_scale = 16;
  c.value_norm = !gemma3;
  c.vision_blocks = !e2b;
  c.vision_blocks_global = gemma3;
  c.attention_scale = gemma3 ? 0.125f : 1;
  const std::vector<bool> sliding =
      e2b ? std::vector<bool>{1, 1, 0, 1, 0} : std::vector<bool>{1, 0, 1, 1};
  c.layers = static_cast<int>(sliding.size());
  const int local = 64, global = gemma3 ? 64 : 128;
  c.rope[0] = Rope(local, 1e4, local / 2);
  c.rope[1] = gemma3 ? Rope(global, 1e6, global / 2) : Rope(global, 1e6, global / 8);
  if (moe) {
    c.experts = 6;
    c.experts_used = 2;
    c.expert_ff = 256;
  }
  const DType m = options.dtype;
  t.embedding = b.Table(m, c.vocab, c.width);
  {
    // Tied: the same values as the table.
    const auto bytes = t.embedding.file->bytes();
    model.storage.push_back(std::make_shared<std::vector<std::byte>>(bytes.begin(), bytes.end()));
    t.output = {m, model.storage.back()->data(), c.vocab, c.width};
  }
  t.output_norm = b.Norm(c.width);
  if (e2b) {
    t.ple_table = b.Table(m, c.ple_vocab, int64_t{c.layers} * c.ple_width);
    t.ple_projection = b.Matrix(DType::kBF16, int64_t{c.layers} * c.ple_width, c.width);
    t.ple_norm = b.Norm(c.ple_width);
  }
  for (int i = 0; i < c.layers; ++i) {
    LayerPlan p;
    p.sliding = sliding[i];
    p.head_dim = p.sliding ? local : global;
    p.kv_heads = e2b ? 1 : (p.sliding || gemma3 ? 2 : 1);
    p.owns_kv = !e2b || i < 3;
    p.kv_layer = p.owns_kv ? i : (p.sliding ? 1 : 2);
    p.k_eq_v = !e2b && !gemma3 && !p.sliding;
    p.ff_width = e2b && !p.owns_kv ? 512 : 256;
    p.rope = p.sliding ? 0 : 1;
    c.plan.push_back(p);
    LayerTensors l;
    const int64_t d = p.head_dim;
    l.attn_norm = b.Norm(c.width);
    l.q_norm = b.Norm(d);
    l.q = b.Matrix(m, d * c.heads, c.width);
    if (p.owns_kv) {
      l.k_norm = b.Norm(d);
      l.k = b.Matrix(m, d * p.kv_heads, c.width);
      if (!p.k_eq_v) l.v = b.Matrix(m, d * p.kv_heads, c.width);
    }
    l.o = b.Matrix(m, c.width, d * c.heads);
    l.post_attn_norm = b.Norm(c.width);
    l.ffn_norm = b.Norm(c.width);
    l.gate = b.Matrix(m, p.ff_width, c.width);
    l.up = b.Matrix(m, p.ff_width, c.width);
    l.down = b.Matrix(m, c.width, p.ff_width);
    l.post_ffn_norm = b.Norm(c.width);
    if (!gemma3) l.layer_scale = static_cast<float>(0.8 + 0.2 * b.Uniform());
    if (e2b) {
      l.ple_gate = b.Matrix(m, c.ple_width, c.width);
      l.ple_out = b.Matrix(m, c.width, c.ple_width);
      l.ple_post_norm = b.Norm(c.width);
    }
    if (moe) {
      l.router = b.Matrix(DType::kF32, c.experts, c.width);
      l.router_scale = b.Norm(c.width);
      for (float& x : l.router_scale) x *= 16;
      l.expert_scale = b.Norm(c.experts);
      for (int e = 0; e < c.experts; ++e) {
        l.expert_gate.push_back(b.Matrix(m, c.expert_ff, c.width));
        l.expert_up.push_back(b.Matrix(m, c.expert_ff, c.width));
        l.expert_down.push_back(b.Matrix(m, c.width, c.expert_ff));
      }
      l.post_ffn_norm_1 = b.Norm(c.width);
      l.pre_ffn_norm_2 = b.Norm(c.width);
      l.post_ffn_norm_2 = b.Norm(c.width);
    }
    t.layers.push_back(std::move(l));
  }
  return model;
}

}  // namespace carat
