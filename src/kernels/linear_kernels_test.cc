// SPDX-License-Identifier: Apache-2.0
// Every instruction set this machine runs, against sums in double and against each other.
#include "kernels/linear_kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "base/aligned.h"
#include "base/rng.h"
#include "kernels/dispatch.h"
#include "kernels/panel.h"
#include "tensor/dequant.h"
#include "tensor/half.h"
#include "tensor/quant_codes.h"

namespace carat {
namespace {

std::vector<DType> QuantizedTypes() {
  std::vector<DType> types;
  for (int i = 0; i <= static_cast<int>(DType::kF6_E3M2); ++i)
    if (IsQuantized(DType(i))) types.push_back(DType(i));
  return types;
}

// A quantised matrix as decoded and as packed.
struct Packed {
  DType dtype;
  CodeFormat codes_format;
  PanelFormat format;
  int64_t rows, cols, panel_bytes;
  std::vector<int8_t> codes;
  std::vector<float> scales, offsets;  // [rows, cols / group]
  PageBuffer panels;

  int64_t blocks() const { return cols / kBlockCols; }
  int64_t groups() const { return cols / codes_format.group; }
};

enum class Codes { kRandom, kExtreme };

// Blocks of random bytes, or (kExtreme) of bytes 0x00, 0xFF, 0x80, 0x7F, as long as their scales
// are moderate: no multiple of anything that saturates may go wrong unnoticed.
Packed Pack(DType dtype, int64_t rows, int64_t cols, Codes kind, uint64_t seed) {
  const DTypeInfo& info = Info(dtype);
  const auto row_bytes = static_cast<int64_t>(*RowBytes(dtype, static_cast<uint64_t>(cols)));
  std::vector<std::byte> data(static_cast<size_t>(rows * row_bytes));
  std::vector<float> values(info.block_elems);
  uint64_t counter = 0;
  for (size_t at = 0; at < data.size(); at += info.block_bytes) {
    for (bool good = false; !good;) {
      const bool extreme = kind == Codes::kExtreme && counter % 3 != 0;
      const auto fill =
          static_cast<uint8_t>("\x00\xFF\x80\x7F"[CounterRandom(seed, 1, counter) % 4]);
      for (uint32_t i = 0; i < info.block_bytes; ++i) {
        const uint64_t r = CounterRandom(seed, 0, counter++);
        // A few random bytes among equal ones, since the scale is somewhere among them.
        data[at + i] = static_cast<std::byte>(extreme && r >> 60 != 0 ? fill : r & 0xFF);
      }
      DequantRow(dtype, &data[at], info.block_elems, values.data());
      good = true;
      for (float v : values) good &= std::fabs(v) < 60;
    }
  }
  Packed p{dtype, CodesOf(dtype), PanelFormatOf(dtype), rows, cols, 0, {}, {}, {}, {}};
  p.panel_bytes = static_cast<int64_t>(PanelBytes(p.format, cols));
  p.codes.resize(static_cast<size_t>(rows * cols));
  p.scales.resize(static_cast<size_t>(rows * p.groups()));
  p.offsets.resize(p.scales.size());
  for (int64_t r = 0; r < rows; ++r)
    DecodeCodes(dtype, &data[static_cast<size_t>(r * row_bytes)], cols, &p.codes[r * cols],
                &p.scales[r * p.groups()], &p.offsets[r * p.groups()]);
  const int64_t count = (rows + kPanelRows - 1) / kPanelRows;
  p.panels = PageBuffer(static_cast<size_t>(count * p.panel_bytes));
  for (int64_t i = 0; i < count; ++i)
    PackPanel(dtype, p.format, &data[static_cast<size_t>(i * kPanelRows * row_bytes)], row_bytes,
              static_cast<int>(std::min<int64_t>(kPanelRows, rows - i * kPanelRows)), cols,
              p.panels.data() + i * p.panel_bytes);
  return p;
}

// y [tokens, rows] by one table, in tiles of at most `tile` tokens and calls of `chunk` blocks.
std::vector<float> Multiply(const LinearKernels& k, const Packed& w, const std::vector<float>& x,
                            int tile, int64_t chunk) {
  const int64_t tokens = static_cast<int64_t>(x.size()) / w.cols;
  std::vector<float> y(static_cast<size_t>(tokens * w.rows));
  std::vector<std::byte> act(static_cast<size_t>(tile * w.blocks() * kActBlockBytes));
  for (int64_t t = 0; t < tokens; t += tile) {
    const int nt = static_cast<int>(std::min<int64_t>(tile, tokens - t));
    k.quantize({x.data() + t * w.cols, w.cols, nt, w.blocks(), act.data()});
    for (int64_t r = 0; r < w.rows; r += kPanelRows) {
      PanelDotArgs a;
      a.format = &w.format;
      a.nt = nt;
      a.y = y.data() + t * w.rows + r;
      a.y_stride = w.rows;
      a.rows = static_cast<int>(std::min<int64_t>(kPanelRows, w.rows - r));
      for (int64_t b = 0; b < w.blocks(); b += chunk) {
        a.panel = w.panels.data() + r / kPanelRows * w.panel_bytes + b / 2 * w.format.pair_bytes;
        a.tile = act.data() + b * nt * kActBlockBytes;
        a.blocks = std::min(chunk, w.blocks() - b);
        a.resume = b > 0;
        k.panel_dot(a);
      }
    }
  }
  return y;
}

std::vector<float> RandomFloats(int64_t n, uint64_t seed) {
  std::vector<float> x(static_cast<size_t>(n));
  for (size_t i = 0; i < x.size(); ++i)
    x[i] = static_cast<float>(4 * CounterUniform(seed, 1, i) - 2);
  return x;
}

class QuantizedLinear : public testing::TestWithParam<DType> {};

TEST_P(QuantizedLinear, PacksEveryCodeScaleAndOffset) {
  for (const int64_t cols : {256, 768, 1280}) {
    const Packed p = Pack(GetParam(), 21, cols, Codes::kRandom, 1);
    const PanelFormat& f = p.format;
    const int halves = f.half_groups ? 2 : 1, size = f.f16_scales ? 2 : 4;
    EXPECT_EQ(f.pair_bytes % 64, 0);
    const auto at = [&](int64_t row, int64_t block) {
      return p.panels.data() + row / kPanelRows * p.panel_bytes + block / 2 * f.pair_bytes;
    };
    const auto value = [&](const std::byte* from, int64_t index) {
      if (f.f16_scales) {
        uint16_t half;
        std::memcpy(&half, from + index * 2, 2);
        return F16ToFloat(half);
      }
      float v;
      std::memcpy(&v, from + index * 4, 4);
      return v;
    };
    for (int64_t row = 0; row < p.rows; ++row) {
      for (int64_t g = 0; g < p.groups(); ++g) {
        const int64_t block = g / halves, r = row % kPanelRows;
        const int64_t index = (block % 2 * halves + g % halves) * kPanelRows + r;
        const std::byte* pair = at(row, block);
        ASSERT_EQ(value(pair, index), p.scales[row * p.groups() + g]) << row << " " << g;
        if (f.has_offset) {
          ASSERT_EQ(value(pair + 2 * halves * kPanelRows * size, index),
                    p.offsets[row * p.groups() + g]);
        } else {
          ASSERT_EQ(p.offsets[row * p.groups() + g], 0.f);
        }
      }
      for (int64_t k = 0; k < cols; ++k) {
        const int64_t block = k / kBlockCols, j = k % kBlockCols, r = row % kPanelRows;
        const auto* codes = reinterpret_cast<const uint8_t*>(at(row, block) + f.codes_at) +
                            block % 2 * kPanelRows * (f.nibbles ? 16 : 32);
        const int64_t column = f.nibbles ? j % 16 : j;
        const int byte = codes[(column / 4 * kPanelRows + r) * 4 + column % 4];
        const int code = f.nibbles ? ((j < 16 ? byte & 15 : byte >> 4) - (f.biased ? 8 : 0))
                                   : byte - (f.biased ? 128 : 0);
        ASSERT_EQ(code, p.codes[row * cols + k]) << row << " " << k;
      }
    }
  }
}

// The scalar table is checked in double; the others must then agree to the last bit, because their
// integer sums are exact and their float operations the same.
TEST_P(QuantizedLinear, IsTheSameInEveryInstructionSetAndTile) {
  for (const Codes kind : {Codes::kRandom, Codes::kExtreme}) {
    for (const int64_t cols : {256, 768}) {
      const Packed w = Pack(GetParam(), 37, cols, kind, 2);
      auto x = RandomFloats(9 * cols, 3);
      if (kind == Codes::kExtreme)  // whole blocks of +max and -max: the largest integer sums
        for (size_t i = 0; i < x.size(); ++i)
          if (i % 3 != 0 || i % 2048 < 1024) x[i] = (i / 64) % 2 == 0 ? 1.5f : -1.5f;
      const auto expected = Multiply(Runnable().front()->linear, w, x, 1, w.blocks());
      for (const KernelTable* k : Runnable()) {
        for (int tile = 1; tile <= k->linear.token_tile; ++tile) {
          for (const int64_t chunk : {w.blocks(), int64_t{2 * tile}}) {
            const auto y = Multiply(k->linear, w, x, tile, chunk);
            for (size_t i = 0; i < y.size(); ++i)
              ASSERT_EQ(FloatToBits(y[i]), FloatToBits(expected[i]))
                  << k->isa << " tile " << tile << " chunk " << chunk << " element " << i;
          }
        }
      }
    }
  }
}

TEST_P(QuantizedLinear, IsWithinHalfAUnitOfTheActivations) {
  const int64_t cols = 512, tokens = 3, rows = 18;
  const Packed w = Pack(GetParam(), rows, cols, Codes::kRandom, 4);
  const auto x = RandomFloats(tokens * cols, 5);
  const auto y = Multiply(Runnable().front()->linear, w, x, 1, w.blocks());
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t r = 0; r < rows; ++r) {
      double sum = 0, bound = 0;
      for (int64_t b = 0; b < w.blocks(); ++b) {
        double max = 0, weights = 0;
        for (int64_t k = b * kBlockCols; k < (b + 1) * kBlockCols; ++k) {
          const int64_t g = r * w.groups() + k / w.codes_format.group;
          const double product = double{w.scales[g]} * w.codes[r * cols + k];
          const double v = x[t * cols + k];
          sum += (product + w.offsets[g]) * v;
          weights += std::fabs(product + w.offsets[g]);
          max = std::max(max, std::fabs(v));
          // Float operations: no more than two per group, each within 2^-24 of what it adds up.
          bound += (std::fabs(product) + std::fabs(w.offsets[g])) * std::fabs(v) * 0x1p-24 *
                   static_cast<double>(2 * w.groups());
        }
        bound += weights * max / 16256 / 2 * 1.001;
      }
      ASSERT_NEAR(y[t * rows + r], sum, bound) << t << " " << r;
    }
  }
}

TEST_P(QuantizedLinear, GivesNaNForARowThatIsNotFiniteAndLeavesTheOthers) {
  const int64_t cols = 256, rows = 18;
  const Packed w = Pack(GetParam(), rows, cols, Codes::kRandom, 6);
  const auto x = RandomFloats(3 * cols, 7);
  for (const KernelTable* k : Runnable()) {
    const auto expected = Multiply(k->linear, w, x, 3, w.blocks());
    for (const float bad : {NAN, BitsToFloat(0xFF800001), INFINITY, -INFINITY}) {
      for (const int64_t at : {0, 15, 16, 37, 255}) {
        auto changed = x;
        changed[cols + at] = bad;
        const auto y = Multiply(k->linear, w, changed, 3, w.blocks());
        for (int64_t i = 0; i < 3 * rows; ++i) {
          if (i / rows == 1) {
            ASSERT_TRUE(std::isnan(y[i])) << k->isa << " " << bad << " at " << at;
          } else {
            ASSERT_EQ(FloatToBits(y[i]), FloatToBits(expected[i])) << k->isa << " " << at;
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, QuantizedLinear, testing::ValuesIn(QuantizedTypes()),
                         [](const testing::TestParamInfo<DType>& type) {
                           return std::string(Name(type.param));
                         });

// What the codes stand for, at both ends of what a float can be.
TEST(Quantize, ScalesTinyAndHugeBlocks) {
  for (const KernelTable* table : Runnable()) {
    for (const float max : {3.4028235e38f, 1e30f, 0x1p-100f, 0x1.fffffep-101f, 1e-40f, 0.0f}) {
      std::vector<float> x(kBlockCols, max);
      x[3] = -max;
      std::vector<std::byte> act(kActBlockBytes);
      table->linear.quantize({x.data(), kBlockCols, 1, 1, act.data()});
      float s, offset;
      int32_t neg_sum;
      std::memcpy(&s, &act[64 + 4 * kActScale], 4);
      std::memcpy(&neg_sum, &act[64 + 4 * kActNegSum], 4);
      std::memcpy(&offset, &act[64 + 4 * kActOffset], 4);
      const bool zero = max < 0x1p-100f;
      EXPECT_EQ(s, zero ? 0 : max / 16256) << table->isa << " " << max;
      EXPECT_EQ(neg_sum, zero ? 0 : -30 * 16256) << table->isa << " " << max;
      EXPECT_EQ(offset, s * (zero ? 0 : 30 * 16256)) << table->isa << " " << max;
    }
  }
}

TEST(Quantize, TreatsEachBlockByItself) {
  // Weights that are one at a single column read an activation back.
  const int64_t cols = 64;
  std::vector<std::byte> row(static_cast<size_t>(*RowBytes(DType::kQ8_0, cols)));
  const PanelFormat f = PanelFormatOf(DType::kQ8_0);
  std::vector<float> x(cols);
  for (int64_t k = 0; k < 32; ++k) x[k] = static_cast<float>(k) * 1e-6f;
  for (int64_t k = 32; k < 64; ++k) x[k] = static_cast<float>(48 - k) * 1e6f;
  for (const KernelTable* table : Runnable()) {
    for (int64_t k = 0; k < cols; ++k) {
      std::fill(row.begin(), row.end(), std::byte{0});
      const uint16_t one = FloatToF16(1);
      for (int b = 0; b < 2; ++b) std::memcpy(&row[b * 34], &one, 2);
      row[k / 32 * 34 + 2 + k % 32] = std::byte{1};
      PageBuffer panel(PanelBytes(f, cols));
      PackPanel(DType::kQ8_0, f, row.data(), 68, 1, cols, panel.data());
      std::vector<std::byte> act(2 * kActBlockBytes);
      table->linear.quantize({x.data(), cols, 1, 2, act.data()});
      float y[2] = {0, -5};
      PanelDotArgs a;
      a.format = &f;
      a.panel = panel.data();
      a.tile = act.data();
      a.nt = 1;
      a.blocks = 2;
      a.y = y;
      a.rows = 1;
      a.scale = 2;
      table->linear.panel_dot(a);
      const float max = k < 32 ? 31e-6f : 16e6f;
      EXPECT_NEAR(y[0], 2 * x[k], max / 16256 * 1.0001f) << table->isa << " " << k;
      EXPECT_EQ(y[1], -5) << "wrote past the rows that exist";
    }
  }
}

// Rows of 16-bit or 32-bit floats, at an odd address.
template <class T>
std::vector<std::byte> OddBytes(const std::vector<T>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(T) + 1);
  std::memcpy(bytes.data() + 1, values.data(), values.size() * sizeof(T));
  return bytes;
}

struct FloatCase {
  const char* name;
  void (*LinearKernels::*dot)(const DotArgs&);
  int bytes;
  double tolerance;  // of the sum of absolute products
};
const FloatCase kFloatCases[] = {{"f32", &LinearKernels::dot_f32, 4, 4e-6},
                                 {"f16", &LinearKernels::dot_f16, 2, 4e-6},
                                 {"bf16", &LinearKernels::dot_bf16, 2, 4e-6},
                                 {"exact", &LinearKernels::dot_f32_exact, 4, 1e-14}};

TEST(FloatDot, IsCloseToTheSumInDoubleAndTheSameInEveryTile) {
  for (const int64_t cols : {1, 3, 4, 7, 8, 15, 16, 17, 31, 32, 33, 100, 257}) {
    const int64_t rows = 11, tokens = 14;
    const auto x = RandomFloats(tokens * cols, 7);
    auto w = RandomFloats(rows * cols, 8);
    for (float& v : w) v = F16ToFloat(FloatToF16(Bf16ToFloat(FloatToBf16(v))));
    std::vector<uint16_t> half(w.size()), brain(w.size());
    for (size_t i = 0; i < w.size(); ++i) {
      half[i] = FloatToF16(w[i]);
      brain[i] = FloatToBf16(w[i]);
    }
    for (const FloatCase& c : kFloatCases) {
      const auto bytes = c.bytes == 4                       ? OddBytes(w)
                         : c.dot == &LinearKernels::dot_f16 ? OddBytes(half)
                                                            : OddBytes(brain);
      for (const KernelTable* k : Runnable()) {
        std::vector<float> y(static_cast<size_t>(tokens * rows));
        DotArgs a;
        a.w = bytes.data() + 1;
        a.w_stride = cols * c.bytes;
        a.rows = rows;
        a.x = x.data();
        a.x_stride = cols;
        a.tokens = tokens;
        a.cols = cols;
        a.y = y.data();
        a.y_stride = rows;
        (k->linear.*c.dot)(a);
        for (int64_t t = 0; t < tokens; ++t) {
          for (int64_t r = 0; r < rows; ++r) {
            double sum = 0, size = 0;
            for (int64_t i = 0; i < cols; ++i) {
              const double product = double{w[r * cols + i]} * x[t * cols + i];
              sum += product;
              size += std::fabs(product);
            }
            ASSERT_NEAR(y[t * rows + r], sum, size * c.tolerance + std::fabs(sum) * 0x1p-24)
                << k->isa << " " << c.name << " cols " << cols;
            DotArgs one = a;  // the element alone
            float alone = 0;
            one.w = a.w + r * a.w_stride;
            one.x = a.x + t * cols;
            one.rows = one.tokens = 1;
            one.y = &alone;
            (k->linear.*c.dot)(one);
            ASSERT_EQ(FloatToBits(alone), FloatToBits(y[t * rows + r]))
                << k->isa << " " << c.name << " cols " << cols;
          }
        }
      }
    }
  }
}

TEST(FloatDot, ConvertsEvery16BitFloat) {
  for (const int64_t cols : {1, 16}) {  // alone in the rest, and in a whole vector
    std::vector<uint16_t> w(static_cast<size_t>(65536 * cols));
    for (int64_t r = 0; r < 65536; ++r) w[r * cols] = static_cast<uint16_t>(r);
    std::vector<float> x(static_cast<size_t>(cols), 1.f), y(65536);
    for (const KernelTable* k : Runnable()) {
      for (const bool brain : {false, true}) {
        DotArgs a;
        a.w = reinterpret_cast<const std::byte*>(w.data());
        a.w_stride = cols * 2;
        a.rows = 65536;
        a.x = x.data();
        a.tokens = 1;
        a.cols = cols;
        a.y = y.data();
        (brain ? k->linear.dot_bf16 : k->linear.dot_f16)(a);
        for (int64_t r = 0; r < 65536; ++r) {
          const auto h = static_cast<uint16_t>(r);
          const float expected = brain ? Bf16ToFloat(h) : F16ToFloat(h);
          if (std::isnan(expected)) {
            ASSERT_TRUE(std::isnan(y[r])) << k->isa << " " << r;
          } else {
            ASSERT_EQ(y[r], expected) << k->isa << " " << r;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace carat
