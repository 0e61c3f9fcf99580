// SPDX-License-Identifier: Apache-2.0
#include "kernels/dispatch.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "base/cpu_info.h"

namespace carat {
namespace {

TEST(Dispatch, RunsScalarEverywhereAndTheBestLast) {
  const auto runnable = Runnable();
  ASSERT_FALSE(runnable.empty());
  EXPECT_STREQ(runnable.front()->isa, "scalar");
  const CpuInfo cpu = DetectCpu();
  if (cpu.avx512_vnni) {
    EXPECT_STREQ(runnable.back()->isa, "avx512vnni");
  } else if (cpu.avx2_fma) {
    EXPECT_STREQ(runnable.back()->isa, "avx2");
  }
}

TEST(Dispatch, LeavesNoEntryEmpty) {
  for (const KernelTable* k : Runnable()) {
    EXPECT_GE(k->linear.token_tile, 1) << k->isa;
    EXPECT_TRUE(k->linear.quantize && k->linear.panel_dot && k->linear.dot_f32 &&
                k->linear.dot_f16 && k->linear.dot_bf16 && k->linear.dot_f32_exact)
        << k->isa;
  }
}

TEST(Dispatch, ChoosesTheBestOrTheForcedOne) {
  const char* wanted = std::getenv("CARAT_ISA");
  if (InitKernels()) {
    EXPECT_STREQ(Kernels().isa, wanted && *wanted ? wanted : Runnable().back()->isa);
  } else {
    EXPECT_NE(InitKernels().error().message.find(wanted), std::string::npos);
    EXPECT_STREQ(Kernels().isa, Runnable().back()->isa);
  }
}

// The choice is fixed at the first call, so each value needs a process of its own.
TEST(DispatchDeathTest, RefusesNamesThatItCannotRun) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        setenv("CARAT_ISA", "mmx", 1);
        const Status s = InitKernels();
        std::_Exit(!s && s.error().code == Code::kInvalidArgument &&
                           s.error().message.find("CARAT_ISA=mmx") == 0
                       ? 7
                       : 1);
      },
      testing::ExitedWithCode(7), "");
  EXPECT_EXIT(
      {
        setenv("CARAT_ISA", "scalar", 1);
        std::_Exit(InitKernels() && Kernels().isa == std::string("scalar") ? 7 : 1);
      },
      testing::ExitedWithCode(7), "");
}

}  // namespace
}  // namespace carat
