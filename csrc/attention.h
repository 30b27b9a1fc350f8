// Causal grouped-query attention over the paged cache.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "batch.h"
#include "kernels/kernels.h"
#include "kv_cache.h"
#include "pages.h"
#include "thread_pool.h"

namespace tropilla {

struct AttentionShape {
  int64_t n_heads, n_kv_heads, head_dim;
  int64_t sliding_window;  // positions that a token sees, itself included; 0 = all
};

// Splits each sequence's queries into tasks and runs them on all threads.
//
// Keys are visited in spans of fixed positions, each summed on its own and then merged in order. So
// the result for a token depends on its own position and keys alone: not on the batch around it, not
// on how its prompt was cut into chunks, and not on whether the spans of a long context ran on one
// thread or on several.
class Attention {
 public:
  Attention(const AttentionShape& shape, int64_t max_tokens, const Kernels& kernels, ThreadPool& pool);

  // Query row of a token: its heads that share a key head lie together, tokens behind one another.
  // (K, T, H / K, Dh), to be written before run(), scaled by 1 / sqrt(Dh).
  float* queries(int64_t kv_head, int64_t token) const {
    return queries_.data() + (kv_head * max_tokens_ + token) * group_ * shape_.head_dim;
  }
  // Cuts a batch into tasks; they hold for all layers of the step. The batch must outlive them.
  void plan(const Batch& batch);
  // out: (T, H * Dh).
  void run(const KVCache& cache, int64_t layer, float* out);
  int64_t size_bytes() const;

 private:
  // Flash-attention state of some query rows: see AttendBlocks.
  struct Sums {
    float *acc, *row_max, *row_sum;
  };
  // Query rows of neighbouring tokens of one sequence, and the spans of keys to visit.
  struct Task {
    const SequenceSpan* sequence;
    int64_t first_token, n_tokens;  // within the sequence's part of the batch
    int64_t first_span, last_span;
    int64_t split;                  // of splits_; none: -1
  };
  // A task whose spans run apart and leave their sums in parts [first_part, first_part + spans).
  struct Split {
    Task whole;
    int64_t first_part;
  };

  void plan_sequence(const SequenceSpan& sequence);
  void split_few_tasks();
  void run_task(const Task& task, int64_t kv_head, const KVCache& cache, int64_t layer, int worker, float* out);
  void run_part(const Task& task, int64_t kv_head, const KVCache& cache, int64_t layer, int worker, float* out);
  void merge(const Split& split, int64_t kv_head, KVType type, int worker, float* out);
  void attend_span(const Task& task, int64_t kv_head, const KVCache& cache, int64_t layer, int64_t span,
                   int worker, const Sums& sums);
  void add_span(const Task& task, const Sums& span, const Sums& total) const;
  void clear(const Task& task, const Sums& sums) const;
  void write(const Task& task, int64_t kv_head, KVType type, const Sums& total, float* out) const;
  int64_t first_visible(int64_t position) const;
  int64_t n_rows(const Task& task) const { return task.n_tokens * group_; }
  int64_t n_spans(const Task& task) const { return task.last_span - task.first_span + 1; }
  int64_t sums_floats(int64_t n_rows) const { return n_rows * (width_ + 2); }
  Sums sums_at(float* start, int64_t n_rows) const;
  Sums worker_sums(int worker, int which) const;
  Sums part_sums(int64_t part, int64_t kv_head);
  std::atomic<int64_t>& unfinished(int64_t split, int64_t kv_head);

  AttentionShape shape_;
  int64_t group_, width_, max_tokens_, tokens_per_task_, max_rows_;
  const Kernels& kernels_;
  ThreadPool& pool_;
  PageArray<float> queries_;
  PageArray<float> scratch_;    // (worker, attend_scratch_floats)
  PageArray<float> sums_;       // (worker, 2, sums_floats of max_rows)
  PageArray<int32_t> visible_;  // (worker, 2, max_rows): first and last of AttendBlocks
  std::vector<float> parts_;    // (part, K, sums_floats of part_rows)
  std::vector<Task> tasks_;
  std::vector<Split> splits_;
  int64_t part_rows_ = 0;       // of the longest split task: a long context has many parts, each of few rows
  // (split, K): spans still to be summed in this run; whoever does the last one merges.
  std::unique_ptr<std::atomic<int64_t>[]> unfinished_;
  int64_t n_unfinished_ = 0;
};

}  // namespace tropilla
