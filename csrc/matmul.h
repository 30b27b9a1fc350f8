// Matrix products of packed weights with several tokens, shared out over threads.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/kernels.h"
#include "packed_matrix.h"
#include "pages.h"
#include "thread_pool.h"

namespace tropilla {

// The input of matrix products for up to max_tokens tokens, as floats and quantized.
class TokenInput {
 public:
  TokenInput() = default;
  TokenInput(int64_t max_tokens, int64_t n_cols);

  // (n_cols) floats of one token, to be written before quantize().
  float* row(int64_t token) const { return f32_.data() + token * n_cols_; }
  // Rounds one token's row to int8 blocks; n_cols must be a multiple of kActivationBlock.
  void quantize(const Kernels& kernels, int64_t token) const;
  Activations view() const;
  int64_t size_bytes() const;

 private:
  int64_t n_cols_ = 0;
  PageArray<float> f32_;    // (T, n_cols)
  PageArray<int8_t> q_;     // (T, n_cols)
  PageArray<float> scale_;  // (T, n_cols / kActivationBlock)
  PageArray<int32_t> sums_; // (T, n_cols / kSumBlock)
};

// out[t][r] = weight . x[t] + bias, or the same added to what out holds (a residual).
struct Product {
  const PackedMatrix* weight;
  const float* bias;   // (rows) or null
  float* out;          // (T, out_stride)
  int64_t out_stride;
  bool accumulate = false;
};

// Computes products that share an input in one parallel loop.
class Matmul {
 public:
  // max_cols: the longest row of weights that it will see.
  Matmul(const Kernels& kernels, ThreadPool& pool, int64_t max_cols);

  void run(std::span<const Product> products, const Activations& x, int64_t n_tokens);
  // out[t][r] = silu(gate[t][r]) * up[t][r], out: (T, rows of gate).
  void run_gated(const Product& gate, const Product& up, const Activations& x, int64_t n_tokens, float* out);
  int64_t size_bytes() const { return buffers_.size_bytes() + scratch_.size_bytes(); }

 private:
  struct Block;
  template <class Body>
  void for_each_block(int64_t n_tiles, int64_t n_cols, int64_t n_tokens, const Body& body);
  void multiply(const Product& product, const Block& block, const Activations& x, const uint8_t* next, float* out,
                int64_t out_stride);
  void multiply_in_place(const Product& product, const Block& block, const Activations& x);
  float* buffer(int worker) const;

  const Kernels& kernels_;
  ThreadPool& pool_;
  int64_t scratch_stride_;
  PageArray<float> buffers_;    // (worker, 3, kTokenBlock, kRowBlock)
  PageArray<uint8_t> scratch_;  // (worker, scratch_stride_)
};

}  // namespace tropilla
