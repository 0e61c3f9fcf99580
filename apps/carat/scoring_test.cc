// SPDX-License-Identifier: Apache-2.0
#include "scoring.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace carat {
namespace {

TEST(NegativeLogLikelihood, IsTheLogarithmOfTheSoftmax) {
  // Probabilities 1/7, 2/7, 4/7, whatever is added to all logits.
  for (const float shift : {0.0f, 100.0f, -1000.0f}) {
    const std::vector<float> logits = {shift, shift + std::log(2.0f), shift + std::log(4.0f)};
    for (int32_t i = 0; i < 3; ++i)
      EXPECT_NEAR(NegativeLogLikelihood(logits, i), std::log(7.0 / (1 << i)), 1e-4) << shift;
  }
}

TEST(NegativeLogLikelihood, AddsUpAQuarterOfAMillionSmallTerms) {
  const std::vector<float> logits(262144, -3.0f);
  EXPECT_NEAR(NegativeLogLikelihood(logits, 5), std::log(262144.0), 1e-12);
}

TEST(NegativeLogLikelihood, IsNotFiniteWhenALogitIsNot) {
  EXPECT_FALSE(std::isfinite(NegativeLogLikelihood(std::vector<float>{1, NAN, 2}, 0)));
  EXPECT_FALSE(std::isfinite(NegativeLogLikelihood(std::vector<float>{1, INFINITY}, 0)));
}

TEST(CompareRows, IsZeroForRowsThatDifferByAConstant) {
  const RowComparison row =
      CompareRows(std::vector<float>{1, 2, 3, 4, 5}, std::vector<float>{11, 12, 13, 14, 15});
  EXPECT_NEAR(row.kl, 0, 1e-12);
  EXPECT_TRUE(row.same_best);
}

TEST(CompareRows, IsExactlyZeroForEqualRows) {
  std::vector<float> row(1003);
  for (size_t i = 0; i < row.size(); ++i) row[i] = std::sin(static_cast<float>(i)) * 9;
  EXPECT_EQ(CompareRows(row, row).kl, 0);
}

TEST(CompareRows, WeighsByTheFirstDistribution) {
  // P = (1/2, 1/2), Q = (1/4, 3/4): KL(P || Q) = 0.5 ln 2 + 0.5 ln 2/3.
  const std::vector<float> p = {0, 0}, q = {0, std::log(3.0f)};
  EXPECT_NEAR(CompareRows(p, q).kl, 0.5 * std::log(2.0) + 0.5 * std::log(2.0 / 3), 1e-7);
  EXPECT_NEAR(CompareRows(q, p).kl, 0.25 * std::log(0.5) + 0.75 * std::log(1.5), 1e-7);
}

TEST(CompareRows, TakesTheFirstOfEqualLogitsAsBest) {
  EXPECT_TRUE(CompareRows(std::vector<float>{1, 7, 7}, std::vector<float>{1, 9, 2}).same_best);
  EXPECT_FALSE(CompareRows(std::vector<float>{1, 7, 7}, std::vector<float>{1, 2, 9}).same_best);
}

}  // namespace
}  // namespace carat
