// Checks the thread pool; test_thread_pool.py builds it with and without ThreadSanitizer.
#include "thread_pool.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <thread>
#include <vector>

using tropilla::ThreadPool;

namespace {

void expect(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "failed: %s\n", what);
  std::exit(1);
}

// Runs a loop and returns how often each item came; plain ints, so that a race shows under TSan.
std::vector<int> visits(ThreadPool& pool, int64_t n_items, int64_t grain) {
  std::vector<int> counts(static_cast<size_t>(n_items));
  pool.parallel_for(n_items, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) ++counts[static_cast<size_t>(i)];
  });
  return counts;
}

void every_item_comes_once() {
  for (const int n_threads : {1, 2, 3, 8}) {
    ThreadPool pool(n_threads);
    for (const int64_t n_items : {0, 1, 2, 15, 16, 17, 1000}) {
      for (const int64_t grain : {1, 16, 5000}) {
        for (const int count : visits(pool, n_items, grain)) expect(count == 1, "an item came not once");
      }
    }
  }
}

void ranges_are_at_most_the_grain() {
  ThreadPool pool(2);
  std::atomic<bool> fits{true};
  pool.parallel_for(100, 7, [&](int64_t begin, int64_t end, int) {
    if (end - begin > 7 || begin >= end) fits = false;
  });
  expect(fits, "a range was larger than the grain");
}

void workers_are_never_shared() {
  ThreadPool pool(4);
  std::vector<int> busy(4);  // plain: two threads with one worker number would race on it
  for (int loop = 0; loop < 200; ++loop) {
    pool.parallel_for(64, 1, [&](int64_t, int64_t, int worker) {
      expect(worker >= 0 && worker < 4, "a worker number was out of range");
      ++busy[static_cast<size_t>(worker)];
    });
  }
  int total = 0;
  for (const int n : busy) total += n;
  expect(total == 200 * 64, "ranges were lost");
}

// A worker that wakes late for one loop must not take a range of the next with the wrong body.
void loops_do_not_mix() {
  ThreadPool pool(3);
  for (int loop = 0; loop < 20000; ++loop) {
    const int64_t n_items = 2 + loop % 5;
    int64_t seen[8] = {};
    pool.parallel_for(n_items, 1, [&](int64_t begin, int64_t, int) { seen[begin] = loop + 1; });
    for (int64_t i = 0; i < 8; ++i) expect(seen[i] == (i < n_items ? loop + 1 : 0), "loops mixed");
  }
}

void two_callers_take_turns() {
  ThreadPool pool(2);
  int64_t shared = 0;  // plain: only one loop runs at a time, and only its caller adds
  const auto call = [&] {
    for (int i = 0; i < 500; ++i) {
      pool.parallel_for(2, 1, [&](int64_t begin, int64_t, int) {
        if (begin == 0) ++shared;
      });
    }
  };
  std::thread other(call);
  call();
  other.join();
  expect(shared == 1000, "two callers disturbed each other");
}

// Runs ranges until a worker has one, and returns whether that came to pass within the time.
bool shares(ThreadPool& pool, std::chrono::milliseconds within) {
  const auto end = std::chrono::steady_clock::now() + within;
  std::atomic<bool> shared{false};
  while (!shared && std::chrono::steady_clock::now() < end) {
    pool.parallel_for(2, 1, [&](int64_t, int64_t, int worker) {
      if (worker != 0) shared = true;
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    });
  }
  return shared;
}

// As when the system gives a worker's core to another program in the middle of a range.
void hold_up_a_worker(ThreadPool& pool, std::chrono::milliseconds time) {
  std::atomic<bool> begun{false};
  pool.parallel_for(2, 1, [&](int64_t, int64_t, int worker) {
    if (worker != 0) {
      begun = true;
      std::this_thread::sleep_for(time);
    }
    while (!begun) std::this_thread::yield();
  });
}

void a_worker_that_was_held_up_is_left_alone_for_a_while() {
  using std::chrono::milliseconds;
  ThreadPool pool(2);
  expect(shares(pool, milliseconds(5000)), "no loop was ever shared");
  hold_up_a_worker(pool, milliseconds(100));
  expect(!shares(pool, milliseconds(200)), "the caller asked at once for the worker that held it up");
  expect(shares(pool, milliseconds(20000)), "the caller never shared again");
}

// As when the whole program was stopped and goes on much later.
void no_wait_keeps_workers_away_for_long() {
  using std::chrono::milliseconds;
  ThreadPool pool(2);
  expect(shares(pool, milliseconds(5000)), "no loop was ever shared");
  hold_up_a_worker(pool, milliseconds(1000));
  expect(shares(pool, milliseconds(8000)), "a long wait kept the caller alone for longer");
}

void an_idle_pool_uses_no_processor() {
  ThreadPool pool(4);
  visits(pool, 100, 1);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // past the spinning
  const std::clock_t before = std::clock();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  const double used_s = static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC;
  expect(used_s < 0.05, "an idle pool used the processor");
  for (const int count : visits(pool, 100, 1)) expect(count == 1, "a sleeping pool lost an item");
}

}  // namespace

int main() {
  every_item_comes_once();
  ranges_are_at_most_the_grain();
  workers_are_never_shared();
  loops_do_not_mix();
  two_callers_take_turns();
  a_worker_that_was_held_up_is_left_alone_for_a_while();
  no_wait_keeps_workers_away_for_long();
  an_idle_pool_uses_no_processor();
}
