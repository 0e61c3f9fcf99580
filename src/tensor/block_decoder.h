// SPDX-License-Identifier: Apache-2.0
// Inside of quant_codes.h, shared by the codes_*.cc files: how one block type is described. Every
// type is a struct of bytes that mirrors the file's block, with a Decode member.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "tensor/half.h"
#include "tensor/quant_codes.h"

namespace carat {

static_assert(std::endian::native == std::endian::little, "blocks are little-endian");

struct BlockDecoder {
  int elems;  // of one block
  int bytes;
  CodeFormat format;
  // Decodes n / elems blocks; `offsets` may be null.
  void (*decode)(const std::byte* blocks, int64_t n, int8_t* codes, float* scales, float* offsets);
};

// A Block has kElems, kFormat, only byte members (so that sizeof is the file's block size) and
// Decode(codes, scales), or Decode(codes, scales, offsets) when kFormat.has_offset.
template <class Block>
void DecodeBlocks(const std::byte* blocks, int64_t n, int8_t* codes, float* scales,
                  float* offsets) {
  constexpr int kGroups = Block::kElems / Block::kFormat.group;
  static_assert(alignof(Block) == 1 && Block::kElems % Block::kFormat.group == 0);
  for (int64_t i = 0; i < n; i += Block::kElems) {
    // A local copy: stores to `codes` cannot alias it, which lets the compiler vectorise.
    Block block;
    std::memcpy(&block, blocks, sizeof(Block));
    if constexpr (Block::kFormat.has_offset) {
      float group_offsets[kGroups];
      block.Decode(codes, scales, group_offsets);
      if (offsets) std::memcpy(offsets, group_offsets, sizeof(group_offsets));
    } else {
      block.Decode(codes, scales);
      if (offsets) std::memset(offsets, 0, kGroups * sizeof(float));
    }
    blocks += sizeof(Block);
    codes += Block::kElems;
    scales += kGroups;
    if (offsets) offsets += kGroups;
  }
}

template <class Block>
constexpr BlockDecoder MakeDecoder() {
  return {Block::kElems, static_cast<int>(sizeof(Block)), Block::kFormat, &DecodeBlocks<Block>};
}

// codes_small.cc
extern const BlockDecoder kQ4_0Decoder, kQ4_1Decoder, kQ5_0Decoder, kQ5_1Decoder, kQ8_0Decoder,
    kTQ1_0Decoder, kTQ2_0Decoder, kQ1_0Decoder, kQ2_0Decoder, kMXFP4Decoder, kNVFP4Decoder;
// codes_k.cc
extern const BlockDecoder kQ2_KDecoder, kQ3_KDecoder, kQ4_KDecoder, kQ5_KDecoder, kQ6_KDecoder;
// codes_iq.cc
extern const BlockDecoder kIQ1_SDecoder, kIQ1_MDecoder, kIQ2_XXSDecoder, kIQ2_XSDecoder,
    kIQ2_SDecoder, kIQ3_XXSDecoder, kIQ3_SDecoder, kIQ4_NLDecoder, kIQ4_XSDecoder;

// Requires IsQuantized(type).
const BlockDecoder& DecoderOf(DType type);

inline uint16_t LoadU16(const uint8_t* p) { return static_cast<uint16_t>(p[0] | p[1] << 8); }
inline uint32_t LoadU32(const uint8_t* p) { return LoadU16(p) | uint32_t{LoadU16(p + 2)} << 16; }
inline float LoadF16(const uint8_t* p) { return F16ToFloat(LoadU16(p)); }

// Byte i of the result (in memory order) is bit i of `bits`, 0 or 1.
inline uint64_t SpreadBits(uint8_t bits) {
  // A copy of all bits in every byte, of which byte i keeps bit i; adding 0x7F moves any set bit
  // to the top of its byte without a carry into the next.
  const uint64_t own = (bits * 0x0101010101010101u) & 0x8040201008040201u;
  return (own + 0x7F7F7F7F7F7F7F7Fu) >> 7 & 0x0101010101010101u;
}

}  // namespace carat
