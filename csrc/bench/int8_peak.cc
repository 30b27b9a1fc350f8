#include "bench/int8_peak.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <future>
#include <vector>

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#elif defined(__aarch64__) && defined(__GNUC__)
#include <arm_neon.h>
#endif

namespace tropilla {
namespace {

#if (defined(__x86_64__) || defined(__aarch64__)) && defined(__GNUC__)

constexpr int64_t kRounds = 100'000;  // a millisecond: short enough to fit between interruptions
constexpr int kChains = 12;  // more than latency times rate of any processor so far

#endif

#if defined(__x86_64__) && defined(__GNUC__)

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

#elif defined(__aarch64__) && defined(__GNUC__)

[[gnu::target("arch=armv8.2-a+dotprod")]] int64_t sdot_operations() {
  int32x4_t sums[kChains] = {};
  const int8x16_t q = vdupq_n_s8(1);
  for (int64_t i = 0; i < kRounds; ++i) {
#pragma GCC unroll 12
    for (int k = 0; k < kChains; ++k) {
      sums[k] = vdotq_s32(sums[k], q, q);
      asm volatile("" : "+w"(sums[k]));
    }
  }
  return kRounds * kChains * 16 * 2;
}

#endif

using Operations = int64_t (*)();

Operations operations_of([[maybe_unused]] std::string_view isa) {
#if defined(__x86_64__) && defined(__GNUC__)
  if (isa == "avx512") return vnni_operations;
  if (isa == "avx2") return maddubs_operations;
#elif defined(__aarch64__) && defined(__GNUC__)
  if (isa == "neon") return sdot_operations;
#endif
  return nullptr;
}

double rate(Operations operations) {
  const auto start = std::chrono::steady_clock::now();
  const int64_t n = operations();
  return double(n) / std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double best_rate(Operations operations) {
  constexpr int kRepeats = 50;
  double best = 0.0;
  for (int i = 0; i < kRepeats; ++i) best = std::max(best, rate(operations));
  return best;
}

}  // namespace

double int8_peak(std::string_view isa, int n_threads) {
  const Operations operations = operations_of(isa);
  if (operations == nullptr) return 0.0;
  std::vector<std::future<double>> rates;  // wait for their threads also where one cannot be started
  for (int i = 0; i < std::max(n_threads, 1); ++i) {
    rates.push_back(std::async(std::launch::async, best_rate, operations));
  }
  double sum = 0.0;
  for (std::future<double>& rate : rates) sum += rate.get();
  return sum;
}

}  // namespace tropilla
