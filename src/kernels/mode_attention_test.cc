// SPDX-License-Identifier: Apache-2.0
// Attention of the exact set and of every fast set that runs here, against plain loops in double,
// and the rule that nothing but a row's query, range and blocks reaches its bits.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels/dispatch.h"
#include "kernels/mode_kernels.h"
#include "tensor/half.h"

namespace carat {
namespace {

struct Set {
  std::string name;
  const ModeKernels* k;
  bool exact() const { return k->kv_element_bytes == 4; }
};

std::vector<Set> Sets() {
  std::vector<Set> sets = {{"exact", &ExactKernels()}};
  for (const KernelTable* t : Runnable()) sets.push_back({t->isa, &t->mode});
  return sets;
}

std::vector<float> Random(int64_t n, uint32_t seed, float scale) {
  std::mt19937 gen(seed);
  std::normal_distribution<float> dist(0, scale);
  std::vector<float> v(static_cast<size_t>(n));
  for (float& x : v) x = dist(gen);
  return v;
}

// Keys and values of positions begin .. end - 1 in the blocks of one set. Whatever is not written
// holds large finite numbers that would show in any result.
class Cache {
 public:
  Cache(const Set& set, int dh, int64_t begin, int64_t end, float scale, int misalign = 0)
      : dh_(dh), begin_(begin), first_block_(begin / kKvBlock) {
    k_ = Random((end - begin) * dh, 21, scale);
    v_ = Random((end - begin) * dh, 22, 1);
    const int64_t blocks = (end - 1) / kKvBlock + 1 - first_block_;
    const int element = set.k->kv_element_bytes;
    const auto bytes = static_cast<size_t>(2 * dh * kKvBlock * element);
    for (int64_t b = 0; b < blocks; ++b) {
      store_.emplace_back(bytes + 64);
      std::byte* p = store_.back().data() + misalign * element;
      const float big = b % 2 ? 1e30f : -1e30f;
      const uint16_t big_half = b % 2 ? 0x7BFF : 0xFBFF;
      for (size_t i = 0; i < bytes; i += static_cast<size_t>(element))
        std::memcpy(p + i, element == 4 ? static_cast<const void*>(&big) : &big_half,
                    static_cast<size_t>(element));
      blocks_.push_back(p);
    }
    for (int64_t i = begin; i < end; ++i) {
      set.k->store_kv(&k_[static_cast<size_t>((i - begin) * dh)],
                      &v_[static_cast<size_t>((i - begin) * dh)], dh, i % kKvBlock,
                      blocks_[static_cast<size_t>(i / kKvBlock - first_block_)]);
    }
    rounded_k_ = k_;
    rounded_v_ = v_;
    if (!set.exact()) {
      for (auto* r : {&rounded_k_, &rounded_v_})
        for (float& x : *r) x = F16ToFloat(FloatToF16(x));
    }
  }

  int64_t first_block() const { return first_block_; }
  const std::vector<std::byte*>& blocks() const { return blocks_; }
  int dh() const { return dh_; }

  // softmax(q k) v in double over positions first .. last, with the numbers as given or as stored.
  std::vector<double> Reference(const float* q, int64_t first, int64_t last, bool stored) const {
    const auto& k = stored ? rounded_k_ : k_;
    const auto& v = stored ? rounded_v_ : v_;
    std::vector<double> s;
    double max = -1e300, sum = 0;
    for (int64_t i = first; i <= last; ++i) {
      double dot = 0;
      for (int d = 0; d < dh_; ++d) dot += static_cast<double>(q[d]) * k[At(i, d)];
      s.push_back(dot);
      max = std::max(max, dot);
    }
    std::vector<double> out(static_cast<size_t>(dh_));
    for (int64_t i = first; i <= last; ++i) {
      const double p = std::exp(s[static_cast<size_t>(i - first)] - max);
      sum += p;
      for (int d = 0; d < dh_; ++d) out[static_cast<size_t>(d)] += p * v[At(i, d)];
    }
    for (double& o : out) o /= sum;
    return out;
  }

 private:
  size_t At(int64_t position, int d) const {
    return static_cast<size_t>((position - begin_) * dh_ + d);
  }
  int dh_;
  int64_t begin_, first_block_;
  std::vector<float> k_, v_, rounded_k_, rounded_v_;
  std::vector<std::vector<std::byte>> store_;
  std::vector<std::byte*> blocks_;
};

struct Row {
  std::vector<float> q;
  int64_t first, last;
};

// One tile over the given rows and blocks; q and out start `misalign` floats past their vectors.
std::vector<std::vector<float>> Attend(const Set& set, const Cache& cache,
                                       const std::vector<Row>& rows, int64_t first_block,
                                       int64_t block_count, int misalign = 0) {
  std::vector<std::vector<float>> q, out;
  std::vector<const float*> qp;
  std::vector<float*> op;
  std::vector<int64_t> first, last;
  const auto dh = static_cast<size_t>(cache.dh());
  const auto shift = static_cast<size_t>(misalign);
  for (const Row& r : rows) {
    q.emplace_back(dh + 8);
    std::copy(r.q.begin(), r.q.end(), q.back().begin() + misalign);
    out.emplace_back(dh + 8, NAN);
    first.push_back(r.first);
    last.push_back(r.last);
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    qp.push_back(q[i].data() + misalign);
    op.push_back(out[i].data() + misalign);
  }
  const std::vector<const std::byte*> blocks(cache.blocks().begin(), cache.blocks().end());
  std::vector<float> scratch(rows.size() * static_cast<size_t>(block_count) * kKvBlock + 16 + 1,
                             NAN);
  auto* aligned =
      reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(scratch.data()) + 63) / 64 * 64);
  AttentionTile t;
  t.rows = static_cast<int>(rows.size());
  t.dh = cache.dh();
  t.q = qp.data();
  t.out = op.data();
  t.first = first.data();
  t.last = last.data();
  t.blocks = blocks.data() + (first_block - cache.first_block());
  t.first_block = first_block;
  t.block_count = block_count;
  t.scores = aligned;
  set.k->attention(t);
  std::vector<std::vector<float>> results;
  for (size_t i = 0; i < rows.size(); ++i) {
    for (size_t j = 0; j < out[i].size(); ++j) {
      if (j < shift || j >= shift + dh) {
        EXPECT_TRUE(std::isnan(out[i][j])) << "written outside";
      }
    }
    results.emplace_back(out[i].begin() + misalign,
                         out[i].begin() + misalign + static_cast<int64_t>(dh));
  }
  return results;
}

// The least range of blocks for the rows.
std::vector<std::vector<float>> Attend(const Set& set, const Cache& cache,
                                       const std::vector<Row>& rows, int misalign = 0) {
  int64_t first = rows[0].first, last = rows[0].last;
  for (const Row& r : rows) {
    first = std::min(first, r.first);
    last = std::max(last, r.last);
  }
  return Attend(set, cache, rows, first / kKvBlock, last / kKvBlock - first / kKvBlock + 1,
                misalign);
}

double Distance(const std::vector<float>& got, const std::vector<double>& want) {
  double worst = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    if (!std::isfinite(got[i])) return INFINITY;
    worst = std::max(worst, std::abs(got[i] - want[i]));
  }
  return worst;  // the values are of size 1
}

// q and k such that scores have a spread of about 3.
std::vector<float> Query(int dh, uint32_t seed) {
  return Random(dh, seed, 3 / std::sqrt(static_cast<float>(dh)));
}

void ExpectNear(const Set& set, const Cache& cache, const std::vector<Row>& rows, int misalign,
                const std::string& what) {
  const auto got = Attend(set, cache, rows, misalign);
  for (size_t i = 0; i < rows.size(); ++i) {
    const Row& r = rows[i];
    const auto stored = cache.Reference(r.q.data(), r.first, r.last, true);
    // Float32 scores are sums of dh products in order.
    ASSERT_LE(Distance(got[i], stored), set.exact() ? 2.5e-7 : 3e-6 + 3e-8 * cache.dh())
        << set.name << " " << what << " row " << i << " of " << rows.size();
    const auto given = cache.Reference(r.q.data(), r.first, r.last, false);
    ASSERT_LE(Distance(got[i], given), set.exact() ? 2.5e-7 : 2e-3) << set.name << " " << what;
  }
}

TEST(ModeAttention, MatchesDoubleAtAllSizesRowsAndAddresses) {
  for (const Set& set : Sets()) {
    for (int dh : {8, 16, 24, 80, 96, 256, 512}) {
      const int misalign = dh % 3;
      const Cache cache(set, dh, 32, 32 + 150, 1, misalign);
      for (int rows = 1; rows <= kAttentionRows; ++rows) {
        std::vector<Row> tile;
        for (int r = 0; r < rows; ++r) {
          const int64_t last = 32 + 149 - (7 * r) % 40;
          tile.push_back({Query(dh, static_cast<uint32_t>(100 + r)),
                          r % 2 ? std::max<int64_t>(32, last - 70) : 32, last});
        }
        ExpectNear(set, cache, tile, misalign, "dh " + std::to_string(dh));
      }
    }
  }
}

TEST(ModeAttention, EveryWindowOfASmallCacheIsRight) {
  for (const Set& set : Sets()) {
    const Cache cache(set, 16, 3, 60, 1);
    const auto q = Query(16, 5);
    for (int64_t first = 3; first < 60; ++first)
      for (int64_t last = first; last < 60; ++last)
        ExpectNear(set, cache, {{q, first, last}}, 0, std::to_string(first));
  }
}

TEST(ModeAttention, OnePositionGivesItsStoredValueBack) {
  for (const Set& set : Sets()) {
    const int dh = 24;
    const Cache cache(set, dh, 1000, 1020, 1);
    for (int64_t i = 1000; i < 1020; ++i) {
      const auto q = Query(dh, 6);
      const auto got = Attend(set, cache, {{q, i, i}});
      const auto want = cache.Reference(q.data(), i, i, true);
      for (size_t d = 0; d < want.size(); ++d) EXPECT_EQ(got[0][d], want[d]) << set.name;
    }
  }
}

TEST(ModeAttention, LongContextsAreRight) {
  for (const Set& set : Sets()) {
    const Cache cache(set, 64, 0, 5000, 1);
    std::vector<Row> tile;
    for (int r = 0; r < kAttentionRows; ++r)
      tile.push_back({Query(64, static_cast<uint32_t>(200 + r)), r == 3 ? 4488 : 0, 4992 + r});
    ExpectNear(set, cache, tile, 0, "long");
  }
}

TEST(ModeAttention, ExtremeScoresNeitherOverflowNorVanish) {
  for (const Set& set : Sets()) {
    const int dh = 16;
    const Cache cache(set, dh, 0, 100, 1);
    for (float size : {0.0f, 1e-30f, 3e3f, -3e3f}) {
      const std::vector<Row> tile = {{std::vector<float>(dh, size), 2, 97}};
      const auto got = Attend(set, cache, tile);
      // Differences of scores of size 1e4 carry an error of 1e-3 in float32.
      const auto want = cache.Reference(tile[0].q.data(), 2, 97, true);
      EXPECT_LE(Distance(got[0], want), std::abs(size) > 1 ? 5e-3 : 2e-6) << set.name << size;
    }
  }
}

// All rows in one tile, against each row alone with the least blocks: the same bits.
TEST(ModeAttention, ARowKeepsItsBitsInAnyTile) {
  for (const Set& set : Sets()) {
    for (int dh : {8, 24, 80, 256, 512}) {
      const Cache cache(set, dh, 0, 300, 1);
      std::vector<Row> pool;
      std::vector<std::vector<float>> alone;
      for (int r = 0; r < kAttentionRows; ++r) {
        const int64_t last = r == 0 ? 17 : r == 1 ? 15 : 299 - 23 * r;
        const int64_t first = r == 0 ? 17 : r % 3 == 1 ? 0 : std::max<int64_t>(0, last - 60 - r);
        pool.push_back({Query(dh, static_cast<uint32_t>(300 + r)), first, last});
        // Sharper rows, so that many weights are zero or nearly so.
        for (float& x : pool.back().q) x *= static_cast<float>(1 + 4 * r);
        alone.push_back(Attend(set, cache, {pool.back()})[0]);
      }
      for (int rows = 2; rows <= kAttentionRows; ++rows) {
        for (int start = 0; start < kAttentionRows; ++start) {
          std::vector<Row> tile;
          for (int r = 0; r < rows; ++r)
            tile.push_back(pool[static_cast<size_t>((start + r) % kAttentionRows)]);
          const auto got = Attend(set, cache, tile);
          for (int r = 0; r < rows; ++r) {
            const auto& want = alone[static_cast<size_t>((start + r) % kAttentionRows)];
            ASSERT_EQ(std::memcmp(got[static_cast<size_t>(r)].data(), want.data(),
                                  want.size() * sizeof(float)),
                      0)
                << set.name << " dh " << dh << " rows " << rows << " row " << r;
          }
        }
      }
    }
  }
}

TEST(ModeAttention, AQueryThatIsNoNumberSpoilsItsOwnRowOnly) {
  for (const Set& set : Sets()) {
    const int dh = 24;
    const Cache cache(set, dh, 0, 100, 1);
    std::vector<Row> tile;
    for (int r = 0; r < 3; ++r) tile.push_back({Query(dh, static_cast<uint32_t>(r)), 3, 90});
    const auto want = Attend(set, cache, tile);
    for (int d = 0; d < dh; ++d) {
      auto bad = tile;
      bad[1].q[static_cast<size_t>(d)] = NAN;
      const auto got = Attend(set, cache, bad);
      for (float x : got[1]) ASSERT_TRUE(std::isnan(x)) << set.name << " " << d;
      ASSERT_EQ(got[0], want[0]) << set.name;
      ASSERT_EQ(got[2], want[2]) << set.name;
    }
  }
}

TEST(ModeAttention, MoreBlocksThanNeededChangeNoBit) {
  for (const Set& set : Sets()) {
    const int dh = 48;
    const Cache cache(set, dh, 0, 400, 1);
    const Row row = {Query(dh, 7), 130, 205};
    const auto want = Attend(set, cache, {row})[0];
    for (int64_t first_block : {0, 3, 7, 8}) {
      for (int64_t end_block : {13, 14, 18, 25}) {
        const auto got = Attend(set, cache, {row}, first_block, end_block - first_block)[0];
        ASSERT_EQ(std::memcmp(got.data(), want.data(), want.size() * sizeof(float)), 0)
            << set.name << " blocks " << first_block << " to " << end_block;
      }
    }
  }
}

// Two caches that agree on the visible positions only.
TEST(ModeAttention, InvisiblePositionsOfABlockChangeNoBit) {
  for (const Set& set : Sets()) {
    const int dh = 32;
    const Cache cache(set, dh, 0, 64, 1);
    const Row row = {Query(dh, 8), 5, 40};
    const auto want = Attend(set, cache, {row})[0];
    const std::vector<float> other(dh, -60000.0f);
    for (int64_t i = 0; i < 64; ++i) {
      if (i >= row.first && i <= row.last) continue;
      set.k->store_kv(other.data(), other.data(), dh, i % kKvBlock,
                      cache.blocks()[static_cast<size_t>(i / kKvBlock)]);
    }
    const auto got = Attend(set, cache, {row})[0];
    ASSERT_EQ(std::memcmp(got.data(), want.data(), want.size() * sizeof(float)), 0) << set.name;
  }
}

TEST(ModeAttention, InstructionSetsWithFmaGiveTheSameBits) {
  std::vector<float> want;
  for (const Set& set : Sets()) {
    if (set.exact() || set.name == "scalar") continue;
    const Cache cache(set, 80, 0, 500, 1);
    const auto got = Attend(set, cache, {{Query(80, 9), 11, 490}})[0];
    if (!want.empty()) {
      EXPECT_EQ(std::memcmp(got.data(), want.data(), want.size() * sizeof(float)), 0) << set.name;
    }
    want = got;
  }
  if (want.empty()) GTEST_SKIP() << "no instruction set with a fused multiply-add here";
}

}  // namespace
}  // namespace carat
