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

using namespace std::chrono_literals;

// Longer than what a caller does between two steps (drawing a token, reporting it), so that the next
// step finds its workers awake; far shorter than what anyone would notice as load.
constexpr auto kSpinTime = 300us;
constexpr int kSpinsPerLook = 32;  // at the clock
// A wait beyond this, and beyond the caller's own part of the loop, is no uneven split: the system has
// given the worker's core to someone else.
constexpr auto kHeldUp = 1ms;
// The caller then works alone for so many times as long as it waited, but no longer than some time slices
// are worth: a program that was stopped and goes on an hour later waited an hour.
constexpr int kAloneFactor = 16;
constexpr std::chrono::steady_clock::duration kLongestAlone = 2s;

constexpr int kRangeBits = 20;  // of a claim; the rest counts loops, for years
constexpr int64_t kMostRanges = (int64_t{1} << kRangeBits) - 1;

void relax() {
#if defined(_MSC_VER) && (defined(_M_X64) || defined(_M_IX86))
  _mm_pause();
#elif defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__) && !defined(_MSC_VER)
  asm volatile("yield");
#endif
}

// Waits for a word to change from `old`; false if it does not do so soon.
bool spin_while(const std::atomic<uint32_t>& word, uint32_t old) {
  const auto give_up = std::chrono::steady_clock::now() + kSpinTime;
  do {
    for (int spin = 0; spin < kSpinsPerLook; ++spin) {
      if (word.load(std::memory_order_acquire) != old) return true;
      relax();
    }
  } while (std::chrono::steady_clock::now() < give_up);
  return false;
}

}  // namespace

ThreadPool::ThreadPool(int n_threads) {
  if (n_threads < 1) throw std::invalid_argument("threads must be at least 1, got " + std::to_string(n_threads));
  shares_ = std::vector<Share>(static_cast<size_t>(n_threads));
  try {
    start(n_threads);
  } catch (const std::system_error&) {
    stop();
    throw std::runtime_error("only " + std::to_string(threads_.size() + 1) + " threads of " +
                             std::to_string(n_threads) + " could be started; ask for fewer");
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::start(int n_threads) {
  for (int worker = 1; worker < n_threads; ++worker) threads_.emplace_back(&ThreadPool::work, this, worker);
}

void ThreadPool::stop() {
  closing_.store(true);
  loop_.begun.fetch_add(1);
  loop_.begun.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::run(int64_t n_items, int64_t grain, Call call, const void* body) {
  const std::scoped_lock lock(one_loop_at_a_time_);
  const Loop loop{++last_number_, n_items, std::max(grain, n_items / kMostRanges + 1), call, body};
  if (works_alone()) return run_alone(loop);
  const Clock::time_point start = Clock::now();
  publish(loop);
  const uint32_t n_run = run_ranges(loop, 0);
  wait_until_done(static_cast<uint32_t>(loop.n_ranges()) - n_run, start);
}

void ThreadPool::run_alone(const Loop& loop) {
  for (int64_t range = 0; range < loop.n_ranges(); ++range) loop.run(range, 0);
}

// Every store releases: who sees a field of this loop sees that the one before is over.
void ThreadPool::publish(const Loop& loop) {
  loop_.number.store(0, std::memory_order_relaxed);
  loop_.n_items.store(loop.n_items, std::memory_order_release);
  loop_.grain.store(loop.grain, std::memory_order_release);
  loop_.call.store(loop.call, std::memory_order_release);
  loop_.body.store(loop.body, std::memory_order_release);
  ranges_done_.store(0, std::memory_order_relaxed);
  loop_.number.store(loop.number, std::memory_order_release);
  loop_.begun.fetch_add(1);
  loop_.begun.notify_all();
}

// The fields belong together if the number was the same before and after they were read.
ThreadPool::Loop ThreadPool::loop_under_way() const {
  Loop loop;
  loop.number = loop_.number.load(std::memory_order_acquire);
  loop.n_items = loop_.n_items.load(std::memory_order_acquire);
  loop.grain = loop_.grain.load(std::memory_order_acquire);
  loop.call = loop_.call.load(std::memory_order_acquire);
  loop.body = loop_.body.load(std::memory_order_acquire);
  return loop_.number.load(std::memory_order_relaxed) == loop.number ? loop : Loop{};
}

// Runs ranges of the thread's own share, then of the others', until all are taken; returns how many.
uint32_t ThreadPool::run_ranges(const Loop& loop, int worker) {
  uint32_t n_run = 0;
  for (int i = 0; i < size(); ++i) {
    const int owner = (worker + i) % size();
    for (int64_t range; (range = claim_range(loop, owner)) >= 0; ++n_run) {
      loop.run(range, worker);
    }
  }
  return n_run;
}

// Takes the next range of a thread's share; -1 if none is left, or the loop is over.
//
// A loop ends only when all its ranges were taken, so a claim for a past loop finds its share used up,
// or a later loop's number.
int64_t ThreadPool::claim_range(const Loop& loop, int owner) {
  const int64_t first = owner * loop.n_ranges() / size();
  const int64_t share = (owner + 1) * loop.n_ranges() / size() - first;
  std::atomic<uint64_t>& word = shares_[static_cast<size_t>(owner)].taken;
  uint64_t seen = word.load(std::memory_order_acquire);
  while (true) {
    const uint64_t number = seen >> kRangeBits;
    const int64_t taken = number == loop.number ? static_cast<int64_t>(seen & kMostRanges) : 0;
    if (number > loop.number || taken >= share) return -1;
    const uint64_t claimed = loop.number << kRangeBits | static_cast<uint64_t>(taken + 1);
    if (word.compare_exchange_weak(seen, claimed, std::memory_order_acq_rel, std::memory_order_acquire)) {
      return first + taken;
    }
  }
}

void ThreadPool::work(int worker) {
  uint32_t seen = 0;
  while (true) {
    seen = wait_for_loop_after(seen);
    if (closing_.load()) return;
    const Loop loop = loop_under_way();
    const uint32_t n_run = loop.number ? run_ranges(loop, worker) : 0;
    if (n_run == 0) continue;
    ranges_done_.fetch_add(n_run, std::memory_order_acq_rel);
    ranges_done_.notify_one();
  }
}

uint32_t ThreadPool::wait_for_loop_after(uint32_t seen) const {
  if (!spin_while(loop_.begun, seen)) loop_.begun.wait(seen, std::memory_order_acquire);
  return loop_.begun.load(std::memory_order_acquire);
}

// n_ranges: those that the caller did not run itself.
void ThreadPool::wait_until_done(uint32_t n_ranges, Clock::time_point loop_start) {
  uint32_t done = ranges_done_.load(std::memory_order_acquire);
  if (done == n_ranges) return;
  const Clock::time_point wait_start = Clock::now();
  for (; done != n_ranges; done = ranges_done_.load(std::memory_order_acquire)) {
    if (!spin_while(ranges_done_, done)) ranges_done_.wait(done, std::memory_order_acquire);
  }
  const Clock::time_point now = Clock::now();
  const auto waited = now - wait_start;
  if (waited > kHeldUp && waited > wait_start - loop_start) {
    alone_until_ = now + std::min(kAloneFactor * waited, kLongestAlone);
  }
}

}  // namespace tropilla
