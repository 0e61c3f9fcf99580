// SPDX-License-Identifier: Apache-2.0
// config.json and generation_config.json from any bytes: an error, or a plan that holds what the
// decoder relies on.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "model/config.h"
#include "model/tensors.h"

namespace {

void CheckPlan(const carat::Config& c) {
  CARAT_CHECK(c.layers >= 1 && c.layers <= 512);
  CARAT_CHECK(c.plan.size() == static_cast<size_t>(c.layers));
  CARAT_CHECK(c.width >= 1 && c.heads >= 1 && c.vocab >= 1 && c.window >= 1 && c.context >= 1);
  CARAT_CHECK(std::isfinite(c.attention_scale) && c.eps > 0 && c.softcap >= 0);
  CARAT_CHECK(c.experts == 0 || (c.experts_used >= 1 && c.experts_used <= c.experts));
  for (int l = 0; l < c.layers; ++l) {
    const carat::LayerPlan& p = c.plan[l];
    CARAT_CHECK(p.head_dim >= 2 && p.head_dim % 2 == 0 && p.ff_width >= 1);
    CARAT_CHECK(p.kv_heads >= 1 && c.heads % p.kv_heads == 0);
    CARAT_CHECK(p.kv_layer >= 0 && p.kv_layer <= l);
    const carat::LayerPlan& donor = c.plan[p.kv_layer];
    CARAT_CHECK(donor.owns_kv && p.owns_kv == (p.kv_layer == l));
    CARAT_CHECK(donor.sliding == p.sliding && donor.head_dim == p.head_dim);
    CARAT_CHECK(donor.kv_heads == p.kv_heads);
    CARAT_CHECK(c.rope[p.rope].inv_freq.size() <= static_cast<size_t>(p.head_dim) / 2);
    for (const float f : c.rope[p.rope].inv_freq) CARAT_CHECK(std::isfinite(f) && f >= 0);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  carat::Checkpoint checkpoint;
  checkpoint.format = carat::CheckpointFormat::kHuggingFace;
  checkpoint.path = "model";
  checkpoint.texts["config.json"] = text;
  checkpoint.texts["generation_config.json"] = text;
  const auto config = carat::ReadConfig(checkpoint);
  if (!config) {
    CARAT_CHECK(config.error().message.find('\n') == std::string::npos);
    return 0;
  }
  CheckPlan(*config);
  const auto generation = carat::ReadGenerationDefaults(checkpoint, *config);
  if (generation) {
    for (const int32_t id : generation->stop_ids) CARAT_CHECK(id >= 0 && id < config->vocab);
    for (const int32_t id : generation->suppress) CARAT_CHECK(id >= 0 && id < config->vocab);
  }
  CARAT_CHECK(!carat::ResolveTensors(checkpoint, *config));  // there are no tensors
  return 0;
}
