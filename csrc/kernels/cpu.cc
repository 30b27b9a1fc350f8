#include "kernels/cpu.h"

#if defined(_MSC_VER) && defined(_M_X64)
#include <immintrin.h>
#include <intrin.h>
#elif defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(_M_ARM64)
#include <windows.h>
#endif

namespace tropilla {

#if defined(_MSC_VER) && defined(_M_X64)

namespace {

struct Leaf {
  int registers[4];  // eax, ebx, ecx, edx
};

Leaf cpuid(int leaf) {
  Leaf out;
  __cpuidex(out.registers, leaf, 0);
  return out;
}

bool has(const Leaf& leaf, int index, int bit) { return leaf.registers[index] >> bit & 1; }

// The system saves these registers when it switches threads (bits of XCR0).
bool system_saves(unsigned long long mask) {
  return has(cpuid(1), 2, 27) && (_xgetbv(0) & mask) == mask;
}

}  // namespace

bool cpu_runs_avx2() {
  return system_saves(0x6) && has(cpuid(7), 1, 5) && has(cpuid(1), 2, 12) && has(cpuid(1), 2, 29);
}

bool cpu_runs_avx512() {
  const Leaf seven = cpuid(7);
  return cpu_runs_avx2() && system_saves(0xe6) && has(seven, 1, 16) && has(seven, 1, 17) &&
         has(seven, 1, 30) && has(seven, 1, 31) && has(seven, 2, 11);
}

#elif defined(__x86_64__)

// The built-in check, which asks for the system's support too, knows f16c only in recent Clangs.
bool cpu_runs_avx2() {
  unsigned int eax, ebx, ecx, edx;
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_F16C);
}

bool cpu_runs_avx512() {
  return cpu_runs_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vnni");
}

#else

bool cpu_runs_avx2() { return false; }
bool cpu_runs_avx512() { return false; }

#endif

#if defined(__aarch64__) && defined(__linux__)

bool cpu_runs_neon() {
  constexpr unsigned long kDotProduct = 1ul << 20;  // HWCAP_ASIMDDP
  return getauxval(AT_HWCAP) & kDotProduct;
}

#elif defined(__aarch64__) && defined(__APPLE__)

bool cpu_runs_neon() {
  int present = 0;
  size_t size = sizeof present;
  return sysctlbyname("hw.optional.arm.FEAT_DotProd", &present, &size, nullptr, 0) == 0 && present;
}

#elif defined(_M_ARM64)

bool cpu_runs_neon() { return IsProcessorFeaturePresent(PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE); }

#else

bool cpu_runs_neon() { return false; }

#endif

}  // namespace tropilla
