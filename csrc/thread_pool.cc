#include "thread_pool.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <system_error>

#if defined(_MSC_VER)
#include <intrin.h>
#endif

namespace tropilla {
namespace {

// Some 30 to 100 microseconds: longer than the serial parts of a layer, shorter than a time slice.
constexpr int kSpins = 2000;
// No loop has this many ranges, so nothing can be claimed from it.
constexpr uint64_t kClosed = 0xFFFFFFFF;

void relax() {
#if defined(_MSC_VER) && (defined(_M_X64) || defined(_M_IX86))
  _mm_pause();
#elif defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__) && !defined(_MSC_VER)
  asm volatile("yield");
#endif
}

}  // namespace

// The object is complete once the constructor without arguments is done: if a thread cannot be started,
// the destructor ends those that were.
ThreadPool::ThreadPool(int n_threads) : ThreadPool() {
  if (n_threads < 1) throw std::invalid_argument("threads must be at least 1, got " + std::to_string(n_threads));
  try {
    for (int worker = 1; worker < n_threads; ++worker) threads_.emplace_back(&ThreadPool::work, this, worker);
  } catch (const std::system_error&) {
    throw std::runtime_error("only " + std::to_string(size()) + " threads of " + std::to_string(n_threads) +
                             " could be started; ask for fewer");
  }
}

ThreadPool::~ThreadPool() {
  closing_.store(true);
  loops_begun_.fetch_add(1);
  loops_begun_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::run(int64_t n_items, int64_t grain, Call call, const void* body) {
  const std::scoped_lock lock(one_loop_at_a_time_);
  // At most 2^31 ranges, far below kClosed.
  grain = std::max(grain, n_items / (int64_t{1} << 31) + 1);
  const uint64_t loop = (ticket_.load() >> 32) + 1;
  // Closed while the fields change: a worker that still holds the old ticket cannot claim with it.
  ticket_.store(loop << 32 | kClosed);
  n_items_.store(n_items, std::memory_order_release);
  grain_.store(grain, std::memory_order_release);
  call_.store(call, std::memory_order_release);
  body_.store(body, std::memory_order_release);
  ranges_done_.store(0, std::memory_order_relaxed);
  ticket_.store((loop + 1) << 32, std::memory_order_release);
  loops_begun_.fetch_add(1);
  loops_begun_.notify_all();
  while (run_one_range(0)) {
  }
  wait_until_done(static_cast<uint32_t>((n_items + grain - 1) / grain));
}

// Claims and runs the next range of the loop under way; false if none is left.
//
// A successful exchange proves that the fields read before it belong to the same loop: they change
// only after the ticket was closed, and are read after the ticket.
bool ThreadPool::run_one_range(int worker) {
  uint64_t ticket = ticket_.load(std::memory_order_acquire);
  while (true) {
    const int64_t n_items = n_items_.load(std::memory_order_acquire);
    const int64_t grain = grain_.load(std::memory_order_acquire);
    const Call call = call_.load(std::memory_order_acquire);
    const void* body = body_.load(std::memory_order_acquire);
    const uint64_t range = ticket & 0xFFFFFFFF;
    const int64_t begin = static_cast<int64_t>(range) * grain;
    if (range == kClosed || begin >= n_items) return false;
    if (!ticket_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
    call(body, begin, std::min(begin + grain, n_items), worker);
    ranges_done_.fetch_add(1, std::memory_order_acq_rel);
    ranges_done_.notify_one();
    return true;
  }
}

void ThreadPool::work(int worker) {
  uint32_t seen = 0;
  while (true) {
    seen = wait_for_loop_after(seen);
    if (closing_.load()) return;
    while (run_one_range(worker)) {
    }
  }
}

uint32_t ThreadPool::wait_for_loop_after(uint32_t seen) {
  for (int spin = 0; spin < kSpins; ++spin) {
    const uint32_t now = loops_begun_.load(std::memory_order_acquire);
    if (now != seen) return now;
    relax();
  }
  loops_begun_.wait(seen, std::memory_order_acquire);
  return loops_begun_.load(std::memory_order_acquire);
}

void ThreadPool::wait_until_done(uint32_t n_ranges) {
  for (int spin = 0; spin < kSpins; ++spin) {
    if (ranges_done_.load(std::memory_order_acquire) == n_ranges) return;
    relax();
  }
  uint32_t done;
  while ((done = ranges_done_.load(std::memory_order_acquire)) != n_ranges) {
    ranges_done_.wait(done, std::memory_order_acquire);
  }
}

}  // namespace tropilla
