// SPDX-License-Identifier: Apache-2.0
#include "runtime/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/rng.h"
#include "runtime/stop_strings.h"

namespace carat {
namespace {

std::vector<float> Five() { return {1.0f, 3.0f, 2.0f, 3.0f, -1.0f}; }

TEST(Sampler, GreedyTakesTheFirstOfEqualBests) {
  auto logits = Five();
  EXPECT_EQ(Sampler({.temperature = 0}).Sample(logits, {}, 0), 1);
  EXPECT_EQ(Sampler({.temperature = 1, .top_k = 1}).Sample(logits, {}, 0), 1);
}

TEST(Sampler, SuppressedAndBiasedTokens) {
  auto logits = Five();
  SamplingOptions o{.temperature = 0};
  o.suppress = {1, 3};
  EXPECT_EQ(Sampler(o).Sample(logits, {}, 0), 2);
  logits = Five();
  o.logit_bias = {{4, 10.0f}, {99, 100.0f}};  // an id beyond the vocabulary is ignored
  EXPECT_EQ(Sampler(o).Sample(logits, {}, 0), 4);
}

TEST(Sampler, PenaltiesCountTheWindowOnly) {
  SamplingOptions o{.temperature = 0, .repeat_penalty = 2.0f, .repeat_window = 2};
  const int32_t history[] = {1, 1, 3, 3};
  auto logits = Five();
  EXPECT_EQ(Sampler(o).Sample(logits, history, 0), 1);  // 3 halves, 1 is out of the window
  o.repeat_window = 0;
  logits = Five();
  EXPECT_EQ(Sampler(o).Sample(logits, history, 0), 2);
  o = {.temperature = 0, .repeat_window = 0, .frequency_penalty = 0.3f};
  const int32_t uneven[] = {1, 1, 3};
  logits = Five();
  EXPECT_EQ(Sampler(o).Sample(logits, uneven, 0), 3);
}

TEST(Sampler, DrawsFollowTheProbabilities) {
  const std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.2f)};
  Sampler sampler({.temperature = 1, .seed = 7});
  std::map<int32_t, int> hits;
  const int n = 20000;
  for (int i = 0; i < n; ++i) {
    auto copy = logits;
    ++hits[sampler.Sample(copy, {}, i)];
  }
  EXPECT_NEAR(hits[0], 0.5 * n, 300);
  EXPECT_NEAR(hits[1], 0.3 * n, 300);
  EXPECT_NEAR(hits[2], 0.2 * n, 300);
}

TEST(Sampler, CutsLeaveExactlyTheExpectedTokens) {
  const std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.15f),
                                     std::log(0.05f)};
  const auto seen = [&](SamplingOptions o) {
    std::map<int32_t, int> hits;
    Sampler sampler(o);
    for (int i = 0; i < 3000; ++i) {
      auto copy = logits;
      ++hits[sampler.Sample(copy, {}, i)];
    }
    return hits.size();
  };
  EXPECT_EQ(seen({.top_k = 2}), 2u);
  EXPECT_EQ(seen({.top_p = 0.79f}), 2u);
  EXPECT_EQ(seen({.top_p = 0.81f}), 3u);
  EXPECT_EQ(seen({.min_p = 0.2f}), 3u);
  EXPECT_EQ(seen({.top_p = 0.0f}), 1u);
  EXPECT_EQ(seen({}), 4u);
}

TEST(Sampler, ADrawDependsOnSeedAndIndexOnly) {
  std::vector<float> logits(1000);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = std::sin(static_cast<float>(i));
  Sampler a({.seed = 5}), b({.seed = 5}), c({.seed = 6});
  std::vector<int32_t> forward, backward, other;
  for (int i = 0; i < 50; ++i) {
    auto copy = logits;
    forward.push_back(a.Sample(copy, {}, i));
  }
  for (int i = 49; i >= 0; --i) {
    auto copy = logits;
    backward.insert(backward.begin(), b.Sample(copy, {}, i));
    copy = logits;
    other.insert(other.begin(), c.Sample(copy, {}, i));
  }
  EXPECT_EQ(forward, backward);
  EXPECT_NE(forward, other);
}

TEST(Sampler, LogprobsSumToOne) {
  const std::vector<float> logits = Five();
  std::vector<TokenLogprob> top;
  const float one = TopLogprobs(logits, 3, 5, &top);
  ASSERT_EQ(top.size(), 5u);
  EXPECT_EQ(top[0].id, 1);
  EXPECT_EQ(top[1].id, 3);
  EXPECT_EQ(top[1].logprob, one);
  double sum = 0;
  for (const TokenLogprob& t : top) sum += std::exp(t.logprob);
  EXPECT_NEAR(sum, 1, 1e-6);
}

TEST(Sampler, RefusesToChooseFromNothing) {
  for (const float nothing : {-INFINITY, NAN}) {
    for (const float temperature : {0.0f, 1.0f}) {
      std::vector<float> logits(5, nothing);
      EXPECT_EQ(Sampler({.temperature = temperature}).Sample(logits, {}, 0), -1);
    }
  }
  auto logits = Five();
  SamplingOptions all{.temperature = 1};
  all.suppress = {0, 1, 2, 3, 4};
  EXPECT_EQ(Sampler(all).Sample(logits, {}, 0), -1);
}

TEST(Sampler, InfiniteBiasDecides) {
  SamplingOptions o{.temperature = 2};
  o.logit_bias = {{2, INFINITY}};
  for (int64_t i = 0; i < 20; ++i) {
    auto logits = Five();
    EXPECT_EQ(Sampler(o).Sample(logits, {}, i), 2);
  }
}

TEST(Logprobs, TheBestAreThoseOfASort) {
  std::vector<float> logits;
  for (uint64_t i = 0; i < 300; ++i)  // many equal ones
    logits.push_back(static_cast<float>(CounterRandom(3, 1, i) % 40) - 20);
  std::vector<int32_t> ids(logits.size());
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i);
  std::stable_sort(ids.begin(), ids.end(),
                   [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
  for (const int n : {1, 2, 17, 299, 300, 1000}) {
    std::vector<TokenLogprob> top;
    TopLogprobs(logits, 0, n, &top);
    ASSERT_EQ(top.size(), std::min<size_t>(n, logits.size()));
    for (size_t i = 0; i < top.size(); ++i) ASSERT_EQ(top[i].id, ids[i]) << n << " " << i;
  }
}

TEST(StopStrings, HoldsBackOnlyWhatMayBeAStop) {
  StopStrings stops({"END", "\n\n"});
  EXPECT_EQ(stops.Push("one\n"), "one");
  EXPECT_EQ(stops.Push("two EN"), "\ntwo ");
  EXPECT_EQ(stops.Push("Ds"), "");
  EXPECT_TRUE(stops.stopped());
  EXPECT_EQ(stops.match(), "END");
  EXPECT_EQ(stops.Push("more"), "");
}

TEST(StopStrings, FlushesWhatTurnedOutHarmless) {
  StopStrings stops({"abcd"});
  EXPECT_EQ(stops.Push("xabc"), "x");
  EXPECT_EQ(stops.Push("abc"), "abc");
  EXPECT_EQ(stops.Flush(), "abc");
  EXPECT_EQ(StopStrings({""}).Push("a"), "a");
}

TEST(StopStrings, TheEarliestMatchWinsAndCutsBeforeIt) {
  StopStrings stops({"cd", "bcd"});
  EXPECT_EQ(stops.Push("abcde"), "a");
  EXPECT_EQ(stops.match(), "bcd");
}

}  // namespace
}  // namespace carat
