// SPDX-License-Identifier: Apache-2.0
#include "io/adapter.h"

#include <cmath>
#include <map>

#include "base/printable.h"

namespace carat {
namespace {

constexpr std::string_view kA = ".lora_a";
constexpr std::string_view kB = ".lora_b";
constexpr std::string_view kEmbedding = "token_embd.weight";

struct Halves {
  const TensorEntry* a = nullptr;
  const TensorEntry* b = nullptr;
};

Status CheckKeys(const GgufMetadata& m, AdapterInfo* out) {
  CARAT_ASSIGN_OR_RETURN(const std::string type, m.StringOr("general.type", ""));
  if (type != "adapter")
    return BadFile("{}: \"general.type\": expected \"adapter\", found \"{}\"", m.file,
                   Printable(type));
  CARAT_ASSIGN_OR_RETURN(const std::string kind, m.RequireString("adapter.type"));
  if (kind != "lora")
    return BadFile("{}: \"adapter.type\": expected \"lora\", found \"{}\"", m.file,
                   Printable(kind));
  CARAT_ASSIGN_OR_RETURN(out->architecture, m.RequireString("general.architecture"));
  CARAT_ASSIGN_OR_RETURN(out->alpha, m.RequireF32("adapter.lora.alpha"));
  if (!std::isfinite(out->alpha))
    return BadFile("{}: \"adapter.lora.alpha\": expected a finite number, found {}", m.file,
                   out->alpha);
  return {};
}

Result<std::map<std::string, Halves>> CollectPairs(const GgufFile& adapter) {
  const std::string& file = adapter.metadata->file;
  std::map<std::string, Halves> pairs;
  for (const TensorEntry& t : adapter.tensors) {
    const bool a = t.name.ends_with(kA);
    if (a || t.name.ends_with(kB)) {
      Halves& halves = pairs[t.name.substr(0, t.name.size() - kA.size())];
      (a ? halves.a : halves.b) = &t;
    } else if (!t.name.ends_with("_norm.weight")) {
      return BadFile("{}: tensor \"{}\": expected a name ending in \"{}\" or \"{}\"", file,
                     Printable(t.name), kA, kB);
    }
  }
  if (pairs.empty()) return BadFile("{}: no tensors of an adapter", file);
  for (const auto& [name, halves] : pairs) {
    if (!halves.a || !halves.b)
      return BadFile("{}: tensor \"{}{}\": missing, its other half is there", file, Printable(name),
                     halves.a ? kB : kA);
  }
  return pairs;
}

Result<AdapterPair> CheckPair(const std::string& file, const std::string& name, const Halves& h) {
  const TensorEntry &a = *h.a, &b = *h.b;
  for (const TensorEntry* t : {&a, &b}) {
    if (!IsWeight(t->dtype))
      return BadFile("{}: tensor \"{}\": type {} is not one of weights", file, Printable(t->name),
                     Name(t->dtype));
  }
  const size_t dims = a.shape.size();
  if ((dims != 2 && dims != 3) || b.shape.size() != dims)
    return BadFile(
        "{}: tensors \"{}\": expected two dimensions each (three for experts), found {} "
        "and {}",
        file, Printable(name), ShowShape(a.shape), ShowShape(b.shape));
  AdapterPair pair;
  pair.base = name;
  if (dims == 3) {
    if (a.shape[0] != b.shape[0])
      return BadFile("{}: tensors \"{}\": different numbers of experts: {} and {}", file,
                     Printable(name), ShowShape(a.shape), ShowShape(b.shape));
    pair.experts = a.shape[0];
  }
  // Row-major: a is [rank, in], b is [out, rank]. Both halves of the embedding are tables of rows:
  // a is [vocabulary, rank], b is [width, rank], the base tensor [vocabulary, width].
  const bool embedding = name == kEmbedding;
  const uint64_t a_rows = a.shape[dims - 2], a_cols = a.shape[dims - 1];
  const uint64_t rank_a = embedding ? a_cols : a_rows;
  pair.rank = b.shape[dims - 1];
  pair.in = embedding ? b.shape[dims - 2] : a_cols;
  pair.out = embedding ? a_rows : b.shape[dims - 2];
  if (pair.rank != rank_a)
    return BadFile("{}: tensors \"{}\": different ranks: lora_a {}, lora_b {}", file,
                   Printable(name), rank_a, pair.rank);
  if (pair.rank == 0 || pair.in == 0 || pair.out == 0 || pair.experts == 0)
    return BadFile("{}: tensors \"{}\": rank and widths must not be 0: {} and {}", file,
                   Printable(name), ShowShape(a.shape), ShowShape(b.shape));
  return pair;
}

Status CheckAgainst(const Checkpoint& base, const std::string& file, const AdapterPair& pair) {
  const TensorEntry* t = base.Find(pair.base);
  if (!t)
    return BadFile("{}: changes tensor \"{}\", which {} does not have", file, Printable(pair.base),
                   base.metadata->file);
  // Converters may write trailing ones in GGUF order, leading ones here.
  std::vector<uint64_t> shape = t->shape;
  while (shape.size() > 2 && shape[0] == 1) shape.erase(shape.begin());
  std::vector<uint64_t> want = {pair.out, pair.in};
  if (pair.experts > 1) want.insert(want.begin(), pair.experts);
  if (shape != want)
    return BadFile("{}: tensor \"{}\": the adapter fits {}, the model has {}", file,
                   Printable(pair.base), ShowShape(want), ShowShape(t->shape));
  return {};
}

}  // namespace

Result<AdapterInfo> CheckAdapter(const GgufFile& adapter, const Checkpoint* base) {
  const GgufMetadata& m = *adapter.metadata;
  AdapterInfo out;
  CARAT_RETURN_IF_ERROR(CheckKeys(m, &out));
  if (base) {
    if (!base->metadata)
      return InvalidArgument("{}: the base of a GGUF adapter must be a GGUF model",
                             base->path.string());
    CARAT_ASSIGN_OR_RETURN(const std::string architecture,
                           base->metadata->RequireString("general.architecture"));
    if (out.architecture != architecture)
      return BadFile("{}: \"general.architecture\": expected \"{}\" as in {}, found \"{}\"", m.file,
                     Printable(architecture), base->metadata->file, Printable(out.architecture));
  }
  CARAT_ASSIGN_OR_RETURN(const auto pairs, CollectPairs(adapter));
  for (const auto& [name, halves] : pairs) {
    CARAT_ASSIGN_OR_RETURN(AdapterPair pair, CheckPair(m.file, name, halves));
    if (base) CARAT_RETURN_IF_ERROR(CheckAgainst(*base, m.file, pair));
    // Neither sum nor products can wrap: the elements lie in the file.
    out.parameters += pair.experts * pair.rank * (pair.in + pair.out);
    out.pairs.push_back(std::move(pair));
  }
  return out;
}

}  // namespace carat
