// SPDX-License-Identifier: Apache-2.0
#include "ops/linear.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "base/rng.h"
#include "tensor/dequant.h"

namespace carat {
namespace {

std::vector<DType> WeightTypes() {
  std::vector<DType> types;
  for (int i = 0; i <= static_cast<int>(DType::kF6_E3M2); ++i)
    if (IsWeight(DType(i))) types.push_back(DType(i));
  return types;
}

struct Matrix {
  DType dtype;
  int64_t rows, cols, row_bytes;
  std::vector<std::byte> data;

  MatrixView view() const { return {dtype, data.data(), rows, cols, 1}; }
};

// Random bytes, block by block until all values of the block are moderate: any block that a file
// may hold, except those with absurd scales.
Matrix RandomMatrix(DType dtype, int64_t rows, int64_t cols, uint64_t seed) {
  Matrix m{dtype, rows, cols, static_cast<int64_t>(*RowBytes(dtype, cols)), {}};
  const DTypeInfo& info = Info(dtype);
  m.data.resize(static_cast<size_t>(rows * m.row_bytes));
  uint64_t counter = 0;
  std::vector<float> values(info.block_elems);
  for (size_t at = 0; at < m.data.size(); at += info.block_bytes) {
    for (bool good = false; !good;) {
      for (uint32_t i = 0; i < info.block_bytes; ++i)
        m.data[at + i] = static_cast<std::byte>(CounterRandom(seed, 0, counter++) & 0xFF);
      DequantRow(dtype, &m.data[at], info.block_elems, values.data());
      good = true;
      for (float v : values) good &= std::fabs(v) < 50 && (v == 0 || std::fabs(v) > 1e-9f);
    }
  }
  return m;
}

std::vector<float> RandomFloats(int64_t n, uint64_t seed) {
  std::vector<float> x(static_cast<size_t>(n));
  for (size_t i = 0; i < x.size(); ++i)
    x[i] = static_cast<float>(4 * CounterUniform(seed, 1, i) - 2);
  return x;
}

std::vector<float> Multiply(const Linear& w, const std::vector<float>& x, int64_t t, int threads) {
  ThreadPool pool(threads);
  LinearScratch scratch;
  std::vector<float> y(static_cast<size_t>(t * w.rows()));
  const LinearOutput out{&w, y.data(), w.rows()};
  Apply(pool, scratch, x.data(), w.cols(), t, {&out, 1});
  return y;
}

bool SameBits(const float* a, const float* b, size_t n) {
  return std::memcmp(a, b, n * sizeof(float)) == 0;
}

class LinearOfType : public testing::TestWithParam<std::tuple<DType, NumericMode>> {
 protected:
  DType dtype() const { return std::get<0>(GetParam()); }
  NumericMode mode() const { return std::get<1>(GetParam()); }
  ThreadPool pool_{2};
};

TEST_P(LinearOfType, IsCloseToTheSumInDouble) {
  const Matrix m = RandomMatrix(dtype(), 37, 512, 5);
  const Linear w = Linear::Prepare(m.view(), mode(), pool_);
  const int64_t t = 11;
  const auto x = RandomFloats(t * m.cols, 6);
  const auto y = Multiply(w, x, t, 2);
  std::vector<float> row(static_cast<size_t>(m.cols));
  for (int64_t r = 0; r < m.rows; ++r) {
    DequantRow(m.dtype, &m.data[static_cast<size_t>(r * m.row_bytes)], m.cols, row.data());
    for (int64_t i = 0; i < t; ++i) {
      double sum = 0, size = 0, weight = 0;
      for (int64_t k = 0; k < m.cols; ++k) {
        const double value = row[static_cast<size_t>(k)];
        sum += value * x[static_cast<size_t>(i * m.cols + k)];
        size += std::fabs(value * x[static_cast<size_t>(i * m.cols + k)]);
        weight += std::fabs(value);
      }
      // Exact: one rounding. Float: 2^-24 per step and lane, with ample room. Integers: x is off
      // by half a unit of 2 / 16256 at most; offsets may exceed the values that they shift.
      const double tolerance = mode() == NumericMode::kExact
                                   ? std::fabs(sum) * 0x1p-24 + size * 1e-13
                               : IsFloat(dtype()) ? size * 1e-5
                                                  : weight / 16256 + size * 1e-4;
      ASSERT_NEAR(y[static_cast<size_t>(i * m.rows + r)], sum, tolerance) << r << " " << i;
    }
  }
}

TEST_P(LinearOfType, HasTheSameBitsForEveryTokenCountAndThreadCount) {
  const int64_t cols = IsFloat(dtype()) ? 339 : 768;
  const Matrix m = RandomMatrix(dtype(), 53, cols, 7);
  const Linear w = Linear::Prepare(m.view(), mode(), pool_);
  const int64_t most = 33;
  const auto x = RandomFloats(most * m.cols, 8);
  const auto all = Multiply(w, x, most, 1);
  for (const int64_t t : {1, 2, 3, 4, 5, 7, 8, 9, 17, 33}) {
    for (const int threads : {1, 2, 4}) {
      const auto y = Multiply(w, x, t, threads);
      ASSERT_TRUE(SameBits(y.data(), all.data(), y.size())) << t << " tokens, " << threads;
    }
  }
  for (int64_t i = 0; i < most; i += 5) {  // each row alone
    const std::vector<float> one(x.begin() + i * m.cols, x.begin() + (i + 1) * m.cols);
    const auto y = Multiply(w, one, 1, 2);
    ASSERT_TRUE(SameBits(y.data(), &all[static_cast<size_t>(i * m.rows)], y.size())) << i;
  }
}

TEST_P(LinearOfType, ReadsSourcesOfAnyAlignment) {
  const Matrix m = RandomMatrix(dtype(), 19, 256, 9);
  const auto x = RandomFloats(5 * m.cols, 10);
  const auto expected = Multiply(Linear::Prepare(m.view(), mode(), pool_), x, 5, 1);
  for (const size_t shift : {1, 2, 3}) {
    std::vector<std::byte> moved(m.data.size() + shift);
    std::memcpy(moved.data() + shift, m.data.data(), m.data.size());
    MatrixView view = m.view();
    view.data = moved.data() + shift;
    const auto y = Multiply(Linear::Prepare(view, mode(), pool_), x, 5, 1);
    EXPECT_TRUE(SameBits(y.data(), expected.data(), y.size())) << shift;
  }
}

TEST_P(LinearOfType, AllocatesWhatItSays) {
  const Matrix m = RandomMatrix(dtype(), 21, 256, 11);
  const Linear w = Linear::Prepare(m.view(), mode(), pool_);
  EXPECT_EQ(w.rows(), 21);
  EXPECT_EQ(w.cols(), 256);
  EXPECT_EQ(w.packed(), Linear::PackedBytes(dtype(), 21, 256, mode()) > 0);
  EXPECT_EQ(w.packed(), mode() == NumericMode::kFast && IsQuantized(dtype()));
  LinearScratch scratch;
  const auto x = RandomFloats(9 * m.cols, 12);
  std::vector<float> y(9 * 21);
  const LinearOutput out{&w, y.data(), 21};
  Apply(pool_, scratch, x.data(), m.cols, 9, {&out, 1});
  const uint64_t bytes = scratch.bytes();
  EXPECT_LE(bytes, LinearScratchBytes(9, m.cols, pool_.threads(), mode()));
  Apply(pool_, scratch, x.data(), m.cols, 3, {&out, 1});
  EXPECT_EQ(scratch.bytes(), bytes);
}

std::string TypeAndMode(const testing::TestParamInfo<std::tuple<DType, NumericMode>>& param) {
  const auto [dtype, mode] = param.param;
  return std::string(Name(dtype)) + (mode == NumericMode::kExact ? "_exact" : "_fast");
}

INSTANTIATE_TEST_SUITE_P(All, LinearOfType,
                         testing::Combine(testing::ValuesIn(WeightTypes()),
                                          testing::Values(NumericMode::kExact, NumericMode::kFast)),
                         TypeAndMode);

class LinearGroup : public testing::TestWithParam<NumericMode> {};

TEST_P(LinearGroup, GivesEachOutputWhatItGivesAlone) {
  ThreadPool pool(2);
  const std::vector<DType> types = {DType::kQ4_0, DType::kBF16, DType::kQ6_K,
                                    DType::kF32,  DType::kQ4_K, DType::kQ8_0};
  const std::vector<int64_t> rows = {80, 7, 16, 33, 1, 40};
  std::vector<Matrix> matrices;
  std::vector<Linear> weights;
  for (size_t i = 0; i < types.size(); ++i) {
    matrices.push_back(RandomMatrix(types[i], rows[i], 512, 20 + i));
    weights.push_back(Linear::Prepare(matrices[i].view(), GetParam(), pool));
  }
  for (const int64_t t : {1, 3, 20}) {
    const auto x = RandomFloats(t * 512, 30);
    // Outputs side by side in one buffer; what lies between them stays.
    const int64_t stride = 200;
    std::vector<float> y(static_cast<size_t>(t * stride), -77.f);
    std::vector<LinearOutput> outputs;
    int64_t at = 0;
    for (const Linear& w : weights) {
      outputs.push_back({&w, y.data() + at, stride});
      at += w.rows() + 1;
    }
    LinearScratch scratch;
    Apply(pool, scratch, x.data(), 512, t, outputs);
    at = 0;
    for (const Linear& w : weights) {
      const auto alone = Multiply(w, x, t, 1);
      for (int64_t i = 0; i < t; ++i) {
        const float* row = &y[static_cast<size_t>(i * stride + at)];
        EXPECT_TRUE(SameBits(row, &alone[static_cast<size_t>(i * w.rows())],
                             static_cast<size_t>(w.rows())));
        EXPECT_EQ(row[w.rows()], -77.f);
      }
      at += w.rows() + 1;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Modes, LinearGroup,
                         testing::Values(NumericMode::kExact, NumericMode::kFast));

TEST(Linear, MultipliesByTheMatrixScaleLast) {
  ThreadPool pool(1);
  const auto x = RandomFloats(3 * 256, 41);
  for (const NumericMode mode : {NumericMode::kExact, NumericMode::kFast}) {
    const Matrix m = RandomMatrix(DType::kNVFP4, 20, 256, 40);
    MatrixView view = m.view();
    const auto plain = Multiply(Linear::Prepare(view, mode, pool), x, 3, 1);
    view.scale = 0.25f;
    const auto scaled = Multiply(Linear::Prepare(view, mode, pool), x, 3, 1);
    for (size_t i = 0; i < plain.size(); ++i) EXPECT_EQ(scaled[i], plain[i] * 0.25f);
  }
}

// More columns than one chunk has, and enough rows that a task gets several tiles of tokens.
TEST(Linear, HasTheSameBitsHoweverTheColumnsAreCut) {
  ThreadPool pool(1);
  for (const DType dtype : {DType::kQ4_0, DType::kQ4_1, DType::kQ8_0, DType::kNVFP4}) {
    const int64_t rows = 150, cols = 4416, t = 19;  // two chunks of 2048 and 10 blocks
    const Matrix m = RandomMatrix(dtype, rows, cols, 44);
    MatrixView view = m.view();
    view.scale = 0.75f;
    const Linear w = Linear::Prepare(view, NumericMode::kFast, pool);
    const auto x = RandomFloats(t * cols, 45);
    const auto all = Multiply(w, x, t, 1);
    for (int64_t i = 0; i < t; ++i) {
      const std::vector<float> row(x.begin() + i * cols, x.begin() + (i + 1) * cols);
      const auto y = Multiply(w, row, 1, 1);
      EXPECT_TRUE(SameBits(y.data(), &all[static_cast<size_t>(i * rows)], y.size())) << i;
    }
  }
}

// Tasks get chunks of the tokens then.
TEST(Linear, HasTheSameBitsForManyTokensAndFewRows) {
  const int64_t rows = 24, cols = 256, t = 600;
  ThreadPool pool(3);
  const auto x = RandomFloats(t * cols, 48);
  for (const NumericMode mode : {NumericMode::kExact, NumericMode::kFast}) {
    for (const DType dtype : {DType::kQ4_0, DType::kBF16}) {
      const Matrix m = RandomMatrix(dtype, rows, cols, 49);
      const Linear w = Linear::Prepare(m.view(), mode, pool);
      const auto all = Multiply(w, x, t, 3);
      for (int64_t i = 0; i < t; ++i) {
        const std::vector<float> row(x.begin() + i * cols, x.begin() + (i + 1) * cols);
        const auto y = Multiply(w, row, 1, 1);
        ASSERT_TRUE(SameBits(y.data(), &all[static_cast<size_t>(i * rows)], y.size())) << i;
      }
    }
  }
}

// Rows of x may lie apart.
TEST(Linear, ReadsRowsOfXByTheirStride) {
  ThreadPool pool(2);
  const int64_t rows = 20, cols = 64, t = 13, stride = 100;
  const auto x = RandomFloats(t * cols, 50);
  std::vector<float> apart(static_cast<size_t>(t * stride), 1e30f);
  for (int64_t i = 0; i < t; ++i)
    std::memcpy(&apart[static_cast<size_t>(i * stride)], &x[static_cast<size_t>(i * cols)],
                static_cast<size_t>(cols) * sizeof(float));
  for (const NumericMode mode : {NumericMode::kExact, NumericMode::kFast}) {
    for (const DType dtype : {DType::kQ8_0, DType::kF16}) {
      const Matrix m = RandomMatrix(dtype, rows, cols, 51);
      const Linear w = Linear::Prepare(m.view(), mode, pool);
      const auto expected = Multiply(w, x, t, 1);
      std::vector<float> y(expected.size());
      LinearScratch scratch;
      const LinearOutput out{&w, y.data(), rows};
      Apply(pool, scratch, apart.data(), stride, t, {&out, 1});
      EXPECT_TRUE(SameBits(y.data(), expected.data(), y.size()));
    }
  }
}

TEST(Linear, TakesPanelsFromTheArenaWhileItHasRoom) {
  ThreadPool pool(1);
  const Matrix m = RandomMatrix(DType::kQ4_0, 40, 96, 46);
  const uint64_t bytes = Linear::PackedBytes(m.dtype, m.rows, m.cols, NumericMode::kFast);
  std::vector<Linear> weights;
  {
    PanelArena arena(2 * bytes);
    for (int i = 0; i < 3; ++i)
      weights.push_back(Linear::Prepare(m.view(), NumericMode::kFast, pool, &arena));
    EXPECT_EQ(arena.Take(64), nullptr);
  }
  const auto x = RandomFloats(96, 47);
  const auto expected = Multiply(Linear::Prepare(m.view(), NumericMode::kFast, pool), x, 1, 1);
  for (const Linear& w : weights)
    EXPECT_TRUE(SameBits(Multiply(w, x, 1, 1).data(), expected.data(), expected.size()));
}

TEST(Linear, AcceptsNoTokens) {
  ThreadPool pool(2);
  const Matrix m = RandomMatrix(DType::kQ4_0, 20, 64, 42);
  const Linear w = Linear::Prepare(m.view(), NumericMode::kFast, pool);
  LinearScratch scratch;
  const LinearOutput out{&w, nullptr, 20};
  Apply(pool, scratch, nullptr, 64, 0, {&out, 1});
  EXPECT_EQ(scratch.bytes(), 0u);
}

// Two nearly equal rows of x must not share a unit of quantisation, and zeros stay zero.
TEST(Linear, KeepsFifteenBitsOfEachBlockOfX) {
  ThreadPool pool(1);
  const Matrix m = RandomMatrix(DType::kQ8_0, 16, 64, 43);
  const Linear w = Linear::Prepare(m.view(), NumericMode::kFast, pool);
  std::vector<float> x(64, 0.f);
  for (float y : Multiply(w, x, 1, 1)) EXPECT_EQ(y, 0.f);
  std::vector<float> row(64);
  x[3] = 1e-20f;  // alone in its block: exact up to float rounding, however small
  x[40] = -3e10f;
  const auto y = Multiply(w, x, 1, 1);
  for (int r = 0; r < 16; ++r) {
    DequantRow(m.dtype, &m.data[static_cast<size_t>(r * m.row_bytes)], 64, row.data());
    const double expected = double{row[3]} * 1e-20 + double{row[40]} * -3e10;
    EXPECT_NEAR(y[static_cast<size_t>(r)], expected, std::fabs(expected) * 1e-6);
  }
}

}  // namespace
}  // namespace carat
