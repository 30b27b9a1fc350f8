#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include "kernels/cpu.h"
#include "kernels/kernels.h"
#include "kernels/tables.h"

namespace tropilla {
namespace {

struct Candidate {
  const Kernels* table;
  bool (*runs_here)();
};

bool always() { return true; }

// In order of preference.
const Candidate kCandidates[] = {
#ifdef TROPILLA_X86_KERNELS
    {&kAvx512Kernels, cpu_runs_avx512},
    {&kAvx2Kernels, cpu_runs_avx2},
#endif
#ifdef TROPILLA_NEON_KERNELS
    {&kNeonKernels, cpu_runs_neon},
#endif
    {&kScalarKernels, always},
};

std::string names_that_run_here() {
  std::string names;
  for (const Candidate& candidate : kCandidates) {
    if (candidate.runs_here()) names += (names.empty() ? "" : ", ") + std::string(candidate.table->name);
  }
  return names;
}

const Kernels& choose() {
  const char* wanted = std::getenv("TROPILLA_ISA");
  if (wanted != nullptr && *wanted != '\0') {
    if (const Kernels* table = kernels_named(wanted)) return *table;
    throw std::runtime_error("TROPILLA_ISA=" + std::string(wanted) +
                             " does not run on this machine; choose one of " + names_that_run_here() +
                             ", or unset it to take the first of them");
  }
  for (const Candidate& candidate : kCandidates) {
    if (candidate.runs_here()) return *candidate.table;
  }
  return kScalarKernels;
}

}  // namespace

const Kernels& kernels() {
  static const Kernels& chosen = choose();
  return chosen;
}

const Kernels* kernels_named(const char* name) {
  for (const Candidate& candidate : kCandidates) {
    if (std::strcmp(candidate.table->name, name) == 0) {
      return candidate.runs_here() ? candidate.table : nullptr;
    }
  }
  return nullptr;
}

}  // namespace tropilla
