// SPDX-License-Identifier: Apache-2.0
#include "io/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/gguf_for_test.h"
#include "io/safetensors.h"

namespace carat {
namespace {

namespace fs = std::filesystem;
using test::GgufBytes;
using testing::HasSubstr;

// A folder of its own for each test.
class Checkpoints : public testing::Test {
 protected:
  Checkpoints() {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(testing::TempDir()) /
              ("carat_" + std::string(info->name()) + std::to_string(::getpid()));
    fs::create_directories(folder_);
  }
  ~Checkpoints() override { fs::remove_all(folder_); }

  void Text(const char* name, std::string_view text) const {
    std::ofstream(folder_ / name, std::ios::binary) << text;
  }
  // A safetensors file of one-byte tensors.
  void Tensors(const char* name, const std::vector<std::string>& names) const {
    static const std::byte kByte{7};
    std::vector<TensorToWrite> tensors;
    for (const std::string& n : names) tensors.push_back({n, DType::kU8, {1}, {&kByte, 1}});
    ASSERT_TRUE(WriteSafetensors(folder_ / name, tensors));
  }
  static GgufBytes Model() {
    GgufBytes bytes;
    bytes.String("general.architecture", "gemma4").Tensor("w", {4});
    return bytes;
  }
  std::string Problem(const char* name = "", Code code = Code::kBadFile) const {
    const auto opened = OpenCheckpoint(folder_ / name);
    if (opened) return "accepted";
    EXPECT_EQ(opened.error().code, code);
    return opened.error().message;
  }

  fs::path folder_;
};

TEST_F(Checkpoints, OpensAHuggingFaceFolderWithItsTexts) {
  Tensors("model.safetensors", {"a", "b"});
  Text("config.json", "{}");
  Text("chat_template.jinja", "x");
  Text("other.json", "not read");
  Model().Write(folder_ / "ignored.gguf");
  for (const char* name : {"", "model.safetensors"}) {
    const auto opened = OpenCheckpoint(folder_ / name);
    ASSERT_TRUE(opened) << opened.error().message;
    EXPECT_EQ(opened->format, CheckpointFormat::kHuggingFace);
    EXPECT_EQ(opened->path, folder_ / name);
    EXPECT_EQ(opened->tensors.size(), 2u);
    EXPECT_EQ(opened->Find("b")->bytes, 1u);
    EXPECT_EQ(opened->Find("c"), nullptr);
    EXPECT_EQ(opened->metadata, nullptr);
    EXPECT_EQ(opened->texts.size(), 2u);
    EXPECT_EQ(opened->texts.at("config.json"), "{}");
  }
}

TEST_F(Checkpoints, OpensAnIndexAndWarnsOfExtraTensors) {
  Tensors("p1.safetensors", {"a", "extra"});
  Tensors("p2.safetensors", {"b"});
  Tensors("model.safetensors", {"unused"});
  Text("model.safetensors.index.json",
       R"({"metadata":{"total_size":2},"weight_map":{"a":"p1.safetensors","b":"p2.safetensors"}})");
  for (const char* name : {"", "model.safetensors.index.json"}) {
    const auto opened = OpenCheckpoint(folder_ / name);
    ASSERT_TRUE(opened) << opened.error().message;
    EXPECT_EQ(opened->tensors.size(), 2u);
    ASSERT_EQ(opened->warnings.size(), 1u);
    EXPECT_THAT(opened->warnings[0], HasSubstr("1 tensors that the index does not name"));
  }
}

TEST_F(Checkpoints, RefusesATensorThatTwoPartsHave) {
  Tensors("p1.safetensors", {"a"});
  Tensors("p2.safetensors", {"b", "a"});
  Text("model.safetensors.index.json",
       R"({"weight_map":{"a":"p1.safetensors","b":"p2.safetensors"}})");
  EXPECT_THAT(Problem(), HasSubstr("tensor \"a\" is also in p1.safetensors"));
}

TEST_F(Checkpoints, RefusesWhatAnIndexMustNotSay) {
  Tensors("a.safetensors", {"w"});
  for (const char* name : {"", ".", "..", "../a.safetensors", "x/a.safetensors", "/a", "..\\\\a",
                           "a.safetensors\\u0000", "a\\nb", "\\u001b[2J"}) {
    Text("model.safetensors.index.json", std::string(R"({"weight_map":{"w":")") + name + R"("}})");
    EXPECT_THAT(Problem(), HasSubstr("expected a plain file name")) << name;
    EXPECT_EQ(Problem().find_first_of("\n\x1b"), std::string::npos) << name;
  }
  Text("model.safetensors.index.json", R"({"weight_map":{"w":1}})");
  EXPECT_THAT(Problem(), HasSubstr("expected a string, found number 1"));
  Text("model.safetensors.index.json", "[]");
  EXPECT_THAT(Problem(), HasSubstr("expected an object, found array of 0"));
  Text("model.safetensors.index.json", R"({"weight_map":{"w":"a.safetensors","w":"b"}})");
  EXPECT_THAT(Problem(), HasSubstr("\"w\" twice"));
}

TEST_F(Checkpoints, OpensTheOnlyModelAmongGgufFiles) {
  Model().Write(folder_ / "model.gguf");
  GgufBytes projector, adapter;
  projector.String("general.architecture", "clip").Write(folder_ / "a-mmproj.gguf");
  adapter.String("general.type", "adapter").Write(folder_ / "z-adapter.gguf");
  const auto opened = OpenCheckpoint(folder_);
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_EQ(opened->format, CheckpointFormat::kGguf);
  EXPECT_EQ(opened->tensors.size(), 1u);
  EXPECT_EQ(*opened->metadata->RequireString("general.architecture"), "gemma4");
}

TEST_F(Checkpoints, RefusesAFolderWithoutOneClearModel) {
  EXPECT_THAT(Problem("", Code::kNotFound), HasSubstr("or *.gguf in this folder"));
  GgufBytes projector;
  projector.String("general.type", "mmproj");
  projector.Write(folder_ / "p1.gguf");
  projector.Write(folder_ / "p2.gguf");
  EXPECT_THAT(Problem("", Code::kNotFound),
              HasSubstr("no model among the *.gguf files: p1.gguf, p2.gguf"));
  Model().Write(folder_ / "m1.gguf");
  Text("m2.gguf", "broken files are not passed over");
  EXPECT_THAT(Problem(), HasSubstr("name one of them: m1.gguf, m2.gguf"));
  EXPECT_THAT(Problem("absent", Code::kNotFound), HasSubstr("no such file"));
}

TEST_F(Checkpoints, OpensSplitsByFolderAndByFirstPart) {
  GgufBytes first, second;
  first.String("general.architecture", "gemma4").Split(0, 2, 2).Tensor("a", {4});
  first.Write(folder_ / "m-00001-of-00002.gguf");
  second.Split(1, 2, 2).Tensor("b", {4}).Write(folder_ / "m-00002-of-00002.gguf");
  for (const char* name : {"", "m-00001-of-00002.gguf"}) {
    const auto opened = OpenCheckpoint(folder_ / name);
    ASSERT_TRUE(opened) << opened.error().message;
    EXPECT_EQ(opened->tensors.size(), 2u);
    EXPECT_TRUE(opened->metadata->Has("general.architecture"));
  }
  EXPECT_THAT(Problem("m-00002-of-00002.gguf"),
              HasSubstr("open the first part: m-00001-of-00002.gguf"));
}

TEST_F(Checkpoints, TreatsASplitOfOneAsAPlainFile) {
  GgufBytes one, zero, wrong;
  one.Split(0, 1, 1).Tensor("a", {4}).Write(folder_ / "one.gguf");
  zero.Split(0, 0, 0).Tensor("a", {4}).Write(folder_ / "zero.gguf");
  wrong.Split(1, 1, 1).Tensor("a", {4}).Write(folder_ / "wrong.gguf");
  EXPECT_TRUE(OpenCheckpoint(folder_ / "one.gguf"));
  EXPECT_TRUE(OpenCheckpoint(folder_ / "zero.gguf"));
  EXPECT_THAT(Problem("wrong.gguf"), HasSubstr("open the first part"));
}

TEST_F(Checkpoints, RefusesSplitKeysOfOtherTypes) {
  GgufBytes file;
  file.U32("split.no", 0).U32("split.count", 2);
  file.Write(folder_ / "m-00001-of-00002.gguf");
  EXPECT_THAT(Problem("m-00001-of-00002.gguf"),
              HasSubstr("\"split.no\": expected u16, found u32 0"));
}

TEST_F(Checkpoints, LooksInsideFilesWithoutATellingName) {
  Model().Write(folder_ / "sha256-1");
  EXPECT_EQ(OpenCheckpoint(folder_ / "sha256-1")->format, CheckpointFormat::kGguf);
  Tensors("sha256-2", {"a"});
  EXPECT_EQ(OpenCheckpoint(folder_ / "sha256-2")->format, CheckpointFormat::kHuggingFace);
  Text("m.litertlm", "LITERTLM\1");
  EXPECT_THAT(Problem("m.litertlm"), HasSubstr("LiteRT-LM"));
  Text("pytorch_model.bin", "PK");
  EXPECT_THAT(Problem("pytorch_model.bin"), HasSubstr("pickled"));
  Text("x", "hello\n");
  EXPECT_THAT(Problem("x"),
              HasSubstr("neither a GGUF nor a safetensors file (begins with \"hello\\x0a\")"));
  Text("empty", "");
  EXPECT_THAT(Problem("empty"), HasSubstr("neither"));
}

TEST_F(Checkpoints, RefusesWhatIsNotARegularFile) {
  ASSERT_EQ(::mkfifo((folder_ / "pipe.gguf").c_str(), 0600), 0);
  EXPECT_THAT(Problem("pipe.gguf"), HasSubstr("expected a regular file"));
}

TEST_F(Checkpoints, WarnsWhenOnlyOnePartIsNamed) {
  Tensors("model-00001-of-00002.safetensors", {"a"});
  Text("model.safetensors.index.json", "{}");
  const auto opened = OpenCheckpoint(folder_ / "model-00001-of-00002.safetensors");
  ASSERT_TRUE(opened);
  EXPECT_EQ(opened->warnings.size(), 1u);
}

}  // namespace
}  // namespace carat
