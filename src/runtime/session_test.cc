// SPDX-License-Identifier: Apache-2.0
// Sessions through the public interface, on a tiny checkpoint of the repository.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <thread>

#include "carat/carat.h"

namespace carat {
namespace {

// Windows of 16 or so tokens, layers that share keys, per-layer embeddings.
std::shared_ptr<Model> TinyModel() {
  LoadOptions options;
  options.threads = 2;
  options.context_tokens = 1000;
  return *Model::Load(std::filesystem::path(CARAT_TEST_DATA) / "golden" / "text" / "e2b", options);
}

std::vector<int32_t> Ids(int64_t n, int64_t vocab, int first = 0) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < n; ++i) ids.push_back(static_cast<int32_t>((first + 37 * i) % vocab));
  return ids;
}

GenerateOptions Greedy(int64_t tokens) {
  GenerateOptions options;
  options.sampling.temperature = 0;
  options.max_tokens = tokens;
  return options;
}

std::vector<int32_t> Continue(Session& session, const std::vector<int32_t>& prompt, int64_t tokens,
                              GenerateStats* stats = nullptr) {
  std::vector<int32_t> ids;
  const auto result = session.Generate(prompt, Greedy(tokens), [&](const TokenEvent& event) {
    if (event.id >= 0) ids.push_back(event.id);
    return true;
  });
  EXPECT_TRUE(result) << result.error().message;
  if (stats && result) *stats = *result;
  return ids;
}

class SessionTest : public testing::Test {
 protected:
  std::unique_ptr<Session> New() { return *model_->NewSession({}); }
  int64_t vocab() const { return model_->info().vocab; }

  std::shared_ptr<Model> model_ = TinyModel();
};

TEST_F(SessionTest, APrefixThatTheCacheHoldsIsNotFedAgain) {
  const auto session = New();
  const auto ids = Ids(700, vocab());
  GenerateStats stats;
  const auto first = Continue(*session, ids, 8, &stats);
  EXPECT_EQ(stats.cached_tokens, 0);
  // The same prompt and what was said, and one more token.
  auto longer = ids;
  longer.insert(longer.end(), first.begin(), first.end());
  longer.push_back(5);
  const auto again = Continue(*session, longer, 8, &stats);
  EXPECT_EQ(stats.cached_tokens, 707);  // the last token said was never fed
  EXPECT_EQ(again, Continue(*New(), longer, 8));
  // A short prefix is older than what the rings hold: everything is fed again.
  const auto other = Ids(40, vocab());
  EXPECT_EQ(Continue(*session, other, 8, &stats), Continue(*New(), other, 8));
  EXPECT_EQ(stats.cached_tokens, 0);
}

TEST_F(SessionTest, LogitsLeaveNothingBehindHoweverTheyEnd) {
  const auto session = New();
  const auto ids = Ids(600, vocab());
  const auto expected = Continue(*New(), ids, 5);
  // Refused by the callback; and cancelled before the second chunk of 512.
  for (const bool refused : {true, false}) {
    const auto status = session->Logits(ids, 511, [&](int64_t, std::span<const float>) {
      if (!refused) session->Cancel();
      return !refused;
    });
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, Code::kCancelled);
    EXPECT_EQ(session->length(), 0);
    ASSERT_TRUE(session->Feed(std::span(ids).first(100)));
    EXPECT_EQ(session->length(), 100);
    EXPECT_EQ(Continue(*session, ids, 5), expected);
  }
}

TEST_F(SessionTest, ACallbackThatRefusesIsNotCalledAgain) {
  const auto ids = Ids(20, vocab());
  std::string first;
  const auto look = [&](const TokenEvent& event) {
    if (first.empty()) first = event.text;
    return true;
  };
  ASSERT_TRUE(New()->Generate(ids, Greedy(10), look));
  ASSERT_FALSE(first.empty());
  // A stop string that begins like the answer holds text back to the end.
  auto options = Greedy(10);
  options.stop = {first + "\x01"};
  int calls = 0;
  const auto stats = New()->Generate(ids, options, [&](const TokenEvent&) {
    ++calls;
    return false;
  });
  ASSERT_TRUE(stats);
  EXPECT_EQ(stats->reason, FinishReason::kCancelled);
  EXPECT_EQ(calls, 1);
}

TEST_F(SessionTest, NothingToChooseIsAnError) {
  auto options = Greedy(3);
  for (int32_t id = 0; id < vocab(); ++id) options.sampling.suppress.push_back(id);
  const auto stats = New()->Generate(Ids(4, vocab()), options, {});
  ASSERT_FALSE(stats);
  EXPECT_EQ(stats.error().code, Code::kBadFile);
}

TEST_F(SessionTest, SessionsOfSeveralThreadsDontDisturbEachOther) {
  const auto ids = Ids(300, vocab()), others = Ids(300, vocab(), 11);
  const auto expected = Continue(*New(), ids, 20), expected_others = Continue(*New(), others, 20);
  const auto run = [&](const std::vector<int32_t>& prompt, const std::vector<int32_t>& answer) {
    for (int i = 0; i < 5; ++i) {
      const auto session = New();
      EXPECT_EQ(Continue(*session, prompt, 20), answer);
      session->Clear();
    }
  };
  std::thread second([&] { run(others, expected_others); });
  run(ids, expected);
  second.join();
}

TEST_F(SessionTest, WhatMakesNoSenseIsRefused) {
  const auto refused = [](const auto& result) {
    return !result && result.error().code == Code::kInvalidArgument;
  };
  const auto session = New();
  const std::vector<int32_t> beyond = {0, static_cast<int32_t>(vocab())};
  EXPECT_TRUE(refused(session->Generate({}, {}, {})));
  EXPECT_TRUE(refused(session->Generate(beyond, {}, {})));
  EXPECT_TRUE(refused(session->Generate(Ids(1001, vocab()), {}, {})));
  EXPECT_TRUE(refused(session->Feed(Ids(1001, vocab()))));
  TraceInput input;
  input.ids = Ids(3, vocab());
  for (const int32_t id : {-1, static_cast<int32_t>(vocab())}) {
    input.suppress = {id};
    EXPECT_TRUE(refused(session->Trace(input)));
  }
  for (const int64_t context : {int64_t{-1}, INT64_MAX}) {
    EXPECT_TRUE(refused(model_->NewSession({.context_tokens = context})));
    LoadOptions options;
    options.context_tokens = context;
    EXPECT_TRUE(refused(PlanModel(model_->info().path, options)));
    EXPECT_TRUE(refused(Model::Load(model_->info().path, options)));
  }
}

}  // namespace
}  // namespace carat
