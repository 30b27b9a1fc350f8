#include "bench/int8_peak.h"

#include <algorithm>
#include <chrono>
#include <cstdint>

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#endif

namespace tropilla {
namespace {

#if defined(__x86_64__) && defined(__GNUC__)

constexpr int64_t kRounds = 100'000;  // a millisecond: short enough to fit between interruptions
constexpr int kRepeats = 50;
constexpr int kChains = 12;  // more than latency times rate of any x86 so far

// The asm keeps the compiler from merging additions that it can prove equal.
[[gnu::target("avx512f,avx512vnni")]] int64_t vnni_operations() {
  __m512i sums[kChains] = {};
  __m512i q = _mm512_set1_epi8(1);
  for (int64_t i = 0; i < kRounds; ++i) {
#pragma GCC unroll 12
    for (int k = 0; k < kChains; ++k) {
      sums[k] = _mm512_dpbusd_epi32(sums[k], q, q);
      asm volatile("" : "+v"(sums[k]));
    }
  }
  return kRounds * kChains * 64 * 2;
}

[[gnu::target("avx2")]] int64_t maddubs_operations() {
  __m256i sums[kChains] = {};
  __m256i q = _mm256_set1_epi8(1);
  for (int64_t i = 0; i < kRounds; ++i) {
#pragma GCC unroll 12
    for (int k = 0; k < kChains; ++k) {
      asm volatile("" : "+x"(q));
      sums[k] = _mm256_add_epi16(sums[k], _mm256_maddubs_epi16(q, q));
      asm volatile("" : "+x"(sums[k]));
    }
  }
  return kRounds * kChains * 32 * 2;
}

#endif

double rate(int64_t (*operations)()) {
  const auto start = std::chrono::steady_clock::now();
  const int64_t n = operations();
  return double(n) * 1e-9 / std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double best_rate(int64_t (*operations)()) {
  double best = 0.0;
  for (int i = 0; i < kRepeats; ++i) best = std::max(best, rate(operations));
  return best;
}

}  // namespace

double int8_peak_gops(std::string_view isa) {
#if defined(__x86_64__) && defined(__GNUC__)
  if (isa == "avx512") return best_rate(vnni_operations);
  if (isa == "avx2") return best_rate(maddubs_operations);
#endif
  return 0.0;
}

}  // namespace tropilla
