// SPDX-License-Identifier: Apache-2.0
#include "base/json.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/printable.h"

namespace carat {
namespace {

// Builds the tree. The library's own builder looks every name up among all earlier ones of its
// object, quadratic in a vocabulary of 262144; here names are appended and compared once, sorted.
class Builder : public nlohmann::json_sax<Json> {
 public:
  explicit Builder(const JsonLimits& limits) : limits_(limits) {}

  bool null() override { return Add(Json()); }
  bool boolean(bool v) override { return Add(Json(v)); }
  bool number_integer(number_integer_t v) override { return Add(Json(v)); }
  bool number_unsigned(number_unsigned_t v) override { return Add(Json(v)); }
  bool number_float(number_float_t v, const string_t&) override { return Add(Json(v)); }
  bool string(string_t& v) override { return Add(Json(std::move(v))); }
  bool binary(binary_t&) override { return Fail("binary value"); }

  bool start_object(std::size_t) override { return Open(Json::object()); }
  bool start_array(std::size_t) override { return Open(Json::array()); }
  bool end_array() override {
    open_.pop_back();
    return true;
  }
  bool key(string_t& name) override {
    key_ = std::move(name);
    return true;
  }
  bool end_object() override {
    const auto& members = open_.back()->get_ref<const Json::object_t&>();
    open_.pop_back();
    std::vector<std::string_view> names;
    names.reserve(members.size());
    for (const auto& member : members) names.push_back(member.first);
    std::sort(names.begin(), names.end());
    const auto twice = std::adjacent_find(names.begin(), names.end());
    return twice == names.end() || Fail("name \"" + Printable(*twice) + "\" twice in an object");
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception& e) override {
    return Fail(JsonSyntaxError(position, e.what()));
  }

  Json root;
  std::string problem;

 private:
  bool Fail(std::string what) {
    problem = std::move(what);
    return false;
  }

  Json* Append(Json&& value) {
    if (++values_ > limits_.max_values) {
      Fail("more than " + std::to_string(limits_.max_values) + " values");
      return nullptr;
    }
    if (open_.empty()) {
      root = std::move(value);
      return &root;
    }
    if (open_.back()->is_array()) {
      auto& array = open_.back()->get_ref<Json::array_t&>();
      array.push_back(std::move(value));
      return &array.back();
    }
    Json::object_t::Container& members = open_.back()->get_ref<Json::object_t&>();
    members.emplace_back(std::move(key_), std::move(value));
    return &members.back().second;
  }
  bool Add(Json&& value) { return Append(std::move(value)) != nullptr; }
  bool Open(Json&& value) {
    if (open_.size() >= static_cast<size_t>(limits_.max_depth))
      return Fail("nested deeper than " + std::to_string(limits_.max_depth));
    Json* place = Append(std::move(value));
    if (place) open_.push_back(place);
    return place != nullptr;
  }

  const JsonLimits limits_;
  std::vector<Json*> open_;  // a container does not grow while one inside it is open
  std::string key_;
  size_t values_ = 0;
};

template <class T>
struct Kind;
template <>
struct Kind<int64_t> {
  static constexpr const char* kName = "integer";
  static bool Get(const Json& v, int64_t* out) {
    if (!v.is_number_integer()) return false;
    if (v.is_number_unsigned() && v.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX))
      return false;
    *out = v.get<int64_t>();
    return true;
  }
};
template <>
struct Kind<double> {
  static constexpr const char* kName = "number";
  static bool Get(const Json& v, double* out) {
    if (!v.is_number()) return false;
    *out = v.get<double>();
    return true;
  }
};
template <>
struct Kind<bool> {
  static constexpr const char* kName = "true or false";
  static bool Get(const Json& v, bool* out) {
    if (!v.is_boolean()) return false;
    *out = v.get<bool>();
    return true;
  }
};
template <>
struct Kind<std::string> {
  static constexpr const char* kName = "string";
  static bool Get(const Json& v, std::string* out) {
    if (!v.is_string()) return false;
    *out = v.get_ref<const std::string&>();
    return true;
  }
};

tl::unexpected<Error> Missing(std::string_view key, std::string_view file,
                              std::string_view expected) {
  return BadFile("{}: \"{}\": missing, expected {}", file, key, expected);
}
tl::unexpected<Error> Wrong(std::string_view key, std::string_view file, std::string_view expected,
                            const Json& found) {
  return BadFile("{}: \"{}\": expected {}, found {}", file, key, expected, DescribeJson(found));
}

template <class T>
Result<T> Member(const Json& object, std::string_view key, std::string_view file,
                 const T* fallback) {
  const Json* value = JsonFind(object, key);
  if (!value) {
    if (fallback) return *fallback;
    return Missing(key, file, Kind<T>::kName);
  }
  T out{};
  if (!Kind<T>::Get(*value, &out)) return Wrong(key, file, Kind<T>::kName, *value);
  return out;
}

template <class T>
Result<std::vector<T>> Members(const Json& object, std::string_view key, std::string_view file) {
  CARAT_ASSIGN_OR_RETURN(const Json* array, JsonArray(object, key, file));
  std::vector<T> out(array->size());
  for (size_t i = 0; i < out.size(); ++i) {
    T item{};
    if (!Kind<T>::Get((*array)[i], &item))
      return BadFile("{}: \"{}\"[{}]: expected {}, found {}", file, key, i, Kind<T>::kName,
                     DescribeJson((*array)[i]));
    out[i] = std::move(item);
  }
  return out;
}

}  // namespace

Result<Json> ParseJson(std::string_view text, std::string_view name, const JsonLimits& limits) {
  if (text.size() > limits.max_bytes)
    return BadFile("{}: JSON of {} bytes, expected at most {}", name, text.size(),
                   limits.max_bytes);
  // The library takes a NUL for the end of the text.
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos)
    return BadFile("{}: invalid JSON: byte {}: NUL", name, nul);
  Builder builder(limits);
  if (!Json::sax_parse(text.begin(), text.end(), &builder))
    return BadFile("{}: invalid JSON: {}", name, builder.problem);
  return std::move(builder.root);
}

std::string JsonSyntaxError(size_t position, std::string_view what) {
  // "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error while parsing
  // value - invalid literal; last read: '...'": the middle is what people need.
  what = what.substr(0, what.find("; last read"));
  if (const size_t cut = what.find("syntax error"); cut != std::string_view::npos) {
    what.remove_prefix(cut);
  } else if (const size_t id = what.find("] "); id != std::string_view::npos) {
    what.remove_prefix(id + 2);
  }
  return fmt::format("byte {}: {}", position, Printable(what, 160));
}

std::string DumpJson(const Json& value, int indent) {
  return value.dump(indent, ' ', false, Json::error_handler_t::replace);
}

std::string DescribeJson(const Json& value) {
  if (value.is_object()) return "object";
  if (value.is_array()) return "array of " + std::to_string(value.size());
  if (value.is_string())
    return "string \"" + Printable(value.get_ref<const std::string&>(), 40) + "\"";
  if (value.is_number()) return "number " + value.dump();
  if (value.is_boolean()) return value.get<bool>() ? "true" : "false";
  return "null";
}

const Json* JsonFind(const Json& object, std::string_view key) {
  if (!object.is_object()) return nullptr;
  for (const auto& member : object.get_ref<const Json::object_t&>()) {
    if (member.first == key) return member.second.is_null() ? nullptr : &member.second;
  }
  return nullptr;
}

Result<int64_t> JsonInt(const Json& object, std::string_view key, std::string_view file) {
  return Member<int64_t>(object, key, file, nullptr);
}
Result<double> JsonNumber(const Json& object, std::string_view key, std::string_view file) {
  return Member<double>(object, key, file, nullptr);
}
Result<bool> JsonBoolOr(const Json& object, std::string_view key, bool fallback,
                        std::string_view file) {
  return Member<bool>(object, key, file, &fallback);
}
Result<std::string> JsonStringOr(const Json& object, std::string_view key,
                                 std::string_view fallback, std::string_view file) {
  const std::string text(fallback);
  return Member<std::string>(object, key, file, &text);
}
Result<std::vector<int64_t>> JsonInts(const Json& object, std::string_view key,
                                      std::string_view file) {
  return Members<int64_t>(object, key, file);
}
Result<std::vector<std::string>> JsonStrings(const Json& object, std::string_view key,
                                             std::string_view file) {
  return Members<std::string>(object, key, file);
}

Result<const Json*> JsonObject(const Json& object, std::string_view key, std::string_view file) {
  const Json* value = JsonFind(object, key);
  if (!value) return Missing(key, file, "object");
  if (!value->is_object()) return Wrong(key, file, "object", *value);
  return value;
}
Result<const Json*> JsonArray(const Json& object, std::string_view key, std::string_view file) {
  const Json* value = JsonFind(object, key);
  if (!value) return Missing(key, file, "array");
  if (!value->is_array()) return Wrong(key, file, "array", *value);
  return value;
}

}  // namespace carat
