// SPDX-License-Identifier: Apache-2.0
// The malformed and the unusual files of tests/golden/gguf: what must be refused is refused for its
// own reason, what must load loads.
#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <map>

#include "base/golden_for_test.h"
#include "io/adapter.h"
#include "io/checkpoint.h"
#include "io/gguf.h"
#include "io/projector.h"
#include "io/safetensors.h"

namespace carat {
namespace {

namespace fs = std::filesystem;
using test::FileOf;
using test::Golden;
using test::ReadIndex;

Status OpenAs(const std::string& kind, const fs::path& path, const fs::path& base_path) {
  if (kind == "container") {
    CARAT_RETURN_IF_ERROR(OpenGguf(path));
  } else if (kind == "model" || kind == "split") {
    CARAT_RETURN_IF_ERROR(OpenCheckpoint(path));
  } else if (kind == "safetensors") {
    CARAT_RETURN_IF_ERROR(OpenSafetensors(path));
  } else if (kind == "safetensors-index") {
    CARAT_RETURN_IF_ERROR(OpenCheckpoint(path));
    CARAT_RETURN_IF_ERROR(OpenCheckpoint(path.parent_path()));
  } else if (kind == "adapter") {
    CARAT_ASSIGN_OR_RETURN(const GgufFile adapter, OpenGguf(path));
    CARAT_ASSIGN_OR_RETURN(const Checkpoint base, OpenCheckpoint(base_path));
    CARAT_RETURN_IF_ERROR(CheckAdapter(adapter, &base));
  } else if (kind == "mmproj") {
    CARAT_ASSIGN_OR_RETURN(const GgufFile file, OpenGguf(path));
    CARAT_RETURN_IF_ERROR(CheckProjector(file));
  } else {
    ADD_FAILURE() << "unknown kind " << kind;
  }
  return {};
}

// A piece of the message that shows the refusal is for the right reason.
std::string ReasonOf(const std::string& file) {
  static const std::map<std::string, std::string> kReasons = {
      {"empty.gguf", "0 bytes"},
      {"magic.gguf", "magic: expected \"GGUF\", found \"GGML\""},
      {"version-3000000.gguf", "big-endian"},
      {"version-1.gguf", "version: expected 2 or 3, found 1"},
      {"tensor-count-huge.gguf", "tensor count: expected at most"},
      {"kv-count-neg.gguf", "metadata key count: expected at most"},
      {"key-64k.gguf", "length 65536, expected at most 65535"},
      {"name-64.gguf", "length 64, expected at most 63"},
      {"value-type-13.gguf", "unknown value type 13"},
      {"elem-type-13.gguf", "unknown element type 13"},
      {"array-of-array.gguf", "array of arrays"},
      {"nested-arrays.gguf", "array of arrays"},
      {"array-count-wrap.gguf", "array of 4611686018427387904 elements"},
      {"key-twice.gguf", "twice"},
      {"key-empty.gguf", "a metadata key is empty"},
      {"name-empty.gguf", "a tensor name is empty"},
      {"name-twice.gguf", "twice"},
      {"name-nul.gguf", "contains a NUL"},
      {"key-nul.gguf", "contains a NUL"},
      {"arch-nul.gguf", "contains a NUL"},
      {"align-3.gguf", "expected a power of two in 8..1048576, found 3"},
      {"align-type-i32.gguf", "expected u32, found i32 32"},
      {"align-string.gguf", "expected u32, found string"},
      {"dims-5.gguf", "expected at most 4 dimensions, found 5"},
      {"dim-neg.gguf", "is not below 2^63"},
      {"dims-product-0.gguf", "does not fit 64 bits"},
      {"type-4.gguf", "Q4_2 (removed)"},
      {"type-36.gguf", "removed"},
      {"type-43.gguf", "type 43: unknown"},
      {"row-33-q4_0.gguf", "expected a multiple of 32 for Q4_0"},
      {"offset-odd.gguf", "expected a multiple of 32"},
      {"offset-wrap.gguf", "pass the end of the file"},
      {"overlap-partly.gguf", "overlap at byte"},
      {"cut-1.gguf", "pass the end of the file"},
      {"cut-kv.gguf", "the header ends inside"},
      {"split-missing", "m-00002-of-00002.gguf: no such file"},
      {"split-second-first", "open the first part: m-00001-of-00002.gguf"},
      {"split-name", "expected a file name ending in \"-00001-of-00002.gguf\""},
      {"split-no", "\"split.no\": expected 1, found 0"},
      {"split-count", "expected 2 as in the first part, found 3"},
      {"split-total", "\"split.tensors.count\""},
      {"split-twice", "is also in"},
      {"split-cut", "pass the end of the file"},
      {"split-other", "magic"},
      {"a-arch.gguf", "\"general.architecture\": expected \"gemma4\""},
      {"a-unpaired.gguf", ".lora_b\": missing"},
      {"a-unpaired-b.gguf", ".lora_a\": missing"},
      {"a-shape-in.gguf", "the model has [64, 32]"},
      {"a-shape-out.gguf", "the model has [64, 32]"},
      {"a-rank.gguf", "different ranks: lora_a 4, lora_b 5"},
      {"a-rank-0.gguf", "rank and widths must not be 0"},
      {"a-base.gguf", "does not have"},
      {"a-alpha-nan.gguf", "expected a finite number"},
      {"a-suffix.gguf", "lora_c"},
      {"a-type.gguf", "\"adapter.type\": expected \"lora\""},
      {"a-as-model.gguf", "\"general.type\": expected \"adapter\""},
      {"p-patch-0.gguf", "patch_size\": expected 1..256, found 0"},
      {"p-heads-0.gguf", "head_count\": expected 1..1024, found 0"},
      {"p-scale-0.gguf", "scale_factor\": expected 1..64, found 0"},
      {"p-image-huge.gguf", "image_size\": expected 1..16384, found 2147483648"},
      {"p-blocks-huge.gguf", "block_count\": expected 1..512, found 2147483648"},
      {"p-mean-2.gguf", "image_mean\": expected 3 numbers, found 2"},
      {"p-mean-u8.gguf", "image_mean\": expected array of f32, found array of 3 u8"},
      {"p-tensors.gguf", "missing"},
      {"p-projector.gguf", "projector type"},
      {"s-n-max.safetensors", "header length"},
      {"s-n-200m.safetensors", "header length"},
      {"s-n-0.safetensors", "does not begin with '{'"},
      {"s-leading-space.safetensors", "does not begin with '{'"},
      {"s-nul.safetensors", "contains a NUL"},
      {"s-twice-escaped.safetensors", "twice"},
      {"s-wrap.safetensors", "does not fit 64 bits"},
      {"s-neg.safetensors", "expected a whole number below 2^64"},
      {"s-float-shape.safetensors", "expected a whole number below 2^64"},
      {"s-u64-offset.safetensors", "expected a whole number below 2^64"},
      {"s-f4-odd.safetensors", "do not make whole bytes"},
      {"s-dtype.safetensors", "unknown type"},
      {"s-no-shape.safetensors", "shape: missing"},
      {"s-offsets-3.safetensors", "expected two numbers"},
      {"s-hole.safetensors", "a hole"},
      {"s-overlap.safetensors", "an overlap"},
      {"s-trailing.safetensors", "after the last tensor"},
      {"i-traversal", "expected a plain file name, found \"../a.safetensors\""},
      {"i-absolute", "expected a plain file name"},
      {"i-backslash", "expected a plain file name"},
      {"i-missing-file", "no such file"},
      {"i-missing-tensor", "is not in"},
      {"i-no-map", "\"weight_map\": missing, expected object"},
      {"i-map-array", "\"weight_map\": expected object, found array"},
  };
  const auto it = kReasons.find(file);
  return it == kReasons.end() ? std::string() : it->second;
}

TEST(GoldenFiles, RefusesEveryMalformedFileForItsReason) {
  const fs::path folder = Golden("gguf/bad");
  const fs::path base = Golden("gguf/weird") / "base.gguf";
  size_t cases = 0;
  for (const Json& item : ReadIndex(folder)) {
    const std::string level = item["level"], file = item["file"], wrong = item["wrong"];
    SCOPED_TRACE(file + ": " + wrong);
    ++cases;
    const auto begin = std::chrono::steady_clock::now();
    const Status status = OpenAs(level, FileOf(folder, item), base);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    EXPECT_LT(seconds.count(), 1);
    if (level == "model") {
      // Wrong for a model, sound as a container.
      EXPECT_TRUE(status) << status.error().message;
      continue;
    }
    EXPECT_FALSE(status);
    if (status) continue;
    const Error& error = status.error();
    EXPECT_TRUE(error.code == Code::kBadFile || error.code == Code::kNotFound);
    EXPECT_NE(error.message.find(folder.string()), std::string::npos) << error.message;
    EXPECT_NE(error.message.find(ReasonOf(file)), std::string::npos) << error.message;
    EXPECT_EQ(error.message.find_first_of(std::string_view("\n\r\0", 3)), std::string::npos);
  }
  EXPECT_EQ(cases, 253u);
}

TEST(GoldenFiles, AcceptsEveryUnusualFile) {
  const fs::path folder = Golden("gguf/weird");
  size_t cases = 0;
  for (const Json& item : ReadIndex(folder)) {
    const std::string kind = item["kind"], file = item["file"], unusual = item["unusual"];
    SCOPED_TRACE(file + ": " + unusual);
    ++cases;
    const fs::path path = FileOf(folder, item);
    const Status status = OpenAs(kind, path, folder / "base.gguf");
    EXPECT_TRUE(status) << status.error().message;
    if (!status || !item.contains("tensors") || item["tensors"].empty()) continue;
    auto mapped = MappedFile::Open(path);
    ASSERT_TRUE(mapped);
    const auto tensors = ParseSafetensors(*mapped);
    ASSERT_TRUE(tensors);
    EXPECT_EQ(tensors->tensors.size(), item["tensors"].size());
    uint64_t header = 0;
    std::memcpy(&header, (*mapped)->bytes().data(), 8);
    for (const TensorEntry& t : tensors->tensors) {
      ASSERT_TRUE(item["tensors"].contains(t.name));
      const Json& want = item["tensors"][t.name];
      EXPECT_EQ(Name(t.dtype), want[0].get<std::string>());
      EXPECT_EQ(t.shape, want[1].get<std::vector<uint64_t>>());
      EXPECT_EQ(t.offset - 8 - header, want[2].get<uint64_t>());
      EXPECT_EQ(t.bytes, want[3].get<uint64_t>() - want[2].get<uint64_t>());
    }
  }
  EXPECT_EQ(cases, 56u);
}

TEST(GoldenFiles, ReadsTheUnusualModelsAsTheirBase) {
  const fs::path folder = Golden("gguf/weird");
  const auto base = OpenCheckpoint(folder / "base.gguf");
  ASSERT_TRUE(base);
  for (const char* name :
       {"align-8.gguf", "align-4096.gguf", "version-2.gguf", "order-reversed.gguf",
        "no-final-padding.gguf", "trailing-bytes.gguf", "split-2/m-00001-of-00002.gguf",
        "split-3-empty-first/m-00001-of-00003.gguf", "split-2", "split-3-empty-first"}) {
    SCOPED_TRACE(name);
    const auto other = OpenCheckpoint(folder / name);
    ASSERT_TRUE(other) << other.error().message;
    EXPECT_EQ(other->tensors.size(), base->tensors.size());
    for (const auto& [tensor, t] : base->tensors) {
      const TensorEntry* o = other->Find(tensor);
      ASSERT_NE(o, nullptr) << tensor;
      EXPECT_EQ(o->shape, t.shape);
      ASSERT_EQ(o->bytes, t.bytes);
      EXPECT_EQ(std::memcmp(o->data(), t.data(), t.bytes), 0) << tensor;
    }
    EXPECT_EQ(other->metadata->RequireStrings("tokenizer.ggml.tokens")->size(), 276u);
  }
}

TEST(GoldenFiles, ChecksProjectorsMadeByTheConverter) {
  fs::path folder = test::FindGolden("media/mmproj");  // the repository has their headers only
  if (folder.empty()) folder = Golden("gguf/mmproj-headers");
  struct Case {
    const char* file;
    const char *vision, *audio;
    size_t tensors;
  };
  for (const Case& c : {Case{"e2b-like.mmproj.f32.gguf", "gemma4v", "gemma4a", 217},
                        Case{"26b-like.mmproj.f32.gguf", "gemma4v", "", 31},
                        Case{"12b-like.mmproj.f32.gguf", "gemma4uv", "gemma4ua", 11}}) {
    SCOPED_TRACE(c.file);
    auto file = OpenGguf(folder / c.file);
    ASSERT_TRUE(file) << file.error().message;
    const auto info = CheckProjector(*file);
    ASSERT_TRUE(info) << info.error().message;
    ASSERT_TRUE(info->vision);
    EXPECT_EQ(info->vision->projector, c.vision);
    EXPECT_EQ(info->audio ? info->audio->projector : "", c.audio);
    EXPECT_EQ(info->tensors, c.tensors);
    EXPECT_TRUE(info->warnings.empty());
    // Each tensor is needed or at least compared: change its shape and the file is refused.
    for (TensorEntry& t : file->tensors) {
      ++t.shape.back();
      EXPECT_FALSE(CheckProjector(*file)) << t.name;
      --t.shape.back();
    }
    const auto adapter = CheckAdapter(*file, nullptr);
    EXPECT_FALSE(adapter);
  }
}

}  // namespace
}  // namespace carat
