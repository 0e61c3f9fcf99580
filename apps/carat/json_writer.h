// SPDX-License-Identifier: Apache-2.0
// Writes JSON text. Commands need no tree, and a JSON library would triple their compile time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace carat {

// Compact JSON, names in the order of the calls:
//   JsonWriter w;
//   w.BeginObject().Key("ids").BeginArray().Int(2).EndArray().EndObject();
// The caller keeps brackets balanced. Numbers that are not finite become null, bytes that are not
// UTF-8 become U+FFFD.
class JsonWriter {
 public:
  JsonWriter& BeginObject() { return Open('{'); }
  JsonWriter& EndObject() { return Close('}'); }
  JsonWriter& BeginArray() { return Open('['); }
  JsonWriter& EndArray() { return Close(']'); }
  JsonWriter& Key(std::string_view name);
  JsonWriter& String(std::string_view value);
  JsonWriter& Int(int64_t value);
  JsonWriter& Uint(uint64_t value);
  JsonWriter& Number(double value);
  JsonWriter& Bool(bool value);
  // `json` is a complete JSON value.
  JsonWriter& Raw(std::string_view json);

  const std::string& text() const { return text_; }

 private:
  JsonWriter& Open(char bracket);
  JsonWriter& Close(char bracket);
  void Separate();
  void Quote(std::string_view value);

  std::string text_;
  bool separate_ = false;  // the next value needs a comma in front
};

// Bytes (1..4) of the UTF-8 sequence that `text` begins with, or 0. Requires !text.empty().
int SequenceLength(std::string_view text);

}  // namespace carat
