// SPDX-License-Identifier: Apache-2.0
#include "row_queue.h"

#include <gtest/gtest.h>

#include <thread>

namespace carat {
namespace {

TEST(RowQueue, HandsOverRowsInOrder) {
  RowQueue queue;
  std::thread producer([&] {
    for (int i = 0; i < 100; ++i) ASSERT_TRUE(queue.Push({static_cast<float>(i)}));
    queue.Close();
  });
  std::vector<float> row;
  int count = 0;
  while (queue.Pop(&row)) EXPECT_EQ(row, std::vector<float>{static_cast<float>(count++)});
  producer.join();
  EXPECT_EQ(count, 100);
}

TEST(RowQueue, FreesAProducerThatWaitsForRoomWhenItIsClosed) {
  RowQueue queue;
  int pushed = 0;
  std::thread producer([&] {
    while (queue.Push({1})) ++pushed;
  });
  std::vector<float> row;
  ASSERT_TRUE(queue.Pop(&row));
  queue.Close();
  producer.join();
  EXPECT_GE(pushed, 1);
  EXPECT_LE(pushed, 9);  // one was taken out, eight fit
}

}  // namespace
}  // namespace carat
