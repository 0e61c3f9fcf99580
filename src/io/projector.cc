// SPDX-License-Identifier: Apache-2.0
#include "io/projector.h"

#include <cmath>
#include <map>
#include <set>

#include "base/printable.h"

namespace carat {
namespace {

// Generous against real files (1152, 4304, 27, 16, 224, 16), small against memory: work buffers are
// made from these numbers.
constexpr uint32_t kMaxBlocks = 512;
constexpr uint32_t kMaxWidth = 1 << 16;
constexpr uint32_t kMaxFeedForward = 1 << 18;
constexpr uint32_t kMaxHeads = 1024;
constexpr uint32_t kMaxImageSize = 16384;
constexpr uint32_t kMaxPatchSize = 256;
constexpr uint32_t kMaxScaleFactor = 64;
constexpr uint32_t kMaxMelBins = 1024;
constexpr uint64_t kMaxPositions = 1 << 20;

constexpr uint64_t kAnySize = ~uint64_t{0};  // in a shape: one that no key gives

struct Range {
  uint32_t low, high;
};

Result<uint32_t> InRange(const GgufMetadata& m, const std::string& key, Range range) {
  CARAT_ASSIGN_OR_RETURN(const uint32_t value, m.RequireU32(key));
  if (value < range.low || value > range.high)
    return BadFile("{}: \"{}\": expected {}..{}, found {}", m.file, key, range.low, range.high,
                   value);
  return value;
}

Result<std::array<float, 3>> ThreeFloats(const GgufMetadata& m, const std::string& key,
                                         bool divisor) {
  CARAT_ASSIGN_OR_RETURN(const std::vector<float> values, m.RequireF32s(key));
  if (values.size() != 3)
    return BadFile("{}: \"{}\": expected 3 numbers, found {}", m.file, key, values.size());
  std::array<float, 3> out{};
  for (size_t i = 0; i < 3; ++i) {
    if (!std::isfinite(values[i]) || (divisor && values[i] == 0))
      return BadFile("{}: \"{}\"[{}]: expected a finite number{}, found {}", m.file, key, i,
                     divisor ? " other than 0" : "", values[i]);
    out[i] = values[i];
  }
  return out;
}

// The keys that both kinds of encoder have, under `prefix`. Only a tower uses blocks, heads and
// feed-forward; files without one say 0.
Status ReadCommonKeys(const GgufMetadata& m, const std::string& prefix, bool tower,
                      EncoderInfo* out) {
  const uint32_t low = tower ? 1 : 0;
  CARAT_ASSIGN_OR_RETURN(out->blocks, InRange(m, prefix + "block_count", {low, kMaxBlocks}));
  CARAT_ASSIGN_OR_RETURN(out->width, InRange(m, prefix + "embedding_length", {1, kMaxWidth}));
  CARAT_ASSIGN_OR_RETURN(out->feed_forward,
                         InRange(m, prefix + "feed_forward_length", {low, kMaxFeedForward}));
  CARAT_ASSIGN_OR_RETURN(out->heads, InRange(m, prefix + "attention.head_count", {low, kMaxHeads}));
  CARAT_ASSIGN_OR_RETURN(out->projection_dim,
                         InRange(m, prefix + "projection_dim", {1, kMaxWidth}));
  const std::string epsilon = prefix + "attention.layer_norm_epsilon";
  CARAT_ASSIGN_OR_RETURN(out->epsilon, m.RequireF32(epsilon));
  if (!(out->epsilon >= 0 && out->epsilon < 1))
    return BadFile("{}: \"{}\": expected 0 <= x < 1, found {}", m.file, epsilon, out->epsilon);
  if (!tower && out->blocks != 0)
    return BadFile("{}: \"{}block_count\": expected 0 for {}, found {}", m.file, prefix,
                   out->projector, out->blocks);
  if (tower && out->width % out->heads != 0)
    return BadFile("{}: \"{}attention.head_count\": {} does not divide the width {}", m.file,
                   prefix, out->heads, out->width);
  return {};
}

Result<EncoderInfo> ReadVisionKeys(const GgufMetadata& m, std::string projector) {
  const std::string prefix = "clip.vision.";
  EncoderInfo out;
  out.projector = std::move(projector);
  if (out.projector != "gemma4v" && out.projector != "gemma4uv" && out.projector != "gemma3")
    return BadFile("{}: vision projector type: expected gemma4v, gemma4uv or gemma3, found \"{}\"",
                   m.file, Printable(out.projector));
  CARAT_RETURN_IF_ERROR(ReadCommonKeys(m, prefix, out.projector != "gemma4uv", &out));
  CARAT_ASSIGN_OR_RETURN(out.image_size, InRange(m, prefix + "image_size", {1, kMaxImageSize}));
  CARAT_ASSIGN_OR_RETURN(out.patch_size, InRange(m, prefix + "patch_size", {1, kMaxPatchSize}));
  out.scale_factor = 3;
  if (m.Has(prefix + "projector.scale_factor")) {
    CARAT_ASSIGN_OR_RETURN(out.scale_factor,
                           InRange(m, prefix + "projector.scale_factor", {1, kMaxScaleFactor}));
  }
  CARAT_ASSIGN_OR_RETURN(out.image_mean, ThreeFloats(m, prefix + "image_mean", false));
  CARAT_ASSIGN_OR_RETURN(out.image_std, ThreeFloats(m, prefix + "image_std", true));
  return out;
}

Result<EncoderInfo> ReadAudioKeys(const GgufMetadata& m, std::string projector) {
  const std::string prefix = "clip.audio.";
  EncoderInfo out;
  out.projector = std::move(projector);
  if (out.projector != "gemma4a" && out.projector != "gemma4ua")
    return BadFile("{}: audio projector type: expected gemma4a or gemma4ua, found \"{}\"", m.file,
                   Printable(out.projector));
  CARAT_RETURN_IF_ERROR(ReadCommonKeys(m, prefix, out.projector == "gemma4a", &out));
  CARAT_ASSIGN_OR_RETURN(out.mel_bins, InRange(m, prefix + "num_mel_bins", {1, kMaxMelBins}));
  return out;
}

// Compares tensors with the tables of section 4. The first error stays; later calls do nothing.
// Shapes are row-major, so reversed with respect to the tables.
class TensorTable {
 public:
  using Shape = std::vector<uint64_t>;

  explicit TensorTable(const GgufFile& file) : file_(file.metadata->file) {
    for (const TensorEntry& t : file.tensors) tensors_[t.name] = &t;
  }

  void Matrix(const std::string& name, const Shape& shape) { Need(name, shape, true); }
  void Vector(const std::string& name, const Shape& shape) { Need(name, shape, false); }
  void Optional(const std::string& name, const Shape& shape) {
    if (Has(name)) Need(name, shape, false);
  }
  void LayerNorm(const std::string& name, uint64_t width) {
    Vector(name + ".weight", {width});
    Vector(name + ".bias", {width});
  }
  // A matrix whose input and output may be clamped by four scalars.
  void Clipped(const std::string& name, const Shape& shape) {
    Matrix(name + ".weight", shape);
    for (const char* end : {".input_min", ".input_max", ".output_min", ".output_max"})
      Optional(name + end, {1});
  }
  bool Has(const std::string& name) const { return tensors_.count(name) > 0; }
  // A dimension that only the file knows, 0 when there is none; the tables check its other uses.
  uint64_t Dim(const std::string& name, size_t index) const {
    const auto it = tensors_.find(name);
    return it != tensors_.end() && index < it->second->shape.size() ? it->second->shape[index] : 0;
  }
  void Fail(std::string message) {
    if (status_) status_ = BadFile("{}: {}", file_, message);
  }

  const Status& status() const { return status_; }
  std::vector<std::string> Unknown() const {
    std::vector<std::string> out;
    for (const auto& [name, t] : tensors_)
      if (!known_.count(std::string(name))) out.push_back(Printable(name));
    return out;
  }

 private:
  static std::string Text(const Shape& shape) {
    std::string out = "[";
    for (const uint64_t d : shape)
      out += (out.size() > 1 ? ", " : "") + (d == kAnySize ? "any" : std::to_string(d));
    return out + "]";
  }
  static bool Same(const Shape& found, const Shape& expected) {
    if (found.size() != expected.size()) return false;
    for (size_t i = 0; i < found.size(); ++i) {
      if (expected[i] == kAnySize ? found[i] == 0 || found[i] > kMaxPositions
                                  : found[i] != expected[i])
        return false;
    }
    return true;
  }
  void Need(const std::string& name, const Shape& shape, bool matrix) {
    known_.insert(name);
    const auto it = tensors_.find(name);
    if (it == tensors_.end()) return Fail(fmt::format("tensor \"{}\": missing", name));
    const TensorEntry& t = *it->second;
    if (matrix ? !IsWeight(t.dtype) : !IsFloat(t.dtype))
      return Fail(fmt::format("tensor \"{}\": expected {}, found {}", name,
                              matrix ? "a type of weights" : "F32, F16 or BF16",
                              carat::Name(t.dtype)));
    // Writers may append ones in GGUF order, which lead here.
    Shape found = t.shape;
    while (found.size() > shape.size() && found[0] == 1) found.erase(found.begin());
    if (!Same(found, shape))
      Fail(fmt::format("tensor \"{}\": expected shape {}, found {}", name, Text(shape),
                       ShowShape(t.shape)));
  }

  const std::string file_;
  std::map<std::string_view, const TensorEntry*> tensors_;
  std::set<std::string> known_;
  Status status_;
};

// 4.2
void CheckGemma4v(const EncoderInfo& e, TensorTable* t) {
  const uint64_t w = e.width, f = e.feed_forward, head = w / e.heads;
  t->Vector("v.patch_embd.weight", {w, 3, e.patch_size, e.patch_size});
  t->Vector("v.position_embd.weight", {2, kAnySize, w});
  if (t->Has("v.std_bias") || t->Has("v.std_scale")) {
    t->Vector("v.std_bias", {w});
    t->Vector("v.std_scale", {w});
  }
  for (uint32_t i = 0; i < e.blocks && t->status(); ++i) {
    const std::string b = fmt::format("v.blk.{}.", i);
    for (const char* norm : {"ln1", "attn_post_norm", "ln2", "ffn_post_norm"})
      t->Vector(b + norm + ".weight", {w});
    for (const char* norm : {"attn_q_norm", "attn_k_norm"}) t->Vector(b + norm + ".weight", {head});
    for (const char* matrix : {"attn_q", "attn_k", "attn_v", "attn_out"})
      t->Clipped(b + matrix, {w, w});
    for (const char* matrix : {"ffn_gate", "ffn_up"}) t->Clipped(b + matrix, {f, w});
    t->Clipped(b + "ffn_down", {w, f});
    t->Optional(b + "out_scale.weight", {1});
  }
  t->Clipped("mm.input_projection", {e.projection_dim, w});
}

// 4.3
void CheckGemma4a(const EncoderInfo& e, TensorTable* t) {
  constexpr uint64_t kConvKernel = 5;
  const uint64_t w = e.width, f = e.feed_forward;
  // Channels of the two convolutions and the width of the output are in no key.
  const uint64_t c0 = t->Dim("a.conv1d.0.weight", 0), c1 = t->Dim("a.conv1d.1.weight", 0);
  const uint64_t out = t->Dim("a.pre_encode.out.weight", 0);
  if (c0 > kMaxWidth || c1 > kMaxWidth || out > kMaxWidth)
    return t->Fail(
        fmt::format("audio channels {}, {}, {}: expected at most {}", c0, c1, out, kMaxWidth));
  // Each convolution halves the frequencies, rounding up.
  const uint64_t bins = (uint64_t{e.mel_bins} + 3) / 4;
  t->Vector("a.conv1d.0.weight", {c0, 1, 3, 3});
  t->Vector("a.conv1d.0.norm.weight", {c0});
  t->Vector("a.conv1d.1.weight", {c1, c0, 3, 3});
  t->Vector("a.conv1d.1.norm.weight", {c1});
  t->Optional("a.conv1d.0.bias", {c0});
  t->Optional("a.conv1d.1.bias", {c1});
  t->Matrix("a.input_projection.weight", {w, bins * c1});
  t->Optional("a.input_projection.bias", {w});
  t->Matrix("a.pre_encode.out.weight", {out, w});
  t->Vector("a.pre_encode.out.bias", {out});
  t->Optional("mm.a.soft_emb_norm.weight", {out});
  t->Clipped("mm.a.input_projection", {e.projection_dim, out});
  for (uint32_t i = 0; i < e.blocks && t->status(); ++i) {
    const std::string b = fmt::format("a.blk.{}.", i);
    for (const char* norm : {"ffn_norm", "ffn_post_norm", "attn_pre_norm", "attn_post_norm",
                             "conv_norm", "norm_conv", "ffn_norm_1", "ffn_post_norm_1", "ln2"})
      t->Vector(b + norm + ".weight", {w});
    for (const char* matrix : {"attn_q", "attn_k", "attn_v", "attn_out", "conv_pw2"})
      t->Clipped(b + matrix, {w, w});
    t->Matrix(b + "attn_k_rel.weight", {w, w});
    for (const char* matrix : {"ffn_up", "ffn_up_1"}) t->Clipped(b + matrix, {f, w});
    for (const char* matrix : {"ffn_down", "ffn_down_1"}) t->Clipped(b + matrix, {w, f});
    t->Clipped(b + "conv_pw1", {2 * w, w});
    t->Vector(b + "conv_dw.weight", {w, kConvKernel});
    t->Optional(b + "conv_dw.bias", {w});
    t->Vector(b + "per_dim_scale.weight", {w / e.heads});
    t->Optional(b + "per_dim_k_scale.weight", {w / e.heads});
  }
}

// 4.4
void CheckGemma4uv(const EncoderInfo& e, TensorTable* t) {
  const uint64_t side = uint64_t{e.patch_size} * e.scale_factor;
  const uint64_t pixels = side * side * 3;
  t->Matrix("v.patch_embd.weight", {e.width, pixels});
  t->Vector("v.patch_embd.bias", {e.width});
  t->LayerNorm("v.patch_norm.1", pixels);
  t->LayerNorm("v.patch_norm.2", e.width);
  t->LayerNorm("v.patch_norm.3", e.width);
  t->Vector("v.position_embd.weight", {2, kAnySize, e.width});
  t->Matrix("mm.input_projection.weight", {e.projection_dim, e.width});
}

// 4.6. Old converters called the two matrices of the feed-forward each other's names, and the
// projection may be stored either way round.
void CheckGemma3(const EncoderInfo& e, TensorTable* t) {
  const uint64_t w = e.width, f = e.feed_forward, p = e.patch_size;
  const uint64_t side = e.image_size / p;
  if (side == 0)
    return t->Fail(
        fmt::format("image size {}: expected at least the patch size, {}", e.image_size, p));
  t->Vector("v.patch_embd.weight", {w, 3, p, p});
  t->Vector("v.patch_embd.bias", {w});
  t->Vector("v.position_embd.weight", {side * side, w});
  for (uint32_t i = 0; i < e.blocks && t->status(); ++i) {
    const std::string b = fmt::format("v.blk.{}.", i);
    for (const char* norm : {"ln1", "ln2"}) t->LayerNorm(b + norm, w);
    for (const char* matrix : {"attn_q", "attn_k", "attn_v", "attn_out"}) {
      t->Matrix(b + matrix + ".weight", {w, w});
      t->Vector(b + matrix + ".bias", {w});
    }
    const bool swapped = f != w && t->Dim(b + "ffn_up.weight", 0) == w;
    const std::string up = b + (swapped ? "ffn_down" : "ffn_up");
    const std::string down = b + (swapped ? "ffn_up" : "ffn_down");
    t->Matrix(up + ".weight", {f, w});
    t->Vector(up + ".bias", {f});
    t->Matrix(down + ".weight", {w, f});
    t->Vector(down + ".bias", {w});
  }
  t->LayerNorm("v.post_ln", w);
  t->Vector("mm.soft_emb_norm.weight", {w});
  const bool turned = t->Dim("mm.input_projection.weight", 0) == w;
  t->Matrix("mm.input_projection.weight", turned ? TensorTable::Shape{w, e.projection_dim}
                                                 : TensorTable::Shape{e.projection_dim, w});
}

Status CheckKind(const GgufMetadata& m) {
  CARAT_ASSIGN_OR_RETURN(const std::string architecture, m.RequireString("general.architecture"));
  if (architecture != "clip")
    return BadFile("{}: \"general.architecture\": expected \"clip\", found \"{}\"", m.file,
                   Printable(architecture));
  CARAT_ASSIGN_OR_RETURN(const std::string type, m.StringOr("general.type", "mmproj"));
  if (type != "mmproj")
    return BadFile("{}: \"general.type\": expected \"mmproj\", found \"{}\"", m.file,
                   Printable(type));
  return {};
}

}  // namespace

Result<ProjectorInfo> CheckProjector(const GgufFile& file) {
  const GgufMetadata& m = *file.metadata;
  CARAT_RETURN_IF_ERROR(CheckKind(m));
  CARAT_ASSIGN_OR_RETURN(const bool vision, m.BoolOr("clip.has_vision_encoder", false));
  CARAT_ASSIGN_OR_RETURN(const bool audio, m.BoolOr("clip.has_audio_encoder", false));
  if (!vision && !audio) return BadFile("{}: has neither a vision nor an audio encoder", m.file);
  // The key without a kind belongs to files with one encoder, and wins there.
  const auto projector = [&](const char* kind) {
    const std::string shared = "clip.projector_type";
    return m.RequireString(m.Has(shared) ? shared : fmt::format("clip.{}.projector_type", kind));
  };

  ProjectorInfo out;
  TensorTable table(file);
  if (vision) {
    CARAT_ASSIGN_OR_RETURN(std::string type, projector("vision"));
    CARAT_ASSIGN_OR_RETURN(out.vision, ReadVisionKeys(m, std::move(type)));
    if (out.vision->projector == "gemma4v") CheckGemma4v(*out.vision, &table);
    if (out.vision->projector == "gemma4uv") CheckGemma4uv(*out.vision, &table);
    if (out.vision->projector == "gemma3") CheckGemma3(*out.vision, &table);
  }
  if (audio) {
    CARAT_ASSIGN_OR_RETURN(std::string type, projector("audio"));
    CARAT_ASSIGN_OR_RETURN(out.audio, ReadAudioKeys(m, std::move(type)));
    if (out.audio->projector == "gemma4a") {
      CheckGemma4a(*out.audio, &table);
    } else {
      table.Matrix("mm.a.input_projection.weight", {out.audio->projection_dim, out.audio->width});
    }
  }
  CARAT_RETURN_IF_ERROR(table.status());
  out.tensors = file.tensors.size();
  for (const TensorEntry& t : file.tensors) {
    uint64_t elements = 1;  // the container's checks: the product fits
    for (const uint64_t d : t.shape) elements *= d;
    out.parameters += elements;
  }
  const std::vector<std::string> unknown = table.Unknown();
  if (!unknown.empty())
    out.warnings.push_back(fmt::format("{}: {} unknown tensors are ignored, the first: \"{}\"",
                                       m.file, unknown.size(), unknown[0]));
  return out;
}

}  // namespace carat
