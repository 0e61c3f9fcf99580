// SPDX-License-Identifier: Apache-2.0
// tokenizer.json from any bytes: an error, or a tokenizer that keeps its promises on the beginning
// of the file as a text.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/utf8.h"
#include "text/bpe_tokenizer.h"
#include "text/stream_decoder.h"
#include "text/tokenizer.h"

namespace {

using carat::PieceKind;
using carat::Tokenizer;

std::string Stream(const Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  carat::StreamDecoder decoder(&tokenizer, false);
  std::string text;
  for (const int32_t id : ids) decoder.Push(id, &text);
  decoder.Flush(&text);
  return text;
}

void CheckText(const Tokenizer& tokenizer, const Tokenizer& uncut, const std::string& text) {
  for (const bool parse_special : {false, true}) {
    const auto ids = tokenizer.Encode(text, {.add_bos = false, .parse_special = parse_special});
    // Cutting changes nothing.
    CARAT_CHECK(ids == uncut.Encode(text, {.add_bos = false, .parse_special = parse_special}));
    for (const int32_t id : ids) {
      CARAT_CHECK(id >= 0 && id < tokenizer.size());
      CARAT_CHECK(parse_special || tokenizer.Kind(id) != PieceKind::kControl ||
                  tokenizer.Find("<0x00>") < 0);
    }
    const std::string decoded = tokenizer.Decode(ids, false);
    CARAT_CHECK(carat::IsValidUtf8(decoded));
    CARAT_CHECK(carat::IsValidUtf8(Stream(tokenizer, ids)));
    // A space may be spelled as U+2581, and that prints as a space.
    const bool plain = carat::IsValidUtf8(text) && text.find(' ') == std::string::npos &&
                       text.find("\xE2\x96\x81") == std::string::npos;
    if (plain && tokenizer.Kind(tokenizer.Find("<0x00>")) == PieceKind::kByte) {
      CARAT_CHECK(decoded == text);
      CARAT_CHECK(Stream(tokenizer, ids) == text);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string json(reinterpret_cast<const char*>(data), size);
  const auto tokenizer = Tokenizer::FromTokenizerJson(json, "tokenizer.json");
  if (!tokenizer) {
    CARAT_CHECK(tokenizer.error().message.find('\n') == std::string::npos);
    CARAT_CHECK(carat::IsValidUtf8(tokenizer.error().message));
    return 0;
  }
  const auto uncut = carat::TokenizerFromJson(json, "tokenizer.json", {.cut = false});
  CARAT_CHECK(uncut.has_value());
  const Tokenizer& t = **tokenizer;
  CheckText(t, **uncut, json.substr(0, 400));
  CheckText(t, **uncut, json.substr(json.size() > 400 ? json.size() - 400 : 0));
  CheckText(t, **uncut, "aab abab\n\n\n\t\t ab<tag><bos>é日😀\xF0\x9F\xFF 12");
  std::vector<int32_t> all;
  std::string pieces;
  for (int32_t id = -1; id <= t.size() && all.size() < 4000; ++id) {
    all.push_back(id);
    if (pieces.size() < 2000) pieces.append(t.PieceText(id));
    CARAT_CHECK(t.Kind(id) == PieceKind::kByte || carat::IsValidUtf8(t.PieceText(id)));
  }
  CARAT_CHECK(carat::IsValidUtf8(t.Decode(all, true)));
  CheckText(t, **uncut, pieces);
  return 0;
}
