#include "bench/read_bandwidth.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

#include "pages.h"
#include "thread_pool.h"

namespace tropilla {
namespace {

constexpr size_t kLeastPasses = 3;
constexpr int64_t kWordsPerRange = (int64_t{1} << 20) / 8;  // a megabyte: long for the prefetcher, fair to threads
constexpr int64_t kLanes = 16;                              // enough sums at once to wait for memory alone

uint64_t read_words(const uint64_t* words, int64_t n) {
  uint64_t sums[kLanes] = {};
  for (int64_t i = 0; i + kLanes <= n; i += kLanes) {
    for (int64_t k = 0; k < kLanes; ++k) sums[k] |= words[i + k];
  }
  uint64_t all = 0;
  for (const uint64_t sum : sums) all |= sum;
  return all;
}

}  // namespace

std::vector<double> read_bandwidth(int n_threads, int64_t size_bytes, double seconds) {
  using Clock = std::chrono::steady_clock;
  ThreadPool pool(n_threads);
  const PageArray<uint64_t> words(std::max<int64_t>(size_bytes / 8, kLanes));
  advise_huge_pages(words.data(), static_cast<size_t>(words.size_bytes()));
  // Written once: pages never written are all the same page of zeros.
  pool.parallel_for(words.size(), kWordsPerRange, [&](int64_t begin, int64_t end, int) {
    std::memset(words.data() + begin, 1, static_cast<size_t>(end - begin) * 8);
  });
  std::atomic<uint64_t> seen{0};  // the compiler must not find out that nobody wants the sums
  std::vector<double> rates;
  const Clock::time_point start = Clock::now();
  while (rates.size() < kLeastPasses || std::chrono::duration<double>(Clock::now() - start).count() < seconds) {
    const Clock::time_point before = Clock::now();
    pool.parallel_for(words.size(), kWordsPerRange, [&](int64_t begin, int64_t end, int) {
      seen.fetch_or(read_words(words.data() + begin, end - begin), std::memory_order_relaxed);
    });
    const double elapsed = std::chrono::duration<double>(Clock::now() - before).count();
    rates.push_back(static_cast<double>(words.size_bytes()) / std::max(elapsed, 1e-9));
  }
  return rates;
}

}  // namespace tropilla
