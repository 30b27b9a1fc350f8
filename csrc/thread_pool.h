// Threads that share out the items of one loop at a time.
//
// Between the loops of a forward pass, a few microseconds apart, workers spin; after that they sleep,
// so that an idle engine uses no processor time. A loop never waits for a worker that has not begun
// an item: on a machine whose cores are taken by others, the caller does the work itself.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace tropilla {

class ThreadPool {
 public:
  // n_threads counts the caller: 1 starts no thread. Throws std::invalid_argument below 1, and
  // std::runtime_error if the system starts fewer.
  explicit ThreadPool(int n_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(threads_.size()) + 1; }

  // Calls body(begin, end, worker) until every item in [0, n_items) has been in one range of at most
  // `grain` items, and returns when all are done. worker is in [0, size()), and no two calls that run
  // at once have the same. A loop of one range runs on the caller, without waking anyone. The body
  // must not throw, nor use the pool.
  template <class Body>
  void parallel_for(int64_t n_items, int64_t grain, const Body& body) {
    if (n_items <= 0) return;
    if (n_items <= grain || threads_.empty()) return body(int64_t{0}, n_items, 0);
    run(n_items, grain, &call<Body>, &body);
  }

 private:
  ThreadPool() = default;

  using Call = void (*)(const void* body, int64_t begin, int64_t end, int worker);

  template <class Body>
  static void call(const void* body, int64_t begin, int64_t end, int worker) {
    (*static_cast<const Body*>(body))(begin, end, worker);
  }

  void run(int64_t n_items, int64_t grain, Call call, const void* body);
  bool run_one_range(int worker);
  void work(int worker);
  uint32_t wait_for_loop_after(uint32_t seen);
  void wait_until_done(uint32_t n_ranges);

  std::mutex one_loop_at_a_time_;
  // The loop under way. Atomic, because a worker that comes late may read them while the next loop is
  // being written; its claim then fails (see run_one_range).
  std::atomic<int64_t> n_items_{0}, grain_{1};
  std::atomic<Call> call_{nullptr};
  std::atomic<const void*> body_{nullptr};
  // (loop number << 32) | next range: one word, so that a claim is of this loop or fails.
  alignas(64) std::atomic<uint64_t> ticket_{0};
  alignas(64) std::atomic<uint32_t> ranges_done_{0};
  // Changes with each loop and at the end; workers sleep on it.
  alignas(64) std::atomic<uint32_t> loops_begun_{0};
  std::atomic<bool> closing_{false};
  std::vector<std::thread> threads_;
};

}  // namespace tropilla
