// SPDX-License-Identifier: Apache-2.0
#include "io/gguf.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>

#include "base/checked.h"
#include "base/printable.h"

namespace carat {
namespace {

static_assert(std::endian::native == std::endian::little, "values are used as they lie in files");

// Real files have less than 100 keys, 2000 tensors and 16 MB of header (48 MB with a tokenizer.json
// inside). The caps keep a hostile (also: sparse) file of any size within a second and, beside its
// mapped header, as much memory again.
constexpr uint64_t kMaxKeys = 1 << 16;
constexpr uint64_t kMaxTensors = 1 << 16;
constexpr uint64_t kMaxHeaderBytes = 64 << 20;
constexpr uint64_t kMaxKeyBytes = 65535;
constexpr uint64_t kMaxNameBytes = 63;
constexpr uint64_t kMaxStringBytes = 1 << 30;
constexpr uint64_t kMaxArrayCount = 1 << 30;
constexpr uint64_t kMaxAlignment = 1 << 20;
constexpr uint64_t kMinKeyValueBytes = 8 + 1 + 4 + 1;
constexpr uint64_t kMinTensorInfoBytes = 8 + 1 + 4 + 4 + 8;
constexpr uint32_t kMaxDims = 4;

// Bytes of a fixed-size value; 0 for strings, arrays and unknown types.
uint64_t ScalarBytes(uint32_t type) {
  switch (static_cast<GgufType>(type)) {
    case GgufType::kU8:
    case GgufType::kI8:
    case GgufType::kBool:
      return 1;
    case GgufType::kU16:
    case GgufType::kI16:
      return 2;
    case GgufType::kU32:
    case GgufType::kI32:
    case GgufType::kF32:
      return 4;
    case GgufType::kU64:
    case GgufType::kI64:
    case GgufType::kF64:
      return 8;
    case GgufType::kString:
    case GgufType::kArray:
      return 0;
  }
  return 0;
}

std::string_view Text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class Parser {
 public:
  explicit Parser(std::shared_ptr<const MappedFile> file)
      : file_(std::move(file)), name_(file_->path().string()), all_(file_->bytes()) {}

  Result<GgufFile> Parse();

 private:
  Status ReadKeyValue();
  Status ReadArray(std::string_view key, GgufValue* value);
  Status ReadAlignment();
  Status ReadTensorInfo();
  Status PlaceTensors();
  Status CheckOverlap() const;

  uint64_t left() const { return std::min<uint64_t>(all_.size(), kMaxHeaderBytes) - at_; }
  tl::unexpected<Error> Ends(std::string_view what) const {
    if (all_.size() > kMaxHeaderBytes)
      return BadFile("{}: {} passes byte {}, the end of the longest header", name_, what,
                     kMaxHeaderBytes);
    return BadFile("{}: the header ends inside {} (byte {} of {})", name_, what, at_, all_.size());
  }
  template <class T>
  Status Read(T* out, std::string_view what) {
    if (sizeof(T) > left()) return Ends(what);
    std::memcpy(out, all_.data() + at_, sizeof(T));
    at_ += sizeof(T);
    return {};
  }
  Result<std::string_view> ReadString(std::string_view what, uint64_t max_bytes) {
    uint64_t length = 0;
    CARAT_RETURN_IF_ERROR(Read(&length, what));
    if (length > max_bytes)
      return BadFile("{}: {}: length {}, expected at most {}", name_, what, length, max_bytes);
    if (length > left()) return Ends(what);
    const std::string_view text = Text(all_.subspan(at_, length));
    at_ += length;
    return text;
  }

  const std::shared_ptr<const MappedFile> file_;
  const std::string name_;
  const std::span<const std::byte> all_;
  uint64_t at_ = 0;  // <= all_.size()
  GgufFile out_;
};

Result<GgufFile> Parser::Parse() {
  out_.file = file_;
  out_.metadata = std::make_shared<GgufMetadata>();
  out_.metadata->file = name_;
  out_.metadata->owner = file_;

  if (all_.size() < 24)
    return BadFile("{}: {} bytes, a GGUF file has at least 24", name_, all_.size());
  if (std::memcmp(all_.data(), "GGUF", 4) != 0)
    return BadFile("{}: magic: expected \"GGUF\", found \"{}\"", name_,
                   Printable(Text(all_.first(4))));
  at_ = 4;
  uint64_t tensors = 0, keys = 0;
  CARAT_RETURN_IF_ERROR(Read(&out_.version, "the version"));
  if (out_.version != 2 && out_.version != 3) {
    if (out_.version != 0 && (out_.version & 0xFFFF) == 0)
      return BadFile("{}: version: expected 2 or 3, found {:#x}: a big-endian file", name_,
                     out_.version);
    return BadFile("{}: version: expected 2 or 3, found {}", name_, out_.version);
  }
  CARAT_RETURN_IF_ERROR(Read(&tensors, "the tensor count"));
  CARAT_RETURN_IF_ERROR(Read(&keys, "the key count"));
  const uint64_t fit_keys = std::min(kMaxKeys, left() / kMinKeyValueBytes);
  if (keys > fit_keys)
    return BadFile("{}: metadata key count: expected at most {}, found {}", name_, fit_keys, keys);
  const uint64_t fit_tensors = std::min(kMaxTensors, left() / kMinTensorInfoBytes);
  if (tensors > fit_tensors)
    return BadFile("{}: tensor count: expected at most {}, found {}", name_, fit_tensors, tensors);

  for (uint64_t i = 0; i < keys; ++i) CARAT_RETURN_IF_ERROR(ReadKeyValue());
  CARAT_RETURN_IF_ERROR(ReadAlignment());
  for (uint64_t i = 0; i < tensors; ++i) CARAT_RETURN_IF_ERROR(ReadTensorInfo());
  // The header is at most kMaxHeaderBytes long: rounding cannot wrap. Without tensors some writers
  // leave the padding out.
  if (!CheckedRoundUp(at_, out_.alignment, &out_.data_start))
    return BadFile("{}: the header is too long", name_);
  if (tensors == 0) out_.data_start = std::min<uint64_t>(out_.data_start, all_.size());
  CARAT_RETURN_IF_ERROR(PlaceTensors());
  CARAT_RETURN_IF_ERROR(CheckUniqueNames(name_, out_.tensors));
  CARAT_RETURN_IF_ERROR(CheckOverlap());
  return std::move(out_);
}

Status Parser::ReadKeyValue() {
  CARAT_ASSIGN_OR_RETURN(const std::string_view key, ReadString("a metadata key", kMaxKeyBytes));
  if (key.empty()) return BadFile("{}: a metadata key is empty", name_);
  if (key.find('\0') != std::string_view::npos)
    return BadFile("{}: metadata key \"{}\" contains a NUL", name_, Printable(key));
  uint32_t type = 0;
  CARAT_RETURN_IF_ERROR(Read(&type, "a value type"));
  GgufValue value;
  value.type = static_cast<GgufType>(type);
  const uint64_t bytes = ScalarBytes(type);
  if (bytes > 0) {
    if (bytes > left()) return Ends(fmt::format("\"{}\"", Printable(key)));
    value.bytes = all_.subspan(at_, bytes);
    at_ += bytes;
  } else if (value.type == GgufType::kString) {
    CARAT_ASSIGN_OR_RETURN(const std::string_view text, ReadString("a string", kMaxStringBytes));
    if (text.find('\0') != std::string_view::npos)
      return BadFile("{}: \"{}\": string contains a NUL", name_, Printable(key));
    value.bytes = std::as_bytes(std::span(text));
  } else if (value.type == GgufType::kArray) {
    CARAT_RETURN_IF_ERROR(ReadArray(key, &value));
  } else {
    return BadFile("{}: \"{}\": unknown value type {}", name_, Printable(key), type);
  }
  if (!out_.metadata->values.emplace(key, value).second)
    return BadFile("{}: metadata key \"{}\" twice", name_, Printable(key));
  return {};
}

Status Parser::ReadArray(std::string_view key, GgufValue* value) {
  uint32_t elem = 0;
  CARAT_RETURN_IF_ERROR(Read(&elem, "an array"));
  CARAT_RETURN_IF_ERROR(Read(&value->count, "an array"));
  value->elem = static_cast<GgufType>(elem);
  if (value->elem == GgufType::kArray)
    return BadFile("{}: \"{}\": array of arrays", name_, Printable(key));
  const bool strings = value->elem == GgufType::kString;
  const uint64_t each = strings ? 8 : ScalarBytes(elem);  // at least
  if (each == 0) return BadFile("{}: \"{}\": unknown element type {}", name_, Printable(key), elem);
  if (value->count > kMaxArrayCount || value->count > left() / each)
    return BadFile("{}: \"{}\": array of {} elements, expected at most {}", name_, Printable(key),
                   value->count, std::min(kMaxArrayCount, left() / each));
  const uint64_t begin = at_;
  if (strings) {
    for (uint64_t i = 0; i < value->count; ++i)
      CARAT_RETURN_IF_ERROR(ReadString("an array of strings", kMaxStringBytes));
  } else {
    at_ += value->count * each;
  }
  value->bytes = all_.subspan(begin, at_ - begin);
  return {};
}

Status Parser::ReadAlignment() {
  const auto it = out_.metadata->values.find("general.alignment");
  if (it == out_.metadata->values.end()) return {};
  CARAT_ASSIGN_OR_RETURN(const uint32_t alignment, out_.metadata->RequireU32("general.alignment"));
  if (alignment < 8 || alignment > kMaxAlignment || !std::has_single_bit(alignment))
    return BadFile("{}: \"general.alignment\": expected a power of two in 8..{}, found {}", name_,
                   kMaxAlignment, alignment);
  out_.alignment = alignment;
  return {};
}

// Leaves the offset relative to the data section, whose start is not known yet.
Status Parser::ReadTensorInfo() {
  CARAT_ASSIGN_OR_RETURN(const std::string_view name, ReadString("a tensor name", kMaxNameBytes));
  if (name.empty()) return BadFile("{}: a tensor name is empty", name_);
  if (name.find('\0') != std::string_view::npos)
    return BadFile("{}: tensor name \"{}\" contains a NUL", name_, Printable(name));
  TensorEntry t;
  t.name = name;
  t.file = file_;
  uint32_t dims = 0;
  CARAT_RETURN_IF_ERROR(Read(&dims, "a tensor description"));
  if (dims > kMaxDims)
    return BadFile("{}: tensor \"{}\": expected at most {} dimensions, found {}", name_,
                   Printable(name), kMaxDims, dims);
  t.shape.resize(dims);
  // The file lists the contiguous dimension first; TensorEntry has it last.
  for (uint32_t d = dims; d-- > 0;) {
    CARAT_RETURN_IF_ERROR(Read(&t.shape[d], "a tensor description"));
    if (t.shape[d] > static_cast<uint64_t>(INT64_MAX))
      return BadFile("{}: tensor \"{}\": dimension {} is not below 2^63", name_, Printable(name),
                     t.shape[d]);
  }
  uint32_t type = 0;
  CARAT_RETURN_IF_ERROR(Read(&type, "a tensor description"));
  CARAT_RETURN_IF_ERROR(Read(&t.offset, "a tensor description"));
  const std::optional<DType> dtype = FromGgml(type);
  if (!dtype)
    return BadFile("{}: tensor \"{}\": type {}: {}", name_, Printable(name), type,
                   RefusedGgmlName(type));
  t.dtype = *dtype;

  const uint64_t cols = dims == 0 ? 1 : t.shape.back();
  if (cols % Info(t.dtype).block_elems != 0)
    return BadFile("{}: tensor \"{}\": rows of {} elements, expected a multiple of {} for {}",
                   name_, Printable(name), cols, Info(t.dtype).block_elems, Name(t.dtype));
  const std::optional<uint64_t> row = RowBytes(t.dtype, cols);
  bool fits = row.has_value();
  t.bytes = row.value_or(0);
  uint64_t elements = cols;
  for (uint32_t d = 0; fits && d + 1 < dims; ++d)
    fits = CheckedMul(t.bytes, t.shape[d], &t.bytes) && CheckedMul(elements, t.shape[d], &elements);
  if (!fits || elements > static_cast<uint64_t>(INT64_MAX))
    return BadFile("{}: tensor \"{}\": size does not fit 64 bits", name_, Printable(name));
  out_.tensors.push_back(std::move(t));
  return {};
}

Status Parser::PlaceTensors() {
  for (TensorEntry& t : out_.tensors) {
    if (t.offset % out_.alignment != 0)
      return BadFile("{}: tensor \"{}\": offset {}, expected a multiple of {}", name_,
                     Printable(t.name), t.offset, out_.alignment);
    uint64_t begin = 0, end = 0;
    const bool fits = CheckedAdd(out_.data_start, t.offset, &begin) &&
                      CheckedAdd(begin, t.bytes, &end) && end <= all_.size();
    if (!fits) {
      // An empty tensor may stand behind padding that was not written.
      const bool empty_at_end = t.bytes == 0 && begin >= t.offset && begin > all_.size() &&
                                begin - all_.size() < out_.alignment;
      if (!empty_at_end)
        return BadFile("{}: tensor \"{}\": {} bytes at {} + {} pass the end of the file ({} bytes)",
                       name_, Printable(t.name), t.bytes, out_.data_start, t.offset, all_.size());
      begin = all_.size();
    }
    t.offset = begin;
  }
  return {};
}

Status Parser::CheckOverlap() const {
  std::vector<const TensorEntry*> order;
  order.reserve(out_.tensors.size());
  for (const TensorEntry& t : out_.tensors)
    if (t.bytes > 0) order.push_back(&t);
  std::sort(order.begin(), order.end(),
            [](const TensorEntry* a, const TensorEntry* b) { return a->offset < b->offset; });
  for (size_t i = 1; i < order.size(); ++i) {
    const TensorEntry& a = *order[i - 1];
    const TensorEntry& b = *order[i];
    if (b.offset < a.offset + a.bytes)
      return BadFile("{}: tensors \"{}\" and \"{}\" overlap at byte {}", name_, Printable(a.name),
                     Printable(b.name), b.offset);
  }
  return {};
}

}  // namespace

Result<GgufFile> ParseGguf(std::shared_ptr<const MappedFile> file) {
  return Parser(std::move(file)).Parse();
}

Result<GgufFile> OpenGguf(const std::filesystem::path& path) {
  CARAT_ASSIGN_OR_RETURN(std::shared_ptr<const MappedFile> file, MappedFile::Open(path));
  return ParseGguf(std::move(file));
}

}  // namespace carat
