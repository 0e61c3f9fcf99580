// SPDX-License-Identifier: Apache-2.0
// carat tokenize: text to tokens and back.
#include <fmt/format.h>

#include <cctype>
#include <charconv>

#include "commands.h"
#include "json_writer.h"
#include "model_loading.h"

namespace carat {
namespace {

// The text of a token on one line: control characters, backslashes and stray bytes escaped.
std::string Escaped(std::string_view piece) {
  std::string out;
  while (!piece.empty()) {
    const int length = SequenceLength(piece);
    const auto byte = static_cast<unsigned char>(piece[0]);
    if (length > 1) {
      out += piece.substr(0, static_cast<size_t>(length));
    } else if (byte == '\n') {
      out += "\\n";
    } else if (byte == '\t') {
      out += "\\t";
    } else if (byte == '\\') {
      out += "\\\\";
    } else if (length == 0 || byte < 0x20 || byte == 0x7F) {
      out += fmt::format("\\x{:02X}", byte);
    } else {
      out += piece[0];
    }
    piece.remove_prefix(length == 0 ? 1 : static_cast<size_t>(length));
  }
  return out;
}

// Ids separated by anything that is no digit, brackets included, so that JSON arrays work.
Result<std::vector<int32_t>> ParseIds(std::string_view text, int32_t vocabulary) {
  std::vector<int32_t> ids;
  size_t i = 0;
  while (i < text.size()) {
    if (std::isspace(static_cast<unsigned char>(text[i])) || text[i] == ',' || text[i] == '[' ||
        text[i] == ']') {
      ++i;
      continue;
    }
    int32_t id = -1;
    const auto [end, error] = std::from_chars(text.data() + i, text.data() + text.size(), id);
    if (error != std::errc() || id < 0 || id >= vocabulary) {
      return InvalidArgument("--decode: expected ids of 0 .. {}, found {}", vocabulary - 1,
                             Escaped(text.substr(i, 20)));
    }
    ids.push_back(id);
    i = static_cast<size_t>(end - text.data());
  }
  return ids;
}

Status Decode(const TextCodec& codec, const TokenizeCommandOptions& options, Output& out) {
  std::string list = *options.decode;
  if (list == "-") {
    CARAT_ASSIGN_OR_RETURN(list, ReadStandardInput());
  }
  CARAT_ASSIGN_OR_RETURN(const auto ids, ParseIds(list, codec.size()));
  const std::string text = codec.Detokenize(ids, !options.special);
  if (!options.json) return out.Write(text + "\n");
  JsonWriter json;
  json.BeginObject().Key("text").String(text).EndObject();
  return out.Write(json.text() + "\n");
}

Status PrintTokens(const TextCodec& codec, const std::vector<int32_t>& ids, bool as_json,
                   Output& out) {
  if (!as_json) {
    for (const int32_t id : ids) {
      CARAT_RETURN_IF_ERROR(out.Write(fmt::format("{}\t{}\n", id, Escaped(codec.Piece(id)))));
    }
    return {};
  }
  JsonWriter json;
  json.BeginObject().Key("count").Int(static_cast<int64_t>(ids.size()));
  json.Key("ids").BeginArray();
  for (const int32_t id : ids) json.Int(id);
  json.EndArray().Key("pieces").BeginArray();
  for (const int32_t id : ids) json.String(codec.Piece(id));
  json.EndArray().EndObject();
  return out.Write(json.text() + "\n");
}

}  // namespace

Status TokenizeCommand(const TokenizeCommandOptions& options, Output& out) {
  CARAT_ASSIGN_OR_RETURN(const auto path, FindModel(options.model));
  std::string text;
  if (!options.decode) {
    if (options.text && *options.text != "-") {
      text = *options.text;
    } else {
      CARAT_ASSIGN_OR_RETURN(text, ReadStandardInput());
    }
  }
  CARAT_ASSIGN_OR_RETURN(const auto codec, TextCodec::Open(path));
  if (options.decode) return Decode(*codec, options, out);
  const auto ids =
      codec->Tokenize(text, {.add_bos = options.bos, .parse_special = options.special});
  return PrintTokens(*codec, ids, options.json, out);
}

}  // namespace carat
