// SPDX-License-Identifier: Apache-2.0
#include "runtime/model_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <optional>

namespace carat {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A variable of the environment for the time of a test.
class ScopedVariable {
 public:
  ScopedVariable(const char* name, const std::optional<std::string>& value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    Set(value);
  }
  ~ScopedVariable() { Set(old_); }

 private:
  void Set(const std::optional<std::string>& value) {
    if (value) {
      setenv(name_, value->c_str(), 1);
    } else {
      unsetenv(name_);
    }
  }
  const char* name_;
  std::optional<std::string> old_;
};

class ModelStore : public ::testing::Test {
 protected:
  ModelStore()
      : root_(fs::temp_directory_path() / fmt::format("carat_store_{}", getpid())),
        cache_("CARAT_CACHE", (fs::remove_all(root_), root_.string())) {}
  ~ModelStore() override { fs::remove_all(root_); }

  fs::path Put(const fs::path& name, size_t bytes) {
    const fs::path path = root_ / "models" / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path) << std::string(bytes, 'x');
    return path;
  }

  fs::path root_;
  ScopedVariable cache_;
};

TEST_F(ModelStore, PrefersCaratCacheThenXdgThenHome) {
  const ScopedVariable xdg("XDG_CACHE_HOME", "/xdg"), home("HOME", "/home/a");
  EXPECT_EQ(CacheFolder(), root_);
  const ScopedVariable no_cache("CARAT_CACHE", std::nullopt);
  EXPECT_EQ(CacheFolder(), "/xdg/carat");
  const ScopedVariable empty_xdg("XDG_CACHE_HOME", "");
  EXPECT_EQ(CacheFolder(), "/home/a/.cache/carat");
  const ScopedVariable no_home("HOME", std::nullopt);
  EXPECT_EQ(CacheFolder(), "");
}

TEST_F(ModelStore, ResolvesANameToTheOnlyFile) {
  const fs::path file = Put("tiny/model.gguf", 10);
  Put("tiny/model.gguf.verified", 3);
  const auto path = ResolveModel("tiny");
  ASSERT_TRUE(path) << path.error().message;
  EXPECT_EQ(*path, file);
}

TEST_F(ModelStore, ResolvesANameToTheFolderWhereFilesBelongTogether) {
  Put("parts/m-00001-of-00002.gguf", 10);
  Put("parts/m-00002-of-00002.gguf", 10);
  Put("hf/model.safetensors", 10);
  EXPECT_EQ(ResolveModel("parts").value_or(""), root_ / "models/parts");
  EXPECT_EQ(ResolveModel("hf").value_or(""), root_ / "models/hf");
}

TEST_F(ModelStore, TakesAnExistingPathBeforeAName) {
  const fs::path file = Put("a/b.gguf", 1);
  EXPECT_EQ(ResolveModel(file.string()).value_or(""), file);
}

TEST_F(ModelStore, NamesWhatIsThereWhenANameIsUnknown) {
  Put("one/a.gguf", 1);
  Put("two/a.gguf", 1);
  const auto path = ResolveModel("three");
  ASSERT_FALSE(path);
  EXPECT_EQ(path.error().code, Code::kNotFound);
  EXPECT_THAT(path.error().message, HasSubstr("one, two"));
}

TEST_F(ModelStore, NeverLeavesTheCacheByAName) {
  Put("one/a.gguf", 1);
  fs::create_directories(root_ / "secret");
  std::ofstream(root_ / "secret" / "a.gguf") << "x";
  for (const char* name : {"../secret", "..", ".", "models/../one", ""})
    EXPECT_FALSE(IsModelName(name)) << name;
  const auto path = ResolveModel("../secret");
  ASSERT_FALSE(path);
  EXPECT_EQ(path.error().code, Code::kNotFound);
}

TEST_F(ModelStore, SaysWhatAnEmptyFolderLacks) {
  fs::create_directories(root_ / "models/empty");
  const auto path = ResolveModel("empty");
  ASSERT_FALSE(path);
  EXPECT_THAT(path.error().message, HasSubstr("expected .gguf or .safetensors files, found none"));
}

TEST_F(ModelStore, ListsNamesPathsAndSizes) {
  Put("b/x.gguf", 5);
  Put("a/model.safetensors", 7);
  Put("a/config.json", 3);
  Put("nothing/readme", 3);
  Put("stray-file", 1);
  const auto models = ListModels();
  ASSERT_EQ(models.size(), 2u);
  EXPECT_EQ(models[0].name, "a");
  EXPECT_EQ(models[0].path, root_ / "models/a");
  EXPECT_EQ(models[0].bytes, 10u);
  EXPECT_EQ(models[1].name, "b");
  EXPECT_EQ(models[1].path, root_ / "models/b/x.gguf");
  EXPECT_EQ(models[1].bytes, 5u);
}

TEST_F(ModelStore, ListsNothingWithoutACache) { EXPECT_THAT(ListModels(), IsEmpty()); }

}  // namespace
}  // namespace carat
