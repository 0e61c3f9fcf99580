// SPDX-License-Identifier: Apache-2.0
#include "io/safetensors.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <tuple>
#include <utility>

#include "base/checked.h"
#include "base/json.h"
#include "base/printable.h"

namespace carat {
namespace {

constexpr uint64_t kMaxHeaderBytes = 100'000'000;
constexpr size_t kMaxTensors = 1 << 17;
constexpr size_t kMaxRank = 32;
constexpr int kMaxDepth = 64;  // of values that are skipped

// Reads the header without building a tree: the entry {"dtype", "shape", "data_offsets"} of each
// name, the strings of "__metadata__", and nothing of unknown fields.
class HeaderReader : public nlohmann::json_sax<Json> {
 public:
  // The data are what `file` has from `data_start` on.
  HeaderReader(std::shared_ptr<const MappedFile> file, uint64_t data_start)
      : file_(std::move(file)), data_start_(data_start) {}

  bool null() override { return Scalar("null"); }
  bool boolean(bool v) override { return Scalar(v ? "true" : "false"); }
  bool number_integer(number_integer_t v) override { return Scalar(std::to_string(v)); }
  bool number_float(number_float_t, const string_t& text) override { return Scalar(text); }
  bool binary(binary_t&) override { return Scalar("a binary value"); }

  bool number_unsigned(number_unsigned_t v) override {
    if (state_ != State::kShape && state_ != State::kOffsets) return Scalar(std::to_string(v));
    if (state_ == State::kShape) {
      if (tensor_.shape.size() >= kMaxRank)
        return Fail(fmt::format("{}: expected at most {} dimensions", Place(), kMaxRank));
      tensor_.shape.push_back(v);
      return true;
    }
    if (offset_count_ >= 2) return Fail(Place() + ": expected two numbers, found more");
    offsets_[offset_count_++] = v;
    return true;
  }

  bool string(string_t& v) override {
    if (state_ == State::kSkip) return true;
    if (state_ == State::kMetadata) {
      if (!metadata.emplace(field_, std::move(v)).second)
        return Fail(fmt::format("{}: \"{}\" twice", Place(), Printable(field_)));
      return true;
    }
    if (state_ == State::kEntry && field_ == "dtype") {
      const std::optional<DType> dtype = FromSafetensors(v);
      if (!dtype) return Fail(fmt::format("{}: unknown type \"{}\"", Place(), Printable(v)));
      tensor_.dtype = *dtype;
      return true;
    }
    if (state_ == State::kEntry && !Known(field_)) return true;
    return Scalar(fmt::format("string \"{}\"", Printable(v, 40)));
  }

  bool start_object(std::size_t) override {
    switch (state_) {
      case State::kStart:
        state_ = State::kTop;
        return true;
      case State::kTop:
        if (field_ == "__metadata__") {
          if (std::exchange(has_metadata_, true)) return Fail("\"__metadata__\" twice");
          state_ = State::kMetadata;
          return true;
        }
        tensor_ = TensorEntry();
        tensor_.name = field_;
        has_dtype_ = has_shape_ = has_offsets_ = false;
        offset_count_ = 0;
        state_ = State::kEntry;
        return true;
      default:
        return Skip("an object");
    }
  }

  bool start_array(std::size_t) override {
    if (state_ == State::kEntry && field_ == "shape") {
      state_ = State::kShape;
      return true;
    }
    if (state_ == State::kEntry && field_ == "data_offsets") {
      state_ = State::kOffsets;
      return true;
    }
    return Skip("an array");
  }

  bool key(string_t& name) override {
    if (state_ == State::kSkip) return true;
    field_ = std::move(name);
    if (state_ != State::kEntry) return true;
    bool* seen = field_ == "dtype"          ? &has_dtype_
                 : field_ == "shape"        ? &has_shape_
                 : field_ == "data_offsets" ? &has_offsets_
                                            : nullptr;
    if (seen && std::exchange(*seen, true)) return Fail(Place() + " twice");
    return true;
  }

  bool end_object() override {
    if (state_ == State::kSkip) return Unskip();
    if (state_ == State::kTop) {
      state_ = State::kStart;
      return true;
    }
    if (state_ == State::kMetadata) {
      state_ = State::kTop;
      return true;
    }
    state_ = State::kTop;
    return AddTensor();
  }

  bool end_array() override {
    if (state_ == State::kSkip) return Unskip();
    if (state_ == State::kOffsets && offset_count_ != 2)
      return Fail(fmt::format("{}: expected two numbers, found {}", Place(), offset_count_));
    state_ = State::kEntry;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception& e) override {
    return Fail("header: invalid JSON: " + JsonSyntaxError(position, e.what()));
  }

  std::map<std::string, std::string, std::less<>> metadata;
  std::vector<TensorEntry> tensors;
  std::string problem;

 private:
  enum class State { kStart, kTop, kMetadata, kEntry, kShape, kOffsets, kSkip };

  static bool Known(std::string_view field) {
    return field == "dtype" || field == "shape" || field == "data_offsets";
  }
  bool Fail(std::string what) {
    problem = std::move(what);
    return false;
  }
  std::string Place() const {
    switch (state_) {
      case State::kStart:
        return "header";
      case State::kTop:
        return fmt::format("\"{}\"", Printable(field_));
      case State::kMetadata:
        return "\"__metadata__\"";
      default:
        return fmt::format("tensor \"{}\": {}", Printable(tensor_.name), Printable(field_));
    }
  }
  const char* Expected() const {
    switch (state_) {
      case State::kStart:
      case State::kTop:
        return "an object";
      case State::kMetadata:
        return "a string";
      case State::kShape:
      case State::kOffsets:
        return "a whole number below 2^64";
      default:
        return field_ == "dtype" ? "a string" : "an array";
    }
  }
  // A scalar where none, or another one, is wanted.
  bool Scalar(const std::string& found) {
    if (state_ == State::kSkip || (state_ == State::kEntry && !Known(field_))) return true;
    return Fail(
        fmt::format("{}: expected {}, found {}", Place(), Expected(), Printable(found, 60)));
  }
  bool Skip(const char* found) {
    if (state_ == State::kEntry && !Known(field_)) state_ = State::kSkip;
    if (state_ != State::kSkip)
      return Fail(fmt::format("{}: expected {}, found {}", Place(), Expected(), found));
    return ++depth_ <= kMaxDepth || Fail("JSON nested too deeply");
  }
  bool Unskip() {
    if (--depth_ == 0) state_ = State::kEntry;
    return true;
  }

  // Ends an entry: compares its offsets with the data, its type and its shape.
  bool AddTensor() {
    const auto fail = [&](const std::string& what) {
      return Fail(fmt::format("tensor \"{}\": {}", Printable(tensor_.name), what));
    };
    for (const auto& [has, name] : {std::pair(has_dtype_, "dtype"), std::pair(has_shape_, "shape"),
                                    std::pair(has_offsets_, "data_offsets")}) {
      if (!has) return fail(fmt::format("{}: missing", name));
    }
    if (tensors.size() >= kMaxTensors)
      return Fail(fmt::format("more than {} tensors", kMaxTensors));
    const uint64_t begin = offsets_[0], end = offsets_[1], data_bytes = file_->size() - data_start_;
    if (begin > end || end > data_bytes)
      return fail(
          fmt::format("data_offsets [{}, {}], the data have {} bytes", begin, end, data_bytes));
    uint64_t elements = 1;
    bool fits = true;
    for (const uint64_t d : tensor_.shape) fits = fits && CheckedMul(elements, d, &elements);
    // Types below a byte fill whole bytes over the whole tensor, not by row.
    if (fits && elements % Info(tensor_.dtype).block_elems != 0)
      return fail(
          fmt::format("{} elements of {} do not make whole bytes", elements, Name(tensor_.dtype)));
    const std::optional<uint64_t> bytes = fits ? RowBytes(tensor_.dtype, elements) : std::nullopt;
    if (!bytes) return fail("size does not fit 64 bits");
    if (*bytes != end - begin)
      return fail(
          fmt::format("type and shape make {} bytes, data_offsets {}", *bytes, end - begin));
    tensor_.file = file_;
    tensor_.offset = data_start_ + begin;
    tensor_.bytes = *bytes;
    tensors.push_back(std::move(tensor_));
    return true;
  }

  const std::shared_ptr<const MappedFile> file_;
  const uint64_t data_start_;
  State state_ = State::kStart;
  std::string field_;
  TensorEntry tensor_;
  bool has_metadata_ = false;
  bool has_dtype_ = false, has_shape_ = false, has_offsets_ = false;
  uint64_t offsets_[2] = {0, 0};
  int offset_count_ = 0;
  int depth_ = 0;
};

}  // namespace

Result<SafetensorsFile> ParseSafetensors(std::shared_ptr<const MappedFile> file) {
  const std::string name = file->path().string();
  const std::span<const std::byte> all = file->bytes();
  uint64_t header_bytes = 0;
  if (all.size() < sizeof header_bytes)
    return BadFile("{}: {} bytes, a safetensors file has at least 10", name, all.size());
  std::memcpy(&header_bytes, all.data(), sizeof header_bytes);
  const uint64_t most = std::min<uint64_t>(kMaxHeaderBytes, all.size() - sizeof header_bytes);
  if (header_bytes > most)
    return BadFile("{}: header length: expected at most {}, found {}", name, most, header_bytes);
  const std::string_view header(reinterpret_cast<const char*>(all.data()) + sizeof header_bytes,
                                header_bytes);
  if (header.empty() || header[0] != '{')
    return BadFile("{}: the header does not begin with '{{'", name);
  // The library takes a NUL for the end of the text.
  if (header.find('\0') != std::string_view::npos)
    return BadFile("{}: the header contains a NUL", name);

  const uint64_t data_start = sizeof header_bytes + header_bytes;
  HeaderReader reader(file, data_start);
  if (!Json::sax_parse(header.begin(), header.end(), &reader))
    return BadFile("{}: {}", name, reader.problem);
  SafetensorsFile out;
  out.file = std::move(file);
  out.metadata = std::move(reader.metadata);
  out.tensors = std::move(reader.tensors);
  CARAT_RETURN_IF_ERROR(CheckUniqueNames(name, out.tensors));

  std::sort(out.tensors.begin(), out.tensors.end(), [](const TensorEntry& a, const TensorEntry& b) {
    return std::tie(a.offset, a.bytes, a.name) < std::tie(b.offset, b.bytes, b.name);
  });
  uint64_t next = data_start;
  for (const TensorEntry& t : out.tensors) {
    if (t.offset != next)
      return BadFile("{}: tensor \"{}\" begins at byte {} of the data, expected {}: {}", name,
                     Printable(t.name), t.offset - data_start, next - data_start,
                     t.offset < next ? "an overlap" : "a hole");
    next = t.offset + t.bytes;
  }
  if (next != all.size())
    return BadFile("{}: {} bytes after the last tensor", name, all.size() - next);
  return out;
}

Result<std::vector<TensorEntry>> OpenSafetensors(const std::filesystem::path& path) {
  CARAT_ASSIGN_OR_RETURN(std::shared_ptr<const MappedFile> file, MappedFile::Open(path));
  CARAT_ASSIGN_OR_RETURN(SafetensorsFile parsed, ParseSafetensors(std::move(file)));
  return std::move(parsed.tensors);
}

}  // namespace carat
