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

TEST(Dispatch, RefusesNamesThatItCannotRun) {
  for (const KernelTable* k : Runnable()) {
    const auto chosen = ChooseKernels(k->isa);
    ASSERT_TRUE(chosen) << k->isa;
    EXPECT_EQ(*chosen, k);
  }
  EXPECT_EQ(*ChooseKernels(""), Runnable().back());
  for (const char* name : {"mmx", "Scalar", "avx", "avx512vnni "}) {
    const auto chosen = ChooseKernels(name);
    ASSERT_FALSE(chosen) << name;
    EXPECT_EQ(chosen.error().code, Code::kInvalidArgument);
    EXPECT_EQ(chosen.error().message.find("CARAT_ISA=" + std::string(name) + ": no such"), 0u);
  }
  if (!DetectCpu().avx512_vnni) {
    const auto chosen = ChooseKernels("avx512vnni");
    ASSERT_FALSE(chosen);
    EXPECT_NE(chosen.error().message.find("not supported here"), std::string::npos);
  }
}

}  // namespace
}  // namespace carat
