// Threads that share out the items of one loop at a time.
//
// Between the loops of a forward pass, and for the moment between one step and the next, workers spin;
// after that they sleep, so that an idle engine uses no processor time. A loop never waits for a worker
// that has not begun a range: on a machine whose cores are taken by others, the caller does the work
// itself. It does wait for one that was interrupted within a range; after such a wait the caller works
// alone for some time, so that a shared machine does not lose a time slice in every few loops.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <thread>
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

  int size() const { return static_cast<int>(shares_.size()); }

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
  using Clock = std::chrono::steady_clock;
  using Call = void (*)(const void* body, int64_t begin, int64_t end, int worker);

  // A loop as one thread sees it; number 0: none.
  struct Loop {
    uint64_t number = 0;
    int64_t n_items = 0, grain = 1;
    Call call = nullptr;
    const void* body = nullptr;

    int64_t n_ranges() const { return (n_items + grain - 1) / grain; }
    void run(int64_t range, int worker) const {
      call(body, range * grain, std::min((range + 1) * grain, n_items), worker);
    }
  };
  // The loop under way, on one cache line, which is all that a spinning worker fetches. Atomic, because
  // a worker that comes late may read it while the next loop is being written.
  struct alignas(64) SharedLoop {
    std::atomic<uint32_t> begun{0};   // changes with each loop and at the end; workers sleep on it
    std::atomic<uint64_t> number{0};  // 0 while the others change
    std::atomic<int64_t> n_items{0}, grain{1};
    std::atomic<Call> call{nullptr};
    std::atomic<const void*> body{nullptr};
  };
  // How many ranges of a thread's share were taken, by itself or by others: (loop number << kRangeBits)
  // | ranges, so that a claim is of this loop or fails. Each thread starts with its own, whose line is
  // in its cache already.
  struct alignas(64) Share {
    std::atomic<uint64_t> taken{0};
  };

  template <class Body>
  static void call(const void* body, int64_t begin, int64_t end, int worker) {
    (*static_cast<const Body*>(body))(begin, end, worker);
  }

  void start(int n_threads);
  void stop();
  void run(int64_t n_items, int64_t grain, Call call, const void* body);
  void run_alone(const Loop& loop);
  void publish(const Loop& loop);
  Loop loop_under_way() const;
  uint32_t run_ranges(const Loop& loop, int worker);
  int64_t claim_range(const Loop& loop, int owner);
  void work(int worker);
  uint32_t wait_for_loop_after(uint32_t seen) const;
  void wait_until_done(uint32_t n_ranges, Clock::time_point loop_start);
  bool works_alone() const { return alone_until_ != Clock::time_point{} && Clock::now() < alone_until_; }

  std::mutex one_loop_at_a_time_;
  uint64_t last_number_ = 0;
  Clock::time_point alone_until_{};
  SharedLoop loop_;
  alignas(64) std::atomic<uint32_t> ranges_done_{0};  // by the workers, in this loop
  std::atomic<bool> closing_{false};
  std::vector<Share> shares_;
  std::vector<std::thread> threads_;
};

}  // namespace tropilla
