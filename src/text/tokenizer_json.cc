// SPDX-License-Identifier: Apache-2.0
#include "text/tokenizer_json.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "base/printable.h"

namespace carat {
namespace {

constexpr size_t kMaxDepth = 64;
constexpr uint64_t kMaxIds = uint64_t{1} << 24;
// Settings beside vocabulary, merges and added tokens: real files have about 50.
constexpr size_t kMaxSettings = 4096;

// Where in the document a value lies.
enum class Place {
  kRoot,
  kModel,
  kVocab,
  kMerges,
  kMerge,
  kAddedList,
  kAdded,
  kSettings,
  kSkipped
};

class Reader : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit Reader(TokenizerJson* out) : out_(out) {}

  const std::string& error() const { return error_; }

  bool null() override { return Scalar("null"); }
  bool boolean(bool value) override {
    if (Where() == Place::kAdded && value) {
      TokenizerJson::AddedToken& token = out_->added.back();
      const std::string& name = frames_.back().key;
      if (name == "special") token.special = true;
      if (name == "normalized") token.normalized = true;
      if (name == "lstrip" || name == "rstrip" || name == "single_word") token.unsupported = name;
    }
    return Scalar(value ? "true" : "false");
  }
  bool number_integer(number_integer_t value) override {
    if (TakesId()) return BadId(std::to_string(value));
    return Scalar(std::to_string(value));
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (!TakesId()) return Scalar(std::to_string(value));
    if (value >= kMaxIds) return BadId(std::to_string(value));
    if (Where() == Place::kAdded) {
      out_->added.back().id = static_cast<int64_t>(value);
    } else {
      out_->pieces.back().second = static_cast<uint32_t>(value);
    }
    return true;
  }
  bool number_float(number_float_t, const string_t& text) override {
    return TakesId() ? BadId(text) : Scalar(text);
  }
  bool string(string_t& value) override {
    switch (Where()) {
      case Place::kMerges:
        return AddMerge(value);
      case Place::kMerge:
        return AddPart(value);
      case Place::kAdded:
        if (frames_.back().key == "content") out_->added.back().content = value;
        return true;
      default:
        return Scalar(value);
    }
  }
  bool binary(binary_t&) override { return Fail("binary value"); }

  bool start_object(std::size_t) override { return Open(false); }
  bool start_array(std::size_t) override { return Open(true); }
  bool end_array() override {
    if (Where() == Place::kMerge && parts_ != 2) {
      return Fail(
          fmt::format("merge {} has {} pieces, expected 2", out_->merges.size() - 1, parts_));
    }
    frames_.pop_back();
    return true;
  }
  bool end_object() override {
    frames_.pop_back();
    return true;
  }
  bool key(string_t& name) override {
    if (Where() != Place::kVocab) {
      frames_.back().key = name;
      return true;
    }
    if (out_->pieces.size() >= kMaxIds) return Fail("too many pieces in model.vocab");
    out_->pieces.emplace_back();
    return Store(name, &out_->pieces.back().first);
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception& e) override {
    return Fail("invalid JSON: " + JsonSyntaxError(position, e.what()));
  }

 private:
  struct Frame {
    Place place;
    bool array;
    std::string path;  // of settings
    std::string key;   // of the member being read
    size_t index = 0;  // in an array
  };

  Place Where() const { return frames_.empty() ? Place::kSkipped : frames_.back().place; }
  bool TakesId() const {
    return Where() == Place::kVocab || (Where() == Place::kAdded && frames_.back().key == "id");
  }

  // The path of the value that begins, which also counts it when it is an element of an array.
  std::string NextPath() {
    Frame& frame = frames_.back();
    const std::string name = frame.array ? std::to_string(frame.index++) : frame.key;
    return frame.path.empty() ? name : fmt::format("{}.{}", frame.path, name);
  }

  static bool IsSettings(std::string_view root_key) {
    return root_key == "normalizer" || root_key == "pre_tokenizer" || root_key == "decoder";
  }

  bool Open(bool array) {
    if (frames_.size() >= kMaxDepth) {
      return Fail(fmt::format("nested deeper than {}", kMaxDepth));
    }
    if (frames_.empty()) {
      if (array) return Fail("the document is an array, expected an object");
      frames_.push_back({Place::kRoot, false, "", ""});
      return true;
    }
    Place place = Place::kSkipped;
    bool wants_array = array;
    std::string path;
    const std::string& key = frames_.back().key;
    switch (Where()) {
      case Place::kRoot:
        if (key == "model") {
          place = Place::kModel;
          wants_array = false;
        } else if (key == "added_tokens") {
          place = Place::kAddedList;
          wants_array = true;
        } else if (IsSettings(key)) {
          place = Place::kSettings;
        }
        break;
      case Place::kModel:
        place = key == "vocab"    ? Place::kVocab
                : key == "merges" ? Place::kMerges
                                  : Place::kSettings;
        if (place != Place::kSettings) wants_array = place == Place::kMerges;
        break;
      case Place::kSettings:
        place = Place::kSettings;
        break;
      case Place::kMerges:
        place = Place::kMerge;
        wants_array = true;
        parts_ = 0;
        out_->merges.emplace_back();
        break;
      case Place::kAddedList:
        place = Place::kAdded;
        wants_array = false;
        out_->added.emplace_back();
        break;
      case Place::kVocab:
      case Place::kMerge:
        return Fail(fmt::format("{} in {}", array ? "an array" : "an object", Name()));
      case Place::kAdded:
      case Place::kSkipped:
        break;
    }
    if (wants_array != array) {
      return Fail(fmt::format("{} in {}, expected {}", array ? "an array" : "an object", Name(),
                              wants_array ? "an array" : "an object"));
    }
    switch (place) {
      case Place::kModel:
      case Place::kVocab:
      case Place::kMerges:
      case Place::kAddedList:
      case Place::kSettings:
        path = NextPath();
        if (!AddSetting(path, array ? "array" : "object")) return false;
        break;
      default:
        break;
    }
    frames_.push_back({place, array, std::move(path), ""});
    return true;
  }

  // The container, for messages.
  std::string Name() const {
    switch (Where()) {
      case Place::kVocab:
        return "model.vocab";
      case Place::kMerges:
      case Place::kMerge:
        return "model.merges";
      case Place::kAddedList:
      case Place::kAdded:
        return "added_tokens";
      default:
        return fmt::format("\"{}\"", Printable(frames_.back().key));
    }
  }

  bool Scalar(const std::string& value) {
    switch (Where()) {
      case Place::kVocab:
        return BadId(value);
      case Place::kMerges:
      case Place::kMerge:
        return Fail(fmt::format("\"{}\" in model.merges, expected texts", Printable(value)));
      case Place::kAddedList:
        return Fail(fmt::format("\"{}\" in added_tokens, expected objects", Printable(value)));
      case Place::kRoot:
        if (!IsSettings(frames_.back().key)) return true;
        [[fallthrough]];
      case Place::kModel:
      case Place::kSettings:
        return AddSetting(NextPath(), value);
      case Place::kAdded:
      case Place::kSkipped:
        return true;
    }
    return true;
  }

  bool AddSetting(const std::string& path, const std::string& value) {
    if (out_->settings.size() >= kMaxSettings) return Fail("too many settings");
    if (!out_->settings.emplace(path, value).second) {
      return Fail(fmt::format("\"{}\" twice", Printable(path)));
    }
    return true;
  }

  // Older files write a merge as one text, cut at the first space after the first byte.
  bool AddMerge(const std::string& text) {
    const size_t space = text.find(' ', 1);
    if (space == std::string::npos) {
      return Fail(fmt::format("merge {} is \"{}\", expected two pieces with a space between",
                              out_->merges.size(), Printable(text)));
    }
    out_->merges.emplace_back();
    return Store(text.substr(0, space), &out_->merges.back().first) &&
           Store(text.substr(space + 1), &out_->merges.back().second);
  }
  bool AddPart(const std::string& text) {
    if (++parts_ > 2) {
      return Fail(fmt::format("merge {} has more than 2 pieces", out_->merges.size() - 1));
    }
    return Store(text, parts_ == 1 ? &out_->merges.back().first : &out_->merges.back().second);
  }

  bool Store(const std::string& text, TokenizerJson::Span* span) {
    if (out_->arena.size() + text.size() > std::numeric_limits<uint32_t>::max()) {
      return Fail("more than 4 GiB of texts");
    }
    *span = {static_cast<uint32_t>(out_->arena.size()), static_cast<uint32_t>(text.size())};
    out_->arena.append(text);
    return true;
  }

  bool BadId(const std::string& value) {
    return Fail(fmt::format("id {} in {}, expected 0..{}", Printable(value), Name(), kMaxIds - 1));
  }
  bool Fail(std::string message) {
    if (error_.empty()) error_ = std::move(message);
    return false;
  }

  TokenizerJson* const out_;
  std::vector<Frame> frames_;
  int parts_ = 0;  // of the merge being read
  std::string error_;
};

}  // namespace

std::string_view TokenizerJson::Setting(const std::string& path) const {
  const auto it = settings.find(path);
  return it == settings.end() || it->second == "null" ? std::string_view() : it->second;
}

Result<TokenizerJson> ReadTokenizerJson(std::string_view json, const std::string& file) {
  // The library takes a NUL for the end of the text.
  if (const size_t nul = json.find('\0'); nul != std::string_view::npos) {
    return BadFile("{}: invalid JSON: byte {}: NUL", file, nul);
  }
  TokenizerJson out;
  Reader reader(&out);
  if (!nlohmann::json::sax_parse(json.begin(), json.end(), &reader)) {
    return BadFile("{}: {}", file, reader.error());
  }
  if (out.settings.count("model.vocab") == 0) {
    return BadFile("{}: no model.vocab, expected a BPE model with one", file);
  }
  return out;
}

}  // namespace carat
