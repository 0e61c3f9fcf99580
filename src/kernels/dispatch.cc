// SPDX-License-Identifier: Apache-2.0
#include "kernels/dispatch.h"

#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "base/cpu_info.h"
#include "kernels/fill.h"

namespace carat {
namespace {

constexpr const char* kAllIsas[] = {"scalar", "avx2", "avx512vnni"};

KernelTable ScalarTable() {
  KernelTable t;
  t.isa = kAllIsas[0];
  FillLinearScalar(&t.linear);
  FillModeScalar(&t.mode);
  return t;
}

#if defined(__x86_64__)
KernelTable Avx2Table() {
  KernelTable t = ScalarTable();
  t.isa = kAllIsas[1];
  FillLinearAvx2(&t.linear);
  FillModeAvx2(&t.mode);
  return t;
}

KernelTable Avx512VnniTable() {
  KernelTable t = Avx2Table();
  t.isa = kAllIsas[2];
  FillLinearAvx512Vnni(&t.linear);
  FillModeAvx512Vnni(&t.mode);
  return t;
}
#endif

struct Tables {
  std::vector<KernelTable> tables;
  std::vector<const KernelTable*> runnable;
};

const Tables& AllTables() {
  static const Tables tables = [] {
    Tables t;
    t.tables.push_back(ScalarTable());
#if defined(__x86_64__)
    const CpuInfo cpu = DetectCpu();
    if (cpu.avx2_fma) t.tables.push_back(Avx2Table());
    if (cpu.avx512_vnni) t.tables.push_back(Avx512VnniTable());
#endif
    for (const KernelTable& k : t.tables) t.runnable.push_back(&k);
    return t;
  }();
  return tables;
}

Result<const KernelTable*> ChosenByEnvironment() {
  const char* wanted = std::getenv("CARAT_ISA");
  return ChooseKernels(wanted ? wanted : "");
}

const Result<const KernelTable*>& Chosen() {
  static const Result<const KernelTable*> choice = ChosenByEnvironment();
  return choice;
}

}  // namespace

Result<const KernelTable*> ChooseKernels(std::string_view wanted) {
  const auto runnable = Runnable();
  if (wanted.empty()) return runnable.back();
  std::string names;
  for (const KernelTable* k : runnable) {
    if (k->isa == wanted) return k;
    names += names.empty() ? k->isa : std::string(", ") + k->isa;
  }
  bool known = false;
  for (const char* isa : kAllIsas) known |= isa == wanted;
  return InvalidArgument("CARAT_ISA={}: {}; this processor runs {}", wanted,
                         known ? "not supported here" : "no such instruction set", names);
}

const KernelTable& Kernels() { return Chosen() ? **Chosen() : *Runnable().back(); }

Status InitKernels() {
  CARAT_RETURN_IF_ERROR(Chosen());
  return {};
}

std::span<const KernelTable* const> Runnable() { return AllTables().runnable; }

}  // namespace carat
