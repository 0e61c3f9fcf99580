// SPDX-License-Identifier: Apache-2.0
#include "model/config.h"

#include <algorithm>
#include <cmath>

#include "model/config_source.h"

namespace carat {
namespace {

// rope_freqs writes 1e30 for "does not turn"; anything near it turns by less than a float can show.
constexpr float kNoRotation = 1e20f;

Status CheckHeads(const ConfigSource& s) {
  const Config& c = s.config;
  int64_t dim_of[2] = {0, 0};
  for (int l = 0; l < c.layers; ++l) {
    const int64_t dim = s.head_dim[l], kv = s.kv_heads[l];
    if (c.heads % kv != 0) {
      return BadFile("{}: \"{}\": expected a divisor of the {} query heads, found {} in layer {}",
                     c.file, s.kv_heads_key, c.heads, kv, l);
    }
    if (dim % 2 != 0) {
      return BadFile("{}: \"{}\": expected an even head size, found {} in layer {}", c.file,
                     s.head_dim_key, dim, l);
    }
    if (c.heads * dim > kMaxWidth) {
      return BadFile(
          "{}: \"{}\": expected at most {} query values, found {} heads of {} in layer {}", c.file,
          s.head_dim_key, kMaxWidth, c.heads, dim, l);
    }
    // One rotation serves all layers of a kind.
    int64_t& kind = dim_of[s.sliding[l] ? 0 : 1];
    if (kind != 0 && kind != dim) {
      return BadFile("{}: \"{}\": expected {} in every {} layer, found {} in layer {}", c.file,
                     s.head_dim_key, kind, s.sliding[l] ? "sliding" : "global", dim, l);
    }
    kind = dim;
  }
  return {};
}

// text-model.md 2.7: a sharing layer reads the cache of the last owner of its own kind.
Status MakePlan(const ConfigSource& s, std::vector<LayerPlan>* plan) {
  const Config& c = s.config;
  if (s.shared_layers < 0 || s.shared_layers >= c.layers) {
    return BadFile("{}: \"{}\": expected 0 to {}, found {}", c.file, s.shared_key, c.layers - 1,
                   s.shared_layers);
  }
  const int first_shared = c.layers - static_cast<int>(s.shared_layers);
  int last_owner[2] = {-1, -1};
  for (int l = 0; l < c.layers; ++l) {
    LayerPlan p;
    p.sliding = s.sliding[l];
    p.rope = p.sliding ? 0 : 1;
    p.head_dim = static_cast<int>(s.head_dim[l]);
    p.kv_heads = static_cast<int>(s.kv_heads[l]);
    p.ff_width = static_cast<int>(s.ff_width[l]);
    p.owns_kv = l < first_shared;
    p.k_eq_v = p.owns_kv && !p.sliding && s.k_eq_v[l];
    if (p.owns_kv) {
      last_owner[p.rope] = l;
      p.kv_layer = l;
    } else {
      p.kv_layer = last_owner[p.rope];
      if (p.kv_layer < 0) {
        return BadFile(
            "{}: \"{}\": layer {} shares keys and values, expected a {} layer before layer {}",
            c.file, s.shared_key, l, p.sliding ? "sliding" : "global", first_shared);
      }
      const int donor_heads = (*plan)[p.kv_layer].kv_heads;
      if (donor_heads != p.kv_heads) {
        return BadFile(
            "{}: \"{}\": expected {} in layer {} as in layer {} whose keys it reads, found {}",
            c.file, s.kv_heads_key, donor_heads, l, p.kv_layer, p.kv_heads);
      }
    }
    plan->push_back(p);
  }
  return {};
}

// text-model.md 2.6. The power is taken in double and rounded once: within one float of what the
// reference's float32 arithmetic gives.
RopePlan MakeRope(const RopeSource& r, int64_t head_dim) {
  const int64_t pairs = head_dim / 2;
  const auto turning =
      std::clamp<int64_t>(static_cast<int64_t>(std::floor(r.partial * head_dim / 2)), 0, pairs);
  RopePlan plan;
  for (int64_t i = 0; i < pairs; ++i) {
    const double power = std::pow(r.theta, 2.0 * static_cast<double>(i) / head_dim);
    double f = 1 / power / r.factor;
    if (r.divisors.empty()) {
      if (i >= turning) f = 0;
    } else {
      f = r.divisors[i] >= kNoRotation ? 0 : f / r.divisors[i];
    }
    plan.inv_freq.push_back(static_cast<float>(f));
  }
  while (!plan.inv_freq.empty() && plan.inv_freq.back() == 0) plan.inv_freq.pop_back();
  return plan;
}

Status MakeRopes(const ConfigSource& s, Config* config) {
  for (int kind = 0; kind < 2; ++kind) {
    const auto layer = std::find_if(config->plan.begin(), config->plan.end(),
                                    [&](const LayerPlan& p) { return p.rope == kind; });
    if (layer == config->plan.end()) continue;  // no layer turns by it
    const RopeSource& rope = s.rope[kind];
    const size_t pairs = static_cast<size_t>(layer->head_dim) / 2;
    if (!rope.divisors.empty() && rope.divisors.size() != pairs) {
      return BadFile(
          "{}: tensor \"rope_freqs.weight\": expected {} values, half of the head size, found {}",
          config->file, pairs, rope.divisors.size());
    }
    config->rope[kind] = MakeRope(rope, layer->head_dim);
  }
  return {};
}

}  // namespace

Status CheckRange(std::string_view file, std::string_view key, int64_t value, int64_t min,
                  int64_t max) {
  if (value >= min && value <= max) return {};
  return BadFile("{}: \"{}\": expected {} to {}, found {}", file, key, min, max, value);
}

Status CheckRange(std::string_view file, std::string_view key, double value, double min,
                  double max) {
  if (value >= min && value <= max) return {};  // false for NaN
  return BadFile("{}: \"{}\": expected {} to {}, found {}", file, key, min, max, value);
}

Result<std::vector<int32_t>> CheckIds(std::string_view file, std::string_view key,
                                      const std::vector<int64_t>& ids, int64_t vocab) {
  std::vector<int32_t> out;
  out.reserve(ids.size());
  for (const int64_t id : ids) {
    if (id < 0 || id >= vocab) {
      return BadFile("{}: \"{}\": expected ids of 0 to {}, found {}", file, key, vocab - 1, id);
    }
    out.push_back(static_cast<int32_t>(id));
  }
  return out;
}

void AddIds(const std::vector<int32_t>& from, std::vector<int32_t>* to) {
  for (const int32_t id : from) {
    if (std::find(to->begin(), to->end(), id) == to->end()) to->push_back(id);
  }
}

Result<Config> FinishConfig(ConfigSource source) {
  Config& c = source.config;
  CARAT_RETURN_IF_ERROR(CheckHeads(source));
  if (int64_t{c.ple_width} * c.layers > kMaxPleRow) {
    return BadFile("{}: \"{}\": expected at most {} over all layers, found {} in each of {}",
                   c.file, source.ple_key, kMaxPleRow, c.ple_width, c.layers);
  }
  if (c.ple_width == 0) c.ple_vocab = 0;
  CARAT_RETURN_IF_ERROR(MakePlan(source, &c.plan));
  CARAT_RETURN_IF_ERROR(MakeRopes(source, &c));
  c.embedding_scale = std::sqrt(static_cast<double>(c.width));
  return std::move(c);
}

Result<Config> ReadConfig(const Checkpoint& checkpoint) {
  CARAT_ASSIGN_OR_RETURN(ConfigSource source, checkpoint.format == CheckpointFormat::kGguf
                                                  ? ReadGgufConfig(checkpoint)
                                                  : ReadHfConfig(checkpoint));
  return FinishConfig(std::move(source));
}

Result<GenerationDefaults> ReadGenerationDefaults(const Checkpoint& checkpoint,
                                                  const Config& config) {
  return checkpoint.format == CheckpointFormat::kGguf ? ReadGgufGeneration(checkpoint, config)
                                                      : ReadHfGeneration(checkpoint, config);
}

int Config::first_shared() const {
  const auto it =
      std::find_if(plan.begin(), plan.end(), [](const LayerPlan& p) { return !p.owns_kv; });
  return static_cast<int>(it - plan.begin());
}

}  // namespace carat
