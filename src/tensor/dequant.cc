// SPDX-License-Identifier: Apache-2.0
#include "tensor/dequant.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "tensor/block_decoder.h"
#include "tensor/half.h"

namespace carat {
namespace {

void WidenBf16(const std::byte* src, int64_t n, float* dst) {
  for (int64_t i = 0; i < n; ++i) {
    uint16_t h;
    std::memcpy(&h, src + 2 * i, sizeof(h));
    dst[i] = Bf16ToFloat(h);
  }
}

void WidenF16(const std::byte* src, int64_t n, float* dst) {
  for (int64_t i = 0; i < n; ++i) {
    uint16_t h;
    std::memcpy(&h, src + 2 * i, sizeof(h));
    dst[i] = F16ToFloat(h);
  }
}

// Elements decoded at a time: a multiple of every block, and small enough for the stack and L1.
constexpr int kChunk = 1024;

template <int kGroup, bool kOffset>
void CodesToFloat(const BlockDecoder& decoder, const std::byte* src, int64_t n, float* dst) {
  int8_t codes[kChunk];
  float scales[kChunk / kGroup], offsets[kChunk / kGroup];
  for (int64_t done = 0; done < n; done += kChunk) {
    const int64_t count = std::min<int64_t>(kChunk, n - done);
    decoder.decode(src, count, codes, scales, kOffset ? offsets : nullptr);
    for (int64_t g = 0; g < count / kGroup; ++g) {
      for (int j = 0; j < kGroup; ++j) {
        const float product = static_cast<float>(codes[g * kGroup + j]) * scales[g];
        dst[g * kGroup + j] = kOffset ? product + offsets[g] : product;
      }
    }
    src += count / decoder.elems * decoder.bytes;
    dst += count;
  }
}

}  // namespace

void DequantRow(DType type, const std::byte* src, int64_t n, float* dst) {
  CARAT_CHECK(n >= 0);
  if (type == DType::kF32) {
    std::memcpy(dst, src, static_cast<size_t>(n) * sizeof(float));
    return;
  }
  if (type == DType::kF16) return WidenF16(src, n, dst);
  if (type == DType::kBF16) return WidenBf16(src, n, dst);

  const BlockDecoder& decoder = DecoderOf(type);
  CARAT_CHECK(n % decoder.elems == 0);
  const bool offset = decoder.format.has_offset;
  if (decoder.format.group == 32) {
    offset ? CodesToFloat<32, true>(decoder, src, n, dst)
           : CodesToFloat<32, false>(decoder, src, n, dst);
  } else {
    offset ? CodesToFloat<16, true>(decoder, src, n, dst)
           : CodesToFloat<16, false>(decoder, src, n, dst);
  }
}

}  // namespace carat
