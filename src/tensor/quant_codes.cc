// SPDX-License-Identifier: Apache-2.0
#include "tensor/quant_codes.h"

#include "base/check.h"
#include "tensor/block_decoder.h"

namespace carat {

const BlockDecoder& DecoderOf(DType type) {
  switch (type) {
    case DType::kQ4_0:
      return kQ4_0Decoder;
    case DType::kQ4_1:
      return kQ4_1Decoder;
    case DType::kQ5_0:
      return kQ5_0Decoder;
    case DType::kQ5_1:
      return kQ5_1Decoder;
    case DType::kQ8_0:
      return kQ8_0Decoder;
    case DType::kQ2_K:
      return kQ2_KDecoder;
    case DType::kQ3_K:
      return kQ3_KDecoder;
    case DType::kQ4_K:
      return kQ4_KDecoder;
    case DType::kQ5_K:
      return kQ5_KDecoder;
    case DType::kQ6_K:
      return kQ6_KDecoder;
    case DType::kIQ1_S:
      return kIQ1_SDecoder;
    case DType::kIQ1_M:
      return kIQ1_MDecoder;
    case DType::kIQ2_XXS:
      return kIQ2_XXSDecoder;
    case DType::kIQ2_XS:
      return kIQ2_XSDecoder;
    case DType::kIQ2_S:
      return kIQ2_SDecoder;
    case DType::kIQ3_XXS:
      return kIQ3_XXSDecoder;
    case DType::kIQ3_S:
      return kIQ3_SDecoder;
    case DType::kIQ4_NL:
      return kIQ4_NLDecoder;
    case DType::kIQ4_XS:
      return kIQ4_XSDecoder;
    case DType::kTQ1_0:
      return kTQ1_0Decoder;
    case DType::kTQ2_0:
      return kTQ2_0Decoder;
    case DType::kQ1_0:
      return kQ1_0Decoder;
    case DType::kQ2_0:
      return kQ2_0Decoder;
    case DType::kMXFP4:
      return kMXFP4Decoder;
    case DType::kNVFP4:
      return kNVFP4Decoder;
    default:
      break;
  }
  CARAT_CHECK(IsQuantized(type));
  __builtin_unreachable();
}

CodeFormat CodesOf(DType type) { return DecoderOf(type).format; }

void DecodeCodes(DType type, const std::byte* blocks, int64_t n, int8_t* codes, float* scales,
                 float* offsets) {
  const BlockDecoder& decoder = DecoderOf(type);
  CARAT_CHECK(n >= 0 && n % decoder.elems == 0);
  decoder.decode(blocks, n, codes, scales, offsets);
}

}  // namespace carat
