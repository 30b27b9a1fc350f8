#include "attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/hadamard.h"

namespace tropilla {
namespace {

// Rows of one kernel call: enough to make unpacking a block of keys cheap, few enough that their sums
// stay in L2 beside it.
constexpr int64_t kRowsPerTask = 64;
// Keys summed on their own before they are merged. Fixed, because it decides how results round.
constexpr int64_t kBlocksPerSpan = kMaxAttendBlocks;
constexpr int64_t kSpanTokens = kBlocksPerSpan * kKVBlockTokens;
// Below this many tasks per thread, long contexts are split over their spans too.
constexpr int64_t kFewTasksPerThread = 4;

}  // namespace

Attention::Attention(const AttentionShape& shape, int64_t max_tokens, const Kernels& kernels, ThreadPool& pool)
    : shape_(shape),
      group_(shape.n_heads / shape.n_kv_heads),
      width_(kv_width(shape.head_dim)),
      max_tokens_(max_tokens),
      tokens_per_task_(std::max<int64_t>(1, kRowsPerTask / group_)),
      max_rows_(tokens_per_task_ * group_),
      kernels_(kernels),
      pool_(pool),
      queries_(size_product({max_tokens, shape.n_heads, shape.head_dim})),
      scratch_(pool.size() * attend_scratch_floats(shape.head_dim)),
      sums_(pool.size() * 2 * sums_floats(max_rows_)),
      visible_(pool.size() * 2 * max_rows_) {}

void Attention::plan(const Batch& batch) {
  tasks_.clear();
  splits_.clear();
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
  part_rows_ = 0;
  for (const Task& task : tasks_) {
    if (task.first_span == task.last_span) {
      split.push_back(task);
      continue;
    }
    const auto index = static_cast<int64_t>(splits_.size());
    splits_.push_back({task, n_parts});
    for (int64_t span = task.first_span; span <= task.last_span; ++span) {
      split.push_back({task.sequence, task.first_token, task.n_tokens, span, span, index});
    }
    n_parts += n_spans(task);
    part_rows_ = std::max(part_rows_, n_rows(task));
  }
  tasks_ = std::move(split);
  parts_.resize(static_cast<size_t>(n_parts * shape_.n_kv_heads * sums_floats(part_rows_)));
  const int64_t n_splits = static_cast<int64_t>(splits_.size());
  if (n_splits * shape_.n_kv_heads > n_unfinished_) {
    unfinished_ = std::make_unique<std::atomic<int64_t>[]>(static_cast<size_t>(n_splits * shape_.n_kv_heads));
    n_unfinished_ = n_splits * shape_.n_kv_heads;  // last: there may be no memory for them
  }
  for (int64_t i = 0; i < n_splits; ++i) {
    for (int64_t head = 0; head < shape_.n_kv_heads; ++head) {
      unfinished(i, head).store(n_spans(splits_[static_cast<size_t>(i)].whole), std::memory_order_relaxed);
    }
  }
}

void Attention::run(const KVCache& cache, int64_t layer, float* out) {
  const int64_t K = shape_.n_kv_heads;
  pool_.parallel_for(static_cast<int64_t>(tasks_.size()) * K, 1, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t i = begin; i < end; ++i) {
      const Task& task = tasks_[static_cast<size_t>(i / K)];
      if (task.split < 0) {
        run_task(task, i % K, cache, layer, worker, out);
      } else {
        run_part(task, i % K, cache, layer, worker, out);
      }
    }
  });
}

void Attention::run_task(const Task& task, int64_t kv_head, const KVCache& cache, int64_t layer, int worker,
                         float* out) {
  const Sums total = worker_sums(worker, 0), part = worker_sums(worker, 1);
  clear(task, total);
  for (int64_t span = task.first_span; span <= task.last_span; ++span) {
    attend_span(task, kv_head, cache, layer, span, worker, part);
    add_span(task, part, total);
  }
  write(task, kv_head, cache.type(), total, out);
}

void Attention::run_part(const Task& task, int64_t kv_head, const KVCache& cache, int64_t layer, int worker,
                         float* out) {
  const Split& split = splits_[static_cast<size_t>(task.split)];
  const int64_t part = split.first_part + task.first_span - split.whole.first_span;
  attend_span(task, kv_head, cache, layer, task.first_span, worker, part_sums(part, kv_head));
  std::atomic<int64_t>& left = unfinished(task.split, kv_head);
  if (left.fetch_sub(1, std::memory_order_acq_rel) > 1) return;
  left.store(n_spans(split.whole), std::memory_order_relaxed);  // for the next layer
  merge(split, kv_head, cache.type(), worker, out);
}

void Attention::merge(const Split& split, int64_t kv_head, KVType type, int worker, float* out) {
  const Sums total = worker_sums(worker, 0);
  clear(split.whole, total);
  for (int64_t i = 0; i < n_spans(split.whole); ++i) {
    add_span(split.whole, part_sums(split.first_part + i, kv_head), total);
  }
  write(split.whole, kv_head, type, total, out);
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
  const uint8_t *keys[kBlocksPerSpan], *values[kBlocksPerSpan];
  for (int64_t block = first_block; block <= last_block; ++block) {
    const int64_t page = sequence.blocks[static_cast<size_t>(block)];
    keys[block % kBlocksPerSpan] = cache.keys(page, layer, kv_head);
    values[block % kBlocksPerSpan] = cache.values(page, layer, kv_head);
  }
  int32_t* first = visible_.data() + worker * 2 * max_rows_;
  int32_t* last = first + max_rows_;
  const int64_t start = span * kSpanTokens;
  for (int64_t row = 0; row < n_rows(task); ++row) {
    const int64_t p = position + row / group_;
    first[row] = static_cast<int32_t>(std::clamp<int64_t>(first_visible(p) - start, 0, kSpanTokens));
    last[row] = static_cast<int32_t>(std::clamp<int64_t>(p + 1 - start, 0, kSpanTokens));
  }
  kernels_.attend[static_cast<int>(cache.type())](
      {n_rows(task), shape_.head_dim, queries(kv_head, sequence.first_token + task.first_token), keys, values, first,
       last, scratch_.data() + worker * attend_scratch_floats(shape_.head_dim), sums.acc, sums.row_max, sums.row_sum});
}

// total += span, with both brought to the larger of their maxima; rows that saw no key add nothing.
void Attention::add_span(const Task& task, const Sums& span, const Sums& total) const {
  for (int64_t row = 0; row < n_rows(task); ++row) {
    if (span.row_sum[row] == 0) continue;
    const float row_max = std::max(total.row_max[row], span.row_max[row]);
    const float old_share = std::exp(total.row_max[row] - row_max);
    const float new_share = std::exp(span.row_max[row] - row_max);
    total.row_max[row] = row_max;
    total.row_sum[row] = total.row_sum[row] * old_share + span.row_sum[row] * new_share;
    float* to = total.acc + row * width_;
    const float* from = span.acc + row * width_;
    for (int64_t i = 0; i < width_; ++i) to[i] = to[i] * old_share + from[i] * new_share;
  }
}

void Attention::clear(const Task& task, const Sums& sums) const {
  std::fill_n(sums.acc, n_rows(task) * width_, 0.0f);
  std::fill_n(sums.row_max, n_rows(task), -std::numeric_limits<float>::infinity());
  std::fill_n(sums.row_sum, n_rows(task), 0.0f);
}

void Attention::write(const Task& task, int64_t kv_head, KVType type, const Sums& total, float* out) const {
  const int64_t Dh = shape_.head_dim;
  for (int64_t row = 0; row < n_rows(task); ++row) {
    const int64_t token = task.sequence->first_token + task.first_token + row / group_;
    const int64_t head = kv_head * group_ + row % group_;
    float* to = out + (token * shape_.n_heads + head) * Dh;
    const float share = 1.0f / total.row_sum[row];
    for (int64_t i = 0; i < Dh; ++i) to[i] = total.acc[row * width_ + i] * share;
    if (is_turned(type)) hadamard(to, Dh);
  }
}

int64_t Attention::first_visible(int64_t position) const {
  return shape_.sliding_window ? std::max<int64_t>(0, position - shape_.sliding_window + 1) : 0;
}

Attention::Sums Attention::sums_at(float* start, int64_t n_rows) const {
  float* row_max = start + n_rows * width_;
  return {start, row_max, row_max + n_rows};
}

Attention::Sums Attention::worker_sums(int worker, int which) const {
  return sums_at(sums_.data() + (worker * 2 + which) * sums_floats(max_rows_), max_rows_);
}

Attention::Sums Attention::part_sums(int64_t part, int64_t kv_head) {
  return sums_at(parts_.data() + (part * shape_.n_kv_heads + kv_head) * sums_floats(part_rows_), part_rows_);
}

std::atomic<int64_t>& Attention::unfinished(int64_t split, int64_t kv_head) {
  return unfinished_[static_cast<size_t>(split * shape_.n_kv_heads + kv_head)];
}

int64_t Attention::size_bytes() const {
  return queries_.size_bytes() + scratch_.size_bytes() + sums_.size_bytes() + visible_.size_bytes();
}

}  // namespace tropilla
