// SPDX-License-Identifier: Apache-2.0
// The rule of bits: how a sequence is fed, with whom and by how many threads never changes a bit
// of its logits. Values themselves are compared with the official implementation by the golden
// tests.
#include "model/decoder.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/rng.h"
#include "model/tiny_model_for_test.h"

namespace carat {
namespace {

struct Case {
  const char* name;
  TinyOptions::Kind kind;
  DType dtype;
  NumericMode mode;
};

std::ostream& operator<<(std::ostream& out, const Case& c) { return out << c.name; }

std::vector<int32_t> RandomIds(int64_t n, int64_t vocab, uint64_t seed) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < n; ++i)
    ids.push_back(static_cast<int32_t>(CounterRandom(seed, 9, i) % static_cast<uint64_t>(vocab)));
  return ids;
}

// A model with one pool: what an engine is, without requests.
class Runner {
 public:
  Runner(const Case& c, int threads) : pool_(threads) {
    model_ = MakeTinyModel({.kind = c.kind, .dtype = c.dtype});
    weights_ = *PrepareWeights(model_.config, model_.tensors, {.mode = c.mode}, pool_);
    geometry_ = std::make_unique<KvGeometry>(model_.config, weights_->kernels->kv_element_bytes);
  }
  std::unique_ptr<KvCache> NewCache(int64_t chunk = 16) {
    return std::make_unique<KvCache>(*geometry_, kv_pool_, chunk);
  }
  const Config& config() const { return model_.config; }

  // One step of several spans; returns the logits of the wanted rows.
  std::vector<float> Step(std::span<const StepSpan> spans) {
    auto hidden = Forward(*weights_, pool_, scratch_, spans);
    EXPECT_TRUE(hidden);
    std::vector<float> logits(hidden->size() / config().width * config().vocab);
    if (!logits.empty()) Logits(*weights_, pool_, scratch_, *hidden, logits.data());
    return logits;
  }

  // The final hidden states of one span's wanted rows.
  std::vector<float> Hidden(const StepSpan& span) {
    auto hidden = Forward(*weights_, pool_, scratch_, {&span, 1});
    EXPECT_TRUE(hidden);
    return {hidden->begin(), hidden->end()};
  }

  // All logits of ids, fed in chunks of `chunk`.
  std::vector<float> Feed(const std::vector<int32_t>& ids, int64_t chunk) {
    auto cache = NewCache();
    std::vector<float> all;
    for (size_t at = 0; at < ids.size(); at += static_cast<size_t>(chunk)) {
      StepSpan span;
      span.cache = cache.get();
      span.ids = std::span(ids).subspan(at, std::min<size_t>(chunk, ids.size() - at));
      const auto logits = Step({&span, 1});
      all.insert(all.end(), logits.begin(), logits.end());
    }
    return all;
  }

 private:
  TinyModel model_;
  ThreadPool pool_;
  std::shared_ptr<const Weights> weights_;
  std::unique_ptr<KvGeometry> geometry_;
  KvPool kv_pool_;
  Scratch scratch_;
};

bool SameBits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

class DecoderBits : public testing::TestWithParam<Case> {};

TEST_P(DecoderBits, ChunksDontMatter) {
  Runner runner(GetParam(), 2);
  const auto ids = RandomIds(600, runner.config().vocab, 1);
  const auto whole = runner.Feed(ids, 600);
  ASSERT_EQ(whole.size(), ids.size() * static_cast<size_t>(runner.config().vocab));
  for (float x : whole) ASSERT_TRUE(std::isfinite(x));
  for (int64_t chunk : {1, 7, 64, 512})
    EXPECT_TRUE(SameBits(runner.Feed(ids, chunk), whole)) << chunk;
}

TEST_P(DecoderBits, ThreadsDontMatter) {
  const auto ids = RandomIds(40, 320, 2);
  const auto one = Runner(GetParam(), 1).Feed(ids, 16);
  for (int threads : {2, 4})
    EXPECT_TRUE(SameBits(Runner(GetParam(), threads).Feed(ids, 16), one)) << threads;
}

TEST_P(DecoderBits, WantedRowsDontMatter) {
  Runner runner(GetParam(), 2);
  const auto ids = RandomIds(50, runner.config().vocab, 3);
  const auto whole = runner.Feed(ids, 512);
  auto cache = runner.NewCache();
  StepSpan span;
  span.cache = cache.get();
  span.ids = std::span(ids).first(33);
  span.wants_from = 33;
  EXPECT_TRUE(runner.Step({&span, 1}).empty());
  span.ids = std::span(ids).subspan(33);
  span.wants_from = 15;
  EXPECT_TRUE(SameBits(runner.Step({&span, 1}),
                       std::span(whole).last(2 * static_cast<size_t>(runner.config().vocab))));
}

TEST_P(DecoderBits, SequencesThatJoinAndLeaveDontMatter) {
  Runner runner(GetParam(), 2);
  constexpr int kSequences = 8;
  const size_t vocab = static_cast<size_t>(runner.config().vocab);
  std::vector<std::vector<int32_t>> ids;
  std::vector<std::vector<float>> alone, together(kSequences);
  for (int s = 0; s < kSequences; ++s) {
    ids.push_back(RandomIds(9 + 11 * s, runner.config().vocab, 10 + s));
    alone.push_back(runner.Feed(ids.back(), 512));
  }
  // Sequence s joins at step s, takes pieces of changing size and leaves when it is done.
  std::vector<std::unique_ptr<KvCache>> caches(kSequences);
  std::vector<size_t> at(kSequences, 0);
  for (int step = 0;; ++step) {
    std::vector<StepSpan> spans;
    std::vector<int> who;
    for (int s = 0; s < kSequences; ++s) {
      if (step < s || at[s] == ids[s].size()) continue;
      if (!caches[s]) caches[s] = runner.NewCache();
      const size_t n = std::min<size_t>(1 + (step * 5 + s * 3) % 13, ids[s].size() - at[s]);
      StepSpan span;
      span.cache = caches[s].get();
      span.ids = std::span(ids[s]).subspan(at[s], n);
      spans.push_back(span);
      who.push_back(s);
      at[s] += n;
    }
    if (spans.empty()) break;
    const auto logits = runner.Step(spans);
    size_t from = 0;
    for (size_t i = 0; i < spans.size(); ++i) {
      const size_t n = spans[i].ids.size() * vocab;
      together[who[i]].insert(together[who[i]].end(), logits.begin() + from,
                              logits.begin() + from + n);
      from += n;
      if (at[who[i]] == ids[who[i]].size()) caches[who[i]].reset();
    }
  }
  for (int s = 0; s < kSequences; ++s) EXPECT_TRUE(SameBits(together[s], alone[s])) << s;
}

TEST_P(DecoderBits, CuttingAndFeedingAgainDoesntMatter) {
  Runner runner(GetParam(), 2);
  const auto ids = RandomIds(120, runner.config().vocab, 4);
  const auto other = RandomIds(9, runner.config().vocab, 5);
  const size_t vocab = static_cast<size_t>(runner.config().vocab);
  const auto whole = runner.Feed(ids, 512);
  auto cache = runner.NewCache();
  StepSpan span;
  span.cache = cache.get();
  span.ids = std::span(ids).first(100);
  runner.Step({&span, 1});
  span.ids = other;  // rejected
  runner.Step({&span, 1});
  ASSERT_LE(cache->OldestCut(), 100);
  cache->Truncate(100);
  span.ids = std::span(ids).subspan(100);
  EXPECT_TRUE(SameBits(runner.Step({&span, 1}), std::span(whole).last(20 * vocab)));
}

// Families whose image tokens see their whole block.
class DecoderBlocks : public testing::TestWithParam<Case> {};

TEST_P(DecoderBlocks, AreOnePieceAndSeeForward) {
  Runner runner(GetParam(), 2);
  ASSERT_TRUE(runner.config().vision_blocks);
  const auto ids = RandomIds(80, runner.config().vocab, 6);
  const int64_t width = runner.config().width;
  const size_t vocab = static_cast<size_t>(runner.config().vocab);
  std::vector<float> soft(static_cast<size_t>(30 * width));
  for (size_t i = 0; i < soft.size(); ++i)
    soft[i] = static_cast<float>(2 * CounterUniform(1, 1, i) - 1);
  // Rows 20..49 are one block, longer than the window.
  std::vector<const float*> rows(80, nullptr);
  std::vector<int32_t> blocks(80, -1);
  for (int i = 0; i < 30; ++i) rows[20 + i] = soft.data() + i * width, blocks[20 + i] = 0;
  const auto feed = [&](std::vector<int64_t> cuts) {
    auto cache = runner.NewCache();
    std::vector<float> all;
    int64_t from = 0;
    for (int64_t to : cuts) {
      StepSpan span;
      span.cache = cache.get();
      span.ids = std::span(ids).subspan(from, to - from);
      span.soft = std::span<const float* const>(rows).subspan(from, to - from);
      span.blocks = std::span<const int32_t>(blocks).subspan(from, to - from);
      const auto logits = runner.Step({&span, 1});
      all.insert(all.end(), logits.begin(), logits.end());
      from = to;
    }
    return all;
  };
  const auto whole = feed({80});
  EXPECT_TRUE(SameBits(feed({13, 52, 80}), whole));
  EXPECT_TRUE(SameBits(feed({20, 50, 51, 80}), whole));
  // The block's last row changes its first row's logits; rows before the block stay.
  const auto before = soft;
  for (int64_t i = 0; i < width; ++i) soft[29 * width + i] += 0.5f;
  const auto changed = feed({80});
  EXPECT_TRUE(SameBits(std::span(changed).first(20 * vocab), std::span(whole).first(20 * vocab)));
  EXPECT_FALSE(SameBits(std::span(changed).subspan(20 * vocab, vocab),
                        std::span(whole).subspan(20 * vocab, vocab)));
}

// Rings that wrapped hundreds of times against a step that holds the whole text at once, where no
// ring ever wraps. CARAT_SOAK_TOKENS makes it long.
TEST(LongContext, RingsEqualOneStepWithoutThem) {
  const char* env = std::getenv("CARAT_SOAK_TOKENS");
  const int64_t total = env ? std::atoll(env) : 3000;
  Runner runner({"long", TinyOptions::kE2b, DType::kQ4_0, NumericMode::kFast}, 2);
  const auto ids = RandomIds(total, runner.config().vocab, 8);
  const size_t width = static_cast<size_t>(runner.config().width);

  auto all_at_once = runner.NewCache(total);
  StepSpan span;
  span.cache = all_at_once.get();
  span.ids = ids;
  const std::vector<float> expected = runner.Hidden(span);
  all_at_once.reset();

  auto cache = runner.NewCache(64);
  int compared = 0;
  for (int64_t at = 0; at < total;) {
    const int64_t n = std::min<int64_t>(1 + (at * 31) % 509, total - at);
    span.cache = cache.get();
    span.ids = std::span(ids).subspan(at, n);
    span.wants_from = n - 1;
    const auto last = runner.Hidden(span);
    ASSERT_TRUE(SameBits(last, std::span(expected).subspan((at + n - 1) * width, width))) << at;
    at += n;
    ++compared;
  }
  EXPECT_GE(compared, total / 509);
}

const Case kE2bCases[] = {
    {"e2b_f32_exact", TinyOptions::kE2b, DType::kF32, NumericMode::kExact},
    {"e2b_q4_0_exact", TinyOptions::kE2b, DType::kQ4_0, NumericMode::kExact},
    {"e2b_q4_0_fast", TinyOptions::kE2b, DType::kQ4_0, NumericMode::kFast},
    {"e2b_bf16_fast", TinyOptions::kE2b, DType::kBF16, NumericMode::kFast},
};
const Case kBlockCases[] = {
    {"moe_q8_0_fast", TinyOptions::kMoe, DType::kQ8_0, NumericMode::kFast},
    {"moe_q4_k_exact", TinyOptions::kMoe, DType::kQ4_K, NumericMode::kExact},
    {"dense_q4_k_fast", TinyOptions::kDense, DType::kQ4_K, NumericMode::kFast},
    {"dense_bf16_exact", TinyOptions::kDense, DType::kBF16, NumericMode::kExact},
    {"gemma3_q6_k_fast", TinyOptions::kGemma3, DType::kQ6_K, NumericMode::kFast},
    {"gemma3_f32_exact", TinyOptions::kGemma3, DType::kF32, NumericMode::kExact},
};
constexpr auto kName = [](const auto& c) { return std::string(c.param.name); };

INSTANTIATE_TEST_SUITE_P(E2b, DecoderBits, testing::ValuesIn(kE2bCases), kName);
INSTANTIATE_TEST_SUITE_P(Others, DecoderBits, testing::ValuesIn(kBlockCases), kName);
INSTANTIATE_TEST_SUITE_P(Others, DecoderBlocks, testing::ValuesIn(kBlockCases), kName);

}  // namespace
}  // namespace carat
