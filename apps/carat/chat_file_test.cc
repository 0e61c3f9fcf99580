// SPDX-License-Identifier: Apache-2.0
#include "chat_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace carat {
namespace {

using ::testing::HasSubstr;

class ChatFile : public ::testing::Test {
 protected:
  ChatFile() : path_(std::filesystem::temp_directory_path() / fmt::format("carat_{}", getpid())) {}
  ~ChatFile() override { std::filesystem::remove(path_); }

  Result<Conversation> LoadText(const std::string& text) {
    std::ofstream(path_) << text;
    return LoadConversation(path_);
  }
  void ExpectRefused(const std::string& text, const char* message) {
    const auto loaded = LoadText(text);
    ASSERT_FALSE(loaded) << text;
    EXPECT_EQ(loaded.error().code, Code::kBadFile);
    EXPECT_THAT(loaded.error().message, HasSubstr(message));
    EXPECT_THAT(loaded.error().message, HasSubstr(path_.string()));
  }

  std::filesystem::path path_;
};

TEST_F(ChatFile, KeepsAConversation) {
  Conversation saved;
  saved.model = "m";
  saved.system = "Be brief.";
  saved.messages = {{"user", "Wie geht's?\n\"gut\" €"}, {"assistant", "Ja\t\x01"}};
  ASSERT_TRUE(SaveConversation(saved, path_));
  const auto loaded = LoadConversation(path_);
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_TRUE(loaded->chat);
  EXPECT_EQ(loaded->system, saved.system);
  ASSERT_EQ(loaded->messages.size(), 2u);
  EXPECT_EQ(loaded->messages[0].content, saved.messages[0].content);
  EXPECT_EQ(loaded->messages[1].role, "assistant");
  EXPECT_EQ(loaded->messages[1].content, saved.messages[1].content);
}

TEST_F(ChatFile, KeepsATextOfABaseModel) {
  Conversation saved;
  saved.chat = false;
  saved.text = "Once upon a time\n";
  ASSERT_TRUE(SaveConversation(saved, path_));
  const auto loaded = LoadConversation(path_);
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_FALSE(loaded->chat);
  EXPECT_EQ(loaded->text, saved.text);
}

TEST_F(ChatFile, SaysWhereAFileIsWrong) {
  ExpectRefused("", "expected a JSON object");
  ExpectRefused("[]", "expected a JSON object");
  ExpectRefused("{\"format\": 1}", "format: expected a string, found number");
  ExpectRefused("{\"format\": \"other\"}", "format: expected");
  const std::string head = "{\"format\": \"carat-chat\", \"model\": \"\", \"system\": \"\"";
  ExpectRefused(head + "}", "messages: expected an array, found nothing");
  ExpectRefused(head + ", \"messages\": [1]}", "messages[0]: expected an object, found number");
  ExpectRefused(head + ", \"messages\": [{\"role\": \"user\"}]}",
                "messages[0]: content: expected a string, found nothing");
  ExpectRefused(head + ", \"messages\": [{\"role\": \"assistant\", \"content\": \"\"}]}",
                "messages[0]: role: expected \"user\", found \"assistant\"");
  ExpectRefused(head + ", \"messages\": [{\"role\": \"user\", \"content\": \"\"}]}",
                "expected an answer at the end");
}

TEST_F(ChatFile, SurvivesDeepNesting) {
  ExpectRefused(std::string(1 << 20, '['), "expected a JSON object");
}

TEST_F(ChatFile, SaysThatAFileIsNotThere) {
  const auto loaded = LoadConversation(path_);
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, Code::kNotFound);
}

TEST_F(ChatFile, LeavesNothingWhereItCannotWrite) {
  const Status saved = SaveConversation({}, (path_ / "no" / "folder").string());
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message, HasSubstr("cannot write"));
}

}  // namespace
}  // namespace carat
