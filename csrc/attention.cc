#include "attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tropilla {
namespace {

// Rows of one kernel call: enough to reuse a block of keys from L1, few enough that the sums of the
// longest heads stay in L2 beside it.
constexpr int64_t kRowsPerTask = 64;
// Keys summed on their own before they are merged. Fixed, because it decides how results round.
constexpr int64_t kBlocksPerSpan = 16;
constexpr int64_t kSpanTokens = kBlocksPerSpan * kKVBlockTokens;
// Below this many tasks per thread, long contexts are split over their spans too.
constexpr int64_t kFewTasksPerThread = 4;

}  // namespace

Attention::Attention(const AttentionShape& shape, int64_t max_tokens, const Kernels& kernels, ThreadPool& pool)
    : shape_(shape),
      group_(shape.n_heads / shape.n_kv_heads),
      max_tokens_(max_tokens),
      tokens_per_task_(std::max<int64_t>(1, kRowsPerTask / group_)),
      max_rows_(tokens_per_task_ * group_),
      kernels_(kernels),
      pool_(pool),
      queries_(size_product({max_tokens, shape.n_heads, shape.head_dim})),
      sums_(pool.size() * 2 * sums_floats()),
      visible_(pool.size() * 2 * max_rows_) {}

void Attention::plan(const Batch& batch) {
  tasks_.clear();
  merges_.clear();
  for (const SequenceSpan& sequence : batch.sequences) plan_sequence(sequence);
  const int64_t n_items = static_cast<int64_t>(tasks_.size()) * shape_.n_kv_heads;
  if (n_items < kFewTasksPerThread * pool_.size()) split_few_tasks();
}

// The last tokens see the most keys, so they come first: the short tasks level the threads out.
void Attention::plan_sequence(const SequenceSpan& sequence) {
  const int64_t n_chunks = (sequence.n_tokens + tokens_per_task_ - 1) / tokens_per_task_;
  for (int64_t chunk = n_chunks - 1; chunk >= 0; --chunk) {
    const int64_t first = chunk * tokens_per_task_;
    const int64_t n_tokens = std::min(tokens_per_task_, sequence.n_tokens - first);
    const int64_t position = sequence.position + first;
    tasks_.push_back({&sequence, first, n_tokens, first_visible(position) / kSpanTokens,
                      (position + n_tokens - 1) / kSpanTokens, -1});
  }
}

void Attention::split_few_tasks() {
  std::vector<Task> split;
  int64_t n_parts = 0;
  for (const Task& task : tasks_) {
    if (task.first_span == task.last_span) {
      split.push_back(task);
      continue;
    }
    merges_.push_back({task, n_parts});
    for (int64_t span = task.first_span; span <= task.last_span; ++span) {
      split.push_back({task.sequence, task.first_token, task.n_tokens, span, span, n_parts++});
    }
  }
  tasks_ = std::move(split);
  parts_.resize(static_cast<size_t>(n_parts * shape_.n_kv_heads * sums_floats()));
}

void Attention::run(const KVCache& cache, int64_t layer, float* out) {
  const int64_t K = shape_.n_kv_heads;
  pool_.parallel_for(static_cast<int64_t>(tasks_.size()) * K, 1, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t i = begin; i < end; ++i) {
      run_task(tasks_[static_cast<size_t>(i / K)], i % K, cache, layer, worker, out);
    }
  });
  pool_.parallel_for(static_cast<int64_t>(merges_.size()) * K, 1, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t i = begin; i < end; ++i) run_merge(merges_[static_cast<size_t>(i / K)], i % K, worker, out);
  });
}

void Attention::run_task(const Task& task, int64_t kv_head, const KVCache& cache, int64_t layer, int worker,
                         float* out) {
  if (task.part >= 0) {
    attend_span(task, kv_head, cache, layer, task.first_span, worker, part_sums(task.part, kv_head));
    return;
  }
  const Sums total = worker_sums(worker, 0), part = worker_sums(worker, 1);
  clear(task, total);
  for (int64_t span = task.first_span; span <= task.last_span; ++span) {
    attend_span(task, kv_head, cache, layer, span, worker, part);
    add_span(task, part, total);
  }
  write(task, kv_head, total, out);
}

void Attention::run_merge(const Merge& merge, int64_t kv_head, int worker, float* out) {
  const Sums total = worker_sums(worker, 0);
  clear(merge.task, total);
  const int64_t n_spans = merge.task.last_span - merge.task.first_span + 1;
  for (int64_t i = 0; i < n_spans; ++i) add_span(merge.task, part_sums(merge.first_part + i, kv_head), total);
  write(merge.task, kv_head, total, out);
}

// Sums the visible keys of one span afresh.
void Attention::attend_span(const Task& task, int64_t kv_head, const KVCache& cache, int64_t layer, int64_t span,
                            int worker, const Sums& sums) {
  clear(task, sums);
  const SequenceSpan& sequence = *task.sequence;
  const int64_t position = sequence.position + task.first_token;
  const int64_t first_block = std::max(span * kBlocksPerSpan, first_visible(position) / kKVBlockTokens);
  const int64_t last_block =
      std::min((span + 1) * kBlocksPerSpan - 1, (position + task.n_tokens - 1) / kKVBlockTokens);
  const auto attend = kernels_.attend[static_cast<int>(cache.type())];
  int32_t* first = visible_.data() + worker * 2 * max_rows_;
  int32_t* last = first + max_rows_;
  for (int64_t block = first_block; block <= last_block; ++block) {
    const int64_t start = block * kKVBlockTokens;
    for (int64_t row = 0; row < n_rows(task); ++row) {
      const int64_t p = position + row / group_;
      first[row] = static_cast<int32_t>(std::clamp<int64_t>(first_visible(p) - start, 0, kKVBlockTokens));
      last[row] = static_cast<int32_t>(std::clamp<int64_t>(p + 1 - start, 0, kKVBlockTokens));
    }
    const int64_t page = sequence.blocks[static_cast<size_t>(block)];
    attend({n_rows(task), shape_.head_dim, queries(kv_head, sequence.first_token + task.first_token),
                     cache.keys(page, layer, kv_head), cache.values(page, layer, kv_head), first, last, sums.acc,
                     sums.row_max, sums.row_sum});
  }
}

// total += span, with both brought to the larger of their maxima; rows that saw no key add nothing.
void Attention::add_span(const Task& task, const Sums& span, const Sums& total) const {
  const int64_t Dh = shape_.head_dim;
  for (int64_t row = 0; row < n_rows(task); ++row) {
    if (span.row_sum[row] == 0) continue;
    const float row_max = std::max(total.row_max[row], span.row_max[row]);
    const float old_share = std::exp(total.row_max[row] - row_max);
    const float new_share = std::exp(span.row_max[row] - row_max);
    total.row_max[row] = row_max;
    total.row_sum[row] = total.row_sum[row] * old_share + span.row_sum[row] * new_share;
    float* to = total.acc + row * Dh;
    const float* from = span.acc + row * Dh;
    for (int64_t i = 0; i < Dh; ++i) to[i] = to[i] * old_share + from[i] * new_share;
  }
}

void Attention::clear(const Task& task, const Sums& sums) const {
  std::fill_n(sums.acc, n_rows(task) * shape_.head_dim, 0.0f);
  std::fill_n(sums.row_max, n_rows(task), -std::numeric_limits<float>::infinity());
  std::fill_n(sums.row_sum, n_rows(task), 0.0f);
}

void Attention::write(const Task& task, int64_t kv_head, const Sums& total, float* out) const {
  const int64_t Dh = shape_.head_dim;
  for (int64_t row = 0; row < n_rows(task); ++row) {
    const int64_t token = task.sequence->first_token + task.first_token + row / group_;
    const int64_t head = kv_head * group_ + row % group_;
    float* to = out + (token * shape_.n_heads + head) * Dh;
    const float share = 1.0f / total.row_sum[row];
    for (int64_t i = 0; i < Dh; ++i) to[i] = total.acc[row * Dh + i] * share;
  }
}

int64_t Attention::first_visible(int64_t position) const {
  return shape_.sliding_window ? std::max<int64_t>(0, position - shape_.sliding_window + 1) : 0;
}

Attention::Sums Attention::sums_at(float* start) const {
  float* row_max = start + max_rows_ * shape_.head_dim;
  return {start, row_max, row_max + max_rows_};
}

Attention::Sums Attention::worker_sums(int worker, int which) const {
  return sums_at(sums_.data() + (worker * 2 + which) * sums_floats());
}

Attention::Sums Attention::part_sums(int64_t part, int64_t kv_head) {
  return sums_at(parts_.data() + (part * shape_.n_kv_heads + kv_head) * sums_floats());
}

}  // namespace tropilla
