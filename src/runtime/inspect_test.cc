// SPDX-License-Identifier: Apache-2.0
// What kind a file is taken for, and what is said of it. Files: tests/golden/gguf.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/golden_for_test.h"
#include "runtime/inspect_report.h"

namespace carat {
namespace {

namespace fs = std::filesystem;

using test::FileOf;
using test::Golden;
using test::ReadIndex;
using ::testing::HasSubstr;
using ::testing::Not;

InspectOptions Options(std::string as, fs::path base = {}) {
  InspectOptions options;
  options.as = std::move(as);
  options.base = std::move(base);
  options.load.check_memory = false;
  return options;
}

void ExpectRefused(const Result<InspectReport>& report, const fs::path& path) {
  ASSERT_FALSE(report) << path << " is taken for " << report->kind;
  EXPECT_EQ(report.error().code, Code::kBadFile) << report.error().message;
  EXPECT_THAT(report.error().message, Not(HasSubstr("\n")));
}

TEST(Inspect, RefusesEveryBadFileAsWhatItClaimsToBe) {
  const fs::path folder = Golden("gguf/bad");
  const auto index = ReadIndex(folder);
  ASSERT_GT(index.size(), 200u) << folder;
  for (const auto& entry : index) {
    const std::string level = entry["level"];
    const fs::path path = FileOf(folder, entry);
    const fs::path base = level == "adapter" ? Golden("gguf/weird") / "base.gguf" : fs::path();
    ExpectRefused(Inspect(path, Options(level, base)), path);
  }
}

TEST(Inspect, RefusesBadFilesAlsoWhenItGuesses) {
  const fs::path folder = Golden("gguf/bad");
  const auto index = ReadIndex(folder);
  ASSERT_GT(index.size(), 200u) << folder;
  for (const auto& entry : index) {
    const fs::path path = FileOf(folder, entry);
    // Adapters that contradict their base only.
    const std::string file = entry["file"];
    if (entry["level"] == "adapter" &&
        (file == "a-arch.gguf" || file == "a-base.gguf" || file.rfind("a-shape", 0) == 0)) {
      EXPECT_TRUE(Inspect(path, Options(""))) << path;
      continue;
    }
    ExpectRefused(Inspect(path, Options("")), path);
  }
}

TEST(Inspect, AcceptsEveryOddFileAndGuessesItsKind) {
  const fs::path folder = Golden("gguf/weird");
  const auto index = ReadIndex(folder);
  ASSERT_GT(index.size(), 50u) << folder;
  for (const auto& entry : index) {
    const fs::path path = FileOf(folder, entry);
    for (const bool guess : {false, true}) {
      const std::string kind = entry["kind"];
      const auto report = Inspect(path, Options(guess ? "" : kind));
      ASSERT_TRUE(report) << report.error().message;
      EXPECT_EQ(report->kind, kind) << path;
      EXPECT_TRUE(nlohmann::json::accept(report->json)) << path;
      EXPECT_THAT(report->text, HasSubstr(path.filename().string()));
    }
  }
}

TEST(Inspect, TellsAModelsShapeTokensAndMemory) {
  InspectOptions options = Options("");
  options.load.context_tokens = 64;
  options.tensors = true;
  const auto report = Inspect(Golden("gguf/weird") / "base.gguf", options);
  ASSERT_TRUE(report) << report.error().message;
  const auto json = nlohmann::json::parse(report->json);
  EXPECT_EQ(json["kind"], "model");
  EXPECT_EQ(json["architecture"], "gemma4");
  EXPECT_EQ(json["layers"], 2);
  EXPECT_EQ(json["width"], 32);
  EXPECT_EQ(json["vocab"], 276);
  EXPECT_EQ(json["special_tokens"]["bos"], 2);
  EXPECT_EQ(json["tensors"].size(), 31u);
  EXPECT_EQ(json["memory_plan"]["context_tokens"], 64);
  for (const char* line :
       {"weights-mapped", "weights-anonymous", "ple-rows", "kv", "scratch", "tokenizer", "peak"}) {
    EXPECT_TRUE(json["memory_plan"][line].is_number_unsigned()) << line;
    EXPECT_THAT(report->text, HasSubstr(line));
  }
  EXPECT_GT(json["memory_plan"]["kv"], 0);
}

TEST(Inspect, ChecksAnAdapterAgainstItsBase) {
  const fs::path weird = Golden("gguf/weird");
  const auto report = Inspect(weird / "adapter.gguf", Options("adapter", weird / "base.gguf"));
  ASSERT_TRUE(report) << report.error().message;
  const auto json = nlohmann::json::parse(report->json);
  EXPECT_EQ(json["rank"], 4);
  EXPECT_EQ(json["alpha"], 8);
  EXPECT_EQ(json["pair_count"], 1);
}

TEST(Inspect, ListsMetadataOfAnyContainer) {
  const auto report = Inspect(Golden("gguf/weird") / "zero-tensors.gguf", Options("container"));
  ASSERT_TRUE(report) << report.error().message;
  const auto json = nlohmann::json::parse(report->json);
  EXPECT_EQ(json["version"], 3);
  EXPECT_EQ(json["tensor_count"], 0);
  EXPECT_EQ(json["metadata"]["general.architecture"], "gemma4");
  EXPECT_EQ(json["metadata"]["a.list"]["count"], 3);
}

TEST(Inspect, RefusesWhatItDoesNotKnow) {
  const fs::path path = fs::temp_directory_path() / fmt::format("carat_inspect_{}", getpid());
  std::ofstream(path) << "PK\x03\x04 something else";
  const auto report = Inspect(path, Options(""));
  fs::remove(path);
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, Code::kBadFile);
  EXPECT_THAT(report.error().message, HasSubstr("expected a GGUF, safetensors or index file"));
}

TEST(Inspect, RefusesUnknownKindsAndNeedlessBases) {
  const fs::path base = Golden("gguf/weird") / "base.gguf";
  const auto kind = Inspect(base, Options("zip"));
  ASSERT_FALSE(kind);
  EXPECT_EQ(kind.error().code, Code::kInvalidArgument);
  const auto needless = Inspect(base, Options("", base));
  ASSERT_FALSE(needless);
  EXPECT_EQ(needless.error().code, Code::kInvalidArgument);
}

TEST(Inspect, SaysThatAFileIsNotThere) {
  const auto report = Inspect("/no/such/file.gguf", Options(""));
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, Code::kNotFound);
}

}  // namespace
}  // namespace carat
