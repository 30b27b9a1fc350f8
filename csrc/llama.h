// The forward pass of LLaMA-family decoders on the CPU.
//
// Shape letters: T tokens in this step, D dim, H heads, K kv heads, Dh head_dim, F ffn_dim, V vocab.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "attention.h"
#include "batch.h"
#include "kernels/kernels.h"
#include "kv_cache.h"
#include "llama_weights.h"
#include "matmul.h"
#include "thread_pool.h"

namespace tropilla {

// What one step may hold at most; scratch memory is proportional to both.
struct StepLimits {
  int64_t max_tokens;
  int64_t max_logit_rows;
};

struct MemoryUse {
  int64_t weights_bytes, kv_bytes, scratch_bytes;
};

// Not thread-safe, but for cancel().
class Llama {
 public:
  // isa: a kernel table's name, or empty for the best one. Throws std::invalid_argument,
  // std::runtime_error (no such table) and std::bad_alloc.
  Llama(const LlamaShape& shape, StepLimits limits, int64_t n_kv_blocks, KVType kv_type, int n_threads,
        const std::string& isa);

  // See LlamaWeights.
  void load(const std::string& name, TensorType type, int64_t rows, int64_t cols,
            std::span<const uint8_t> stored);
  std::vector<std::string> missing_tensors() const { return weights_.missing(); }

  // Runs the batch through all layers, fills its part of the cache, and leaves the logits of the
  // tokens `logit_rows` (indices into the batch) in logits(). False if cancel() came meanwhile: then
  // nothing of the step counts, but running it again is safe. Throws std::invalid_argument.
  bool step(const Batch& batch, std::span<const int32_t> logit_rows);
  // (V) of the i-th row that the last step was asked for. Throws std::out_of_range.
  std::span<const float> logits(int64_t i) const;

  // log p(targets[i] | the sequence up to token rows[i]), for tokens of the last step.
  std::vector<float> logprobs(std::span<const int32_t> rows, std::span<const int32_t> targets);
  // Sum over tokens of the last step of their final, normed hidden state: (D).
  std::vector<float> sum_hidden(std::span<const int32_t> rows);

  // The keys and values of one KV block, to be copied out or in. Throws std::out_of_range.
  std::span<uint8_t> kv_block(int64_t block) const;

  // Makes the step under way on another thread, or else the next one, return soon.
  void cancel() { cancelled_.store(true, std::memory_order_relaxed); }

  const LlamaShape& shape() const { return shape_; }
  const char* isa() const { return kernels_.name; }
  ThreadPool& pool() { return pool_; }
  MemoryUse memory() const;

 private:
  void check_batch(const Batch& batch) const;
  void check_rows(std::span<const int32_t> rows) const;
  void place(const Batch& batch);
  void embed(const Batch& batch);
  void compute_rotations();
  void attend(int64_t layer);
  void feed_forward(const LayerWeights& w);
  void normalize(const Vector& weight, const TokenInput& out, bool quantized);
  void quantize(const TokenInput& input, const PackedMatrix& reader);
  void rotate_and_cache(int64_t layer, int64_t token);
  void rotate(float* heads, int64_t n_heads, const Vector& norm, int64_t token) const;
  void compute_logits(std::span<const int32_t> rows);
  template <class Body>
  void for_each_token(int64_t n_tokens, int64_t floats_per_token, const Body& body);

  LlamaShape shape_;
  StepLimits limits_;
  const Kernels& kernels_;
  ThreadPool pool_;
  LlamaWeights weights_;
  KVCache cache_;
  Matmul matmul_;
  Attention attention_;

  // Where a token of the step stands in its sequence, and the KV block that takes it.
  struct Place {
    int64_t position;
    int32_t block;
  };
  std::vector<Place> places_;
  int64_t n_tokens_ = 0;      // T of the last step
  int64_t n_logit_rows_ = 0;
  std::atomic<bool> cancelled_{false};

  PageArray<float> x_;          // (T, D) residual stream
  PageArray<float> rotations_;  // (T, Dh / 2, 2) cos and sin
  PageArray<float> q_, k_, v_;  // (T, H * Dh), (T, K * Dh), (T, K * Dh)
  TokenInput normed_;           // (T, D)
  TokenInput mixed_;            // (T, H * Dh) what attention gathered
  TokenInput gated_;            // (T, F)
  TokenInput last_;             // (max_logit_rows, D) normed, of the rows that want logits
  PageArray<float> logits_;     // (max_logit_rows, V)
};

}  // namespace tropilla
