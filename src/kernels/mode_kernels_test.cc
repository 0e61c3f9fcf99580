// SPDX-License-Identifier: Apache-2.0
// The exact set and the fast set of every instruction set that runs here, against plain loops in
// double; then the rules about bits. Attention is in mode_attention_test.cc.
#include "kernels/mode_kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "kernels/dispatch.h"
#include "tensor/half.h"

namespace carat {
namespace {

const std::vector<int64_t> kSizes = {1,   2,   3,   7,   8,   15,  16,   17,   31,   32,
                                     33,  48,  63,  64,  65,  80,  96,   100,  127,  128,
                                     129, 200, 256, 257, 512, 704, 1000, 1536, 2112, 5376};

struct Set {
  std::string name;
  const ModeKernels* k;
};

std::vector<Set> Sets() {
  std::vector<Set> sets = {{"exact", &ExactKernels()}};
  for (const KernelTable* t : Runnable()) sets.push_back({t->isa, &t->mode});
  return sets;
}

std::vector<float> Random(int64_t n, uint32_t seed, float scale = 1) {
  std::mt19937 gen(seed);
  std::normal_distribution<float> dist(0, scale);
  std::vector<float> v(static_cast<size_t>(n));
  for (float& x : v) x = dist(gen);
  return v;
}

// A copy whose address is `offset` floats past an aligned one, with guards at both ends.
class Shifted {
 public:
  Shifted(const std::vector<float>& v, int offset) : size_(v.size()), offset_(offset) {
    store_.assign(v.size() + 40, kGuard);
    std::copy(v.begin(), v.end(), store_.begin() + 16 + offset);
  }
  float* data() { return store_.data() + 16 + offset_; }
  std::vector<float> values() const {
    return {store_.begin() + 16 + offset_, store_.end() - 24 + offset_};
  }
  void ExpectGuards() const {
    for (size_t i = 0; i < store_.size(); ++i) {
      if (i < 16u + offset_ || i >= 16u + offset_ + size_) {
        ASSERT_EQ(store_[i], kGuard) << "at " << i;
      }
    }
  }

 private:
  static constexpr float kGuard = 12345.5f;
  size_t size_;
  int offset_;
  std::vector<float> store_;
};

// |got - want| <= tolerance |want|, element by element.
void ExpectRelative(const std::vector<float>& got, const std::vector<double>& want,
                    double tolerance, const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_LE(std::abs(got[i] - want[i]), tolerance * std::abs(want[i]) + 1e-36)
        << what << " element " << i << " got " << got[i] << " want " << want[i];
  }
}

double Tolerance(const Set& s) { return s.name == "exact" ? 6.1e-8 : 1e-5; }

double Gelu(double v) {
  const double u = std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v);
  return 0.5 * v * (1 + std::tanh(u));
}

std::vector<double> Norm(const std::vector<float>& x, const std::vector<float>& w, double eps) {
  double sum = 0;
  for (float v : x) sum += static_cast<double>(v) * v;
  const double inv = 1 / std::sqrt(sum / static_cast<double>(x.size()) + eps);
  std::vector<double> y(x.size());
  for (size_t i = 0; i < x.size(); ++i) y[i] = x[i] * inv * (w.empty() ? 1.0 : w[i]);
  return y;
}

void ForSetsAndSizes(const std::function<void(const Set&, int64_t, int, const std::string&)>& f) {
  for (const Set& s : Sets()) {
    for (int64_t n : kSizes) {
      for (int offset : {0, 1, 3}) {
        f(s, n, offset, s.name + " n=" + std::to_string(n) + " offset=" + std::to_string(offset));
      }
    }
  }
}

TEST(ModeKernels, TablesHaveEveryKernelAndTheirElementSize) {
  for (const Set& s : Sets()) {
    SCOPED_TRACE(s.name);
    EXPECT_TRUE(s.k->rms_norm && s.k->add_norm && s.k->gelu_mul && s.k->norm_rope && s.k->softcap &&
                s.k->attention && s.k->store_kv);
    EXPECT_EQ(s.k->kv_element_bytes, s.name == "exact" ? 4 : 2);
  }
}

TEST(ModeKernels, RmsNormMatchesDouble) {
  ForSetsAndSizes([](const Set& s, int64_t n, int offset, const std::string& what) {
    const auto x = Random(n, 1, 3), w = Random(n, 2);
    Shifted xs(x, offset), ws(w, 2 * offset), y(x, offset + 1);
    s.k->rms_norm(xs.data(), ws.data(), y.data(), n, 1e-6f);
    ExpectRelative(y.values(), Norm(x, w, 1e-6f), Tolerance(s), what);
    y.ExpectGuards();
    s.k->rms_norm(xs.data(), nullptr, xs.data(), n, 1e-6f);  // in place, no weight
    ExpectRelative(xs.values(), Norm(x, {}, 1e-6f), Tolerance(s), what + " in place");
    xs.ExpectGuards();
  });
}

TEST(ModeKernels, RmsNormOfTinyAndLargeRowsStaysFinite) {
  for (const Set& s : Sets()) {
    for (float scale : {0.0f, 1e-18f, 1e15f}) {
      const std::vector<float> x(100, scale);
      std::vector<float> y(100);
      s.k->rms_norm(x.data(), nullptr, y.data(), 100, 1e-6f);
      ExpectRelative(y, Norm(x, {}, 1e-6f), Tolerance(s), s.name);
    }
  }
}

TEST(ModeKernels, AddNormMatchesDouble) {
  ForSetsAndSizes([](const Set& s, int64_t n, int offset, const std::string& what) {
    // All positive, so that the sum does not cancel.
    auto x = Random(n, 3, 10), a = Random(n, 4, 3), w = Random(n, 5);
    for (auto* v : {&x, &a, &w})
      for (float& e : *v) e = std::abs(e);
    Shifted xs(x, offset), as(a, 1), ws(w, 2);
    s.k->add_norm(xs.data(), as.data(), ws.data(), n, 1e-6f, 0.0894f);
    auto want = Norm(a, w, 1e-6f);
    for (int64_t i = 0; i < n; ++i) want[i] = (x[i] + want[i]) * 0.0894f;
    ExpectRelative(xs.values(), want, Tolerance(s), what);
    xs.ExpectGuards();
  });
}

TEST(ModeKernels, GeluMulMatchesDouble) {
  ForSetsAndSizes([](const Set& s, int64_t n, int offset, const std::string& what) {
    auto gate = Random(n, 6, 2);
    const auto up = Random(n, 7);
    for (float& g : gate) g = std::max(g, -4.0f);
    Shifted gs(gate, offset), us(up, 1), y(up, 2);
    s.k->gelu_mul(gs.data(), us.data(), y.data(), n);
    std::vector<double> want(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i) want[i] = Gelu(gate[i]) * up[i];
    ExpectRelative(y.values(), want, Tolerance(s), what);
    y.ExpectGuards();
    s.k->gelu_mul(gs.data(), us.data(), us.data(), n);  // y may be up
    ExpectRelative(us.values(), want, Tolerance(s), what + " in place");
  });
}

TEST(ModeKernels, GeluIsRightFromTinyToHuge) {
  std::vector<float> x = {0,     1e-38f, 1e-30f, 1e-10f, 1e-3f, 0.1f,  0.5f, 1,  3,
                          5,     6,      7,      8,      9,     9.9f,  10,   11, 14.9f,
                          88.0f, 1e4f,   1e10f,  1e13f,  1e19f, 1e30f, 3e38f};
  for (size_t i = 0, n = x.size(); i < n; ++i) x.push_back(-x[i]);
  for (float v = -4; v < 4; v += 0.01f) x.push_back(v);
  const std::vector<float> ones(x.size(), 1.0f);
  for (const Set& s : Sets()) {
    std::vector<float> y(x.size());
    s.k->gelu_mul(x.data(), ones.data(), y.data(), static_cast<int64_t>(x.size()));
    for (size_t i = 0; i < x.size(); ++i) {
      const double v = x[i];
      // 0.5 v (1 + tanh u), free of cancellation.
      const double u = std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v);
      const double want = v / (1 + std::exp(-2 * u));
      // The exponent's rounding is multiplied by its size at negative v.
      const double exponent = v < 0 ? std::min(-2 * u, 200.0) : 0;
      const double tolerance = s.name == "exact" ? 1e-6 : 1e-6 + 2.5e-7 * exponent;
      ASSERT_TRUE(std::isfinite(y[i])) << s.name << " gelu(" << v << ")";
      // The oracle set follows the tanh form, whose cancellation leaves 1e-16 |v|.
      const double floor = s.name == "exact" ? 1e-15 * std::min(-v, 1e3) : 0;
      EXPECT_LE(std::abs(y[i] - want), tolerance * std::abs(want) + std::max(floor, 1e-36))
          << s.name << " gelu(" << v << ") = " << y[i] << ", not " << want;
    }
  }
}

TEST(ModeKernels, NormRopeMatchesDouble) {
  struct Case {
    int64_t d, pairs;
  };
  for (const Set& s : Sets()) {
    for (Case c : {Case{2, 1},
                   {8, 4},
                   {8, 1},
                   {16, 8},
                   {16, 3},
                   {32, 4},
                   {80, 40},
                   {80, 10},
                   {96, 48},
                   {96, 12},
                   {128, 64},
                   {256, 128},
                   {512, 64},
                   {512, 0}}) {
      for (bool weighted : {true, false}) {
        for (int offset : {0, 1}) {
          const auto x = Random(c.d, 8, 5);
          const auto w = weighted ? Random(c.d, 9) : std::vector<float>{};
          std::vector<float> cos, sin;
          for (int64_t i = 0; i < c.pairs; ++i) {
            cos.push_back(static_cast<float>(std::cos(0.7 * static_cast<double>(i) + 0.3)));
            sin.push_back(static_cast<float>(std::sin(0.7 * static_cast<double>(i) + 0.3)));
          }
          Shifted xs(x, offset);
          s.k->norm_rope(xs.data(), weighted ? w.data() : nullptr, c.d, 1e-6f, cos.data(),
                         sin.data(), c.pairs, 0.125f);
          xs.ExpectGuards();
          const auto norm = Norm(x, w, 1e-6f);
          const auto got = xs.values();
          for (int64_t i = 0; i < c.d / 2; ++i) {
            const double a = norm[i], b = norm[i + c.d / 2];
            const double co = i < c.pairs ? cos[i] : 1, si = i < c.pairs ? sin[i] : 0;
            // A rotation's error goes with the length of the pair.
            const double tolerance = Tolerance(s) * std::hypot(a, b) * 0.125 + 1e-36;
            ASSERT_NEAR(got[i], (a * co - b * si) * 0.125, tolerance) << s.name << " d=" << c.d;
            ASSERT_NEAR(got[i + c.d / 2], (b * co + a * si) * 0.125, tolerance)
                << s.name << " d=" << c.d << " pairs=" << c.pairs << " i=" << i;
          }
        }
      }
    }
  }
}

TEST(ModeKernels, SoftcapMatchesDouble) {
  ForSetsAndSizes([](const Set& s, int64_t n, int offset, const std::string& what) {
    auto x = Random(n, 10, 40);
    const float special[] = {0.0f, 1e-38f, -1e-20f, 1e-7f, 0.01f, -10.4f, 1e4f, -1e30f, 3e38f};
    for (size_t i = 0; i < std::min<size_t>(x.size(), std::size(special)); ++i) x[i] = special[i];
    Shifted xs(x, offset);
    s.k->softcap(xs.data(), n, 30.0f);
    std::vector<double> want(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i) want[i] = 30 * std::tanh(x[i] / 30.0);
    ExpectRelative(xs.values(), want, s.name == "exact" ? 6.1e-8 : 1e-6, what);
    xs.ExpectGuards();
  });
}

TEST(ModeKernels, SoftcapIsMonotonic) {
  for (const Set& s : Sets()) {
    std::vector<float> x;
    for (float v = -120; v < 120; v += 0.037f) x.push_back(v);
    s.k->softcap(x.data(), static_cast<int64_t>(x.size()), 30.0f);
    for (size_t i = 1; i < x.size(); ++i) ASSERT_LE(x[i - 1], x[i]) << s.name;
  }
}

// A damaged weight must show in the logits.
TEST(ModeKernels, WhatIsNoNumberStaysNone) {
  for (const Set& s : Sets()) {
    for (int64_t n : {1, 16, 21}) {
      for (int64_t at = 0; at < n; ++at) {
        const auto finite = Random(n, 15, 5);
        auto x = finite, y = finite;
        x[at] = NAN;
        s.k->gelu_mul(x.data(), finite.data(), y.data(), n);
        auto capped = x;
        s.k->softcap(capped.data(), n, 30);
        for (int64_t i = 0; i < n; ++i) {
          EXPECT_EQ(std::isnan(y[i]), i == at) << s.name << " gelu " << i;
          EXPECT_EQ(std::isnan(capped[i]), i == at) << s.name << " softcap " << i;
        }
        s.k->rms_norm(x.data(), nullptr, y.data(), n, 1e-6f);
        for (float v : y) EXPECT_TRUE(std::isnan(v)) << s.name << " norm";
      }
    }
  }
}

TEST(ModeKernels, StoreKvWritesOneLaneAndRoundsLikeHalf) {
  for (const Set& s : Sets()) {
    for (int64_t dh : {8, 16, 24, 80, 256}) {
      auto k = Random(dh, 11, 4), v = Random(dh, 12, 1e-5f);  // v: many subnormal halves
      // Ties, the edges of the subnormals, too large, not a number.
      const float special[] = {1 + 0x1p-11f, 1 + 0x3p-11f, 0x1p-24f, 0x1p-25f,
                               -0x1.8p-25f,  65519.0f,     -1e30f,   NAN};
      for (size_t i = 0; i < std::size(special); ++i) {
        k[i] = special[i];
        v[dh - 1 - static_cast<int64_t>(i)] = special[i];
      }
      const auto bytes = static_cast<size_t>(2 * dh * kKvBlock * s.k->kv_element_bytes);
      for (int lane : {0, 5, 15}) {
        std::vector<std::byte> block(bytes, std::byte{0x3A});
        const std::vector<std::byte> before = block;
        s.k->store_kv(k.data(), v.data(), dh, lane, block.data());
        auto expected = before;
        for (int64_t d = 0; d < dh; ++d) {
          const int64_t ki = d * kKvBlock + lane;
          const int64_t vat = dh * kKvBlock + lane * dh + d;
          if (s.k->kv_element_bytes == 4) {
            std::memcpy(expected.data() + 4 * ki, &k[d], 4);
            std::memcpy(expected.data() + 4 * vat, &v[d], 4);
          } else {
            const auto half = [](float f) {
              if (std::isnan(f)) f = 65504;
              return FloatToF16(std::min(std::max(f, -65504.0f), 65504.0f));
            };
            const uint16_t hk = half(k[d]), hv = half(v[d]);
            std::memcpy(expected.data() + 2 * ki, &hk, 2);
            std::memcpy(expected.data() + 2 * vat, &hv, 2);
          }
        }
        ASSERT_EQ(block, expected) << s.name << " dh=" << dh << " lane=" << lane;
      }
    }
  }
}

// Only IEEE operations in fixed lanes: sets with the same multiply-add agree.
TEST(ModeKernels, InstructionSetsWithFmaGiveTheSameBits) {
  const ModeKernels* first = nullptr;
  std::vector<float> want;
  for (const KernelTable* t : Runnable()) {
    if (std::string(t->isa) == "scalar") continue;
    std::vector<float> all;
    for (int64_t n : {8, 80, 1536, 2113}) {
      auto x = Random(n, 13, 5), w = Random(n, 14);
      std::vector<float> y(x.size());
      t->mode.rms_norm(x.data(), w.data(), y.data(), n, 1e-6f);
      all.insert(all.end(), y.begin(), y.end());
      t->mode.gelu_mul(x.data(), w.data(), y.data(), n);
      all.insert(all.end(), y.begin(), y.end());
      t->mode.softcap(x.data(), n, 30);
      all.insert(all.end(), x.begin(), x.end());
    }
    if (first) {
      EXPECT_EQ(std::memcmp(all.data(), want.data(), all.size() * 4), 0) << t->isa;
    }
    first = &t->mode;
    want = all;
  }
  if (!first) GTEST_SKIP() << "no instruction set with a fused multiply-add here";
}

}  // namespace
}  // namespace carat
