// SPDX-License-Identifier: Apache-2.0
// Reading of values: rows of tables and small float tensors, both by pread.
#include <algorithm>
#include <array>
#include <cmath>

#include "base/printable.h"
#include "model/tensors_internal.h"
#include "tensor/dequant.h"

namespace carat {

Status RowTable::Read(int64_t r, float* out) const {
  // On the stack, so that threads share nothing; a row of the largest model takes two pieces.
  constexpr uint64_t kPieceBytes = 16384;
  alignas(64) std::array<std::byte, kPieceBytes> piece;
  const DTypeInfo& info = Info(dtype);
  const uint64_t row_bytes = static_cast<uint64_t>(cols) / info.block_elems * info.block_bytes;
  const uint64_t blocks_at_once = kPieceBytes / info.block_bytes;
  uint64_t at = offset + static_cast<uint64_t>(r) * row_bytes;
  float* const begin = out;
  for (uint64_t left = row_bytes / info.block_bytes; left > 0;) {
    const uint64_t blocks = std::min(left, blocks_at_once);
    const uint64_t bytes = blocks * info.block_bytes;
    CARAT_RETURN_IF_ERROR(file->ReadAt(at, std::span(piece).first(bytes)));
    const auto elems = static_cast<int64_t>(blocks * info.block_elems);
    DequantRow(dtype, piece.data(), elems, out);
    out += elems;
    at += bytes;
    left -= blocks;
  }
  if (scale != 1) {
    for (float* x = begin; x != out; ++x) *x *= scale;
  }
  return {};
}

Result<std::vector<float>> ReadFloats(const std::string& file, const TensorEntry& entry,
                                      float offset) {
  if (!IsFloat(entry.dtype)) {
    return BadFile("{}: tensor \"{}\": expected type F32, F16 or BF16, found {}", file,
                   Printable(entry.name), Name(entry.dtype));
  }
  const uint64_t count = entry.bytes / Info(entry.dtype).block_bytes;
  std::vector<std::byte> bytes(entry.bytes);
  CARAT_RETURN_IF_ERROR(entry.file->ReadAt(entry.offset, bytes));
  std::vector<float> values(count);
  DequantRow(entry.dtype, bytes.data(), static_cast<int64_t>(count), values.data());
  for (float& v : values) {
    if (!std::isfinite(v)) {
      return BadFile("{}: tensor \"{}\": expected finite values, found {} (damaged file?)", file,
                     Printable(entry.name), v);
    }
    v += offset;
  }
  return values;
}

}  // namespace carat
