// SPDX-License-Identifier: Apache-2.0
// The exact set against published values and hand-made cases; mode_kernels_test.cc sweeps it over
// sizes together with the fast sets.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/mode_kernels.h"

namespace carat {
namespace {

TEST(ExactKernels, GeluHasTheValuesOfTheSpecification) {
  const std::vector<float> x = {-3, -1, -0.5f, 0.5f, 1, 3};
  const std::vector<double> want = {-0.003637392, -0.158808009, -0.154285990,
                                    0.345714010,  0.841191991,  2.996362608};
  const std::vector<float> ones(x.size(), 1.0f);
  std::vector<float> y(x.size());
  ExactKernels().gelu_mul(x.data(), ones.data(), y.data(), static_cast<int64_t>(x.size()));
  for (size_t i = 0; i < x.size(); ++i)
    EXPECT_NEAR(y[i], want[i], 6e-8 * std::abs(want[i]) + 6e-10);
}

TEST(ExactKernels, RmsNormPutsEpsInsideTheRoot) {
  const float x[2] = {3e-3f, 4e-3f}, w[2] = {2, -1};
  float y[2];
  ExactKernels().rms_norm(x, w, y, 2, 1e-6f);
  const double root = std::sqrt(12.5e-6 + 1e-6);
  EXPECT_NEAR(y[0], 6e-3 / root, 1e-6);
  EXPECT_NEAR(y[1], -4e-3 / root, 1e-6);
}

TEST(ExactKernels, NormRopeRotatesTheFirstPairsOnlyAndScalesAll) {
  // All of magnitude 1, so the norm changes nothing; pair 0 = (0, 4) turns by 90 degrees.
  float head[8] = {1, -1, 1, 1, -1, 1, -1, 1};
  const float cos[1] = {0}, sin[1] = {1};
  ExactKernels().norm_rope(head, nullptr, 8, 0, cos, sin, 1, 2);
  const float want[8] = {2, -2, 2, 2, 2, 2, -2, 2};
  for (int i = 0; i < 8; ++i) EXPECT_FLOAT_EQ(head[i], want[i]) << i;
}

TEST(ExactKernels, AttentionOverOnePositionCopiesItsValue) {
  const int dh = 8;
  std::vector<std::byte> block(2 * dh * kKvBlock * sizeof(float));
  std::vector<float> k(dh, 3), v(dh), q(dh, 1e4f), out(dh);
  for (int d = 0; d < dh; ++d) v[d] = 0.1f * static_cast<float>(d);
  ExactKernels().store_kv(k.data(), v.data(), dh, 5, block.data());
  const float* qp = q.data();
  float* op = out.data();
  const std::byte* bp = block.data();
  const int64_t position = 37 * kKvBlock + 5;
  AttentionTile tile;
  tile.rows = 1;
  tile.dh = dh;
  tile.q = &qp;
  tile.out = &op;
  tile.first = &position;
  tile.last = &position;
  tile.blocks = &bp;
  tile.first_block = 37;
  tile.block_count = 1;
  alignas(64) float scores[kKvBlock];
  tile.scores = scores;
  ExactKernels().attention(tile);
  EXPECT_EQ(out, v);
}

}  // namespace
}  // namespace carat
