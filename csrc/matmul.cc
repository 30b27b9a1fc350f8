#include "matmul.h"

#include <algorithm>

namespace tropilla {
namespace {

// Tokens that one kernel call covers at most: unpacking weights for them is a hundredth of multiplying.
constexpr int64_t kTokenBlock = 256;
// Quantized activations that stay in a core's L2 beside the weights while tile after tile passes by.
constexpr int64_t kCachedBytes = 384 << 10;
constexpr int64_t kFewestTokens = 48;
constexpr int64_t kRowBlock = kTilesPerCall * kTileRows;
// Ranges per thread: enough that a thread which is held up does not hold up the others.
constexpr int64_t kRangesPerThread = 8;
constexpr int64_t kBufferFloats = kTokenBlock * kRowBlock;

int64_t ceil_div(int64_t n, int64_t by) { return (n + by - 1) / by; }

// Blocks as even as can be: the last of unlike ones would pay for unpacking weights for a few tokens.
int64_t tokens_per_block(int64_t n_tokens, int64_t n_cols) {
  const int64_t most = std::clamp(kCachedBytes / n_cols, kFewestTokens, kTokenBlock);
  return ceil_div(n_tokens, ceil_div(n_tokens, most));
}

// Moves (n_tokens, kRowBlock) outputs, of which n_rows are rows of the matrix, to (T, stride).
void place(const float* from, int64_t n_tokens, int64_t n_rows, float* to, int64_t stride, bool accumulate) {
  for (int64_t t = 0; t < n_tokens; ++t, from += kRowBlock, to += stride) {
    if (accumulate) {
      for (int64_t r = 0; r < n_rows; ++r) to[r] += from[r];
    } else {
      std::copy_n(from, n_rows, to);
    }
  }
}

}  // namespace

TokenInput::TokenInput(int64_t max_tokens, int64_t n_cols)
    : n_cols_(n_cols),
      f32_(size_product({max_tokens, n_cols})),
      q_(max_tokens * n_cols),
      scale_(max_tokens * ceil_div(n_cols, kActivationBlock)),
      sums_(max_tokens * ceil_div(n_cols, kSumBlock)) {}

void TokenInput::quantize(const Kernels& kernels, int64_t token) const {
  kernels.quantize(row(token), n_cols_, q_.data() + token * n_cols_,
                   scale_.data() + token * (n_cols_ / kActivationBlock),
                   sums_.data() + token * (n_cols_ / kSumBlock));
}

Activations TokenInput::view() const {
  return {n_cols_, f32_.data(), q_.data(), scale_.data(), sums_.data()};
}

int64_t TokenInput::size_bytes() const {
  return f32_.size_bytes() + q_.size_bytes() + scale_.size_bytes() + sums_.size_bytes();
}

// The tiles and tokens that one kernel call covers, and the worker that makes it.
struct Matmul::Block {
  int64_t first_tile, first_token, n_tokens;
  int worker;

  int64_t first_row() const { return first_tile * kTileRows; }
  int64_t n_rows(const Product& product) const { return std::min(kRowBlock, product.weight->rows() - first_row()); }
  Tiles tiles_of(const Product& product, const uint8_t* next) const {
    const PackedMatrix& weight = *product.weight;
    const int64_t n = std::min<int64_t>(kTilesPerCall, weight.n_tiles() - first_tile);
    return {weight.tile(first_tile), weight.tile_stride(), n, next};
  }
  // The product's tiles behind the block's; null if there are none.
  const uint8_t* tiles_behind(const Product& product) const {
    const int64_t tile = first_tile + kTilesPerCall;
    return tile < product.weight->n_tiles() ? product.weight->tile(tile) : nullptr;
  }
};

Matmul::Matmul(const Kernels& kernels, ThreadPool& pool, int64_t max_cols)
    : kernels_(kernels),
      pool_(pool),
      scratch_stride_(ceil_div(matmul_scratch_bytes(max_cols), 64) * 64),
      buffers_(pool.size() * 3 * kBufferFloats),
      scratch_(pool.size() * scratch_stride_) {}

float* Matmul::buffer(int worker) const { return buffers_.data() + worker * 3 * kBufferFloats; }

// Calls body(block) for all tiles and tokens, first all tiles for a block of tokens: with few tokens there is
// one such block, and the loop streams the weights once.
template <class Body>
void Matmul::for_each_block(int64_t n_tiles, int64_t n_cols, int64_t n_tokens, const Body& body) {
  const int64_t n_pairs = ceil_div(n_tiles, kTilesPerCall);
  const int64_t block_size = tokens_per_block(n_tokens, n_cols);
  const int64_t n_items = n_pairs * ceil_div(n_tokens, block_size);
  const int64_t grain = std::max<int64_t>(1, n_items / (pool_.size() * kRangesPerThread));
  pool_.parallel_for(n_items, grain, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t first_token = item / n_pairs * block_size;
      const int64_t n_block = std::min(block_size, n_tokens - first_token);
      body(Block{item % n_pairs * kTilesPerCall, first_token, n_block, worker});
    }
  });
}

// out: (block.n_tokens, out_stride), with room for whole tiles.
void Matmul::multiply(const Product& product, const Block& block, const Activations& x, const uint8_t* next,
                      float* out, int64_t out_stride) {
  const MatmulTiles kernel = kernels_.matmul[index_of(product.weight->type())];
  kernel(block.tiles_of(product, next), x, block.first_token, block.n_tokens, out, out_stride,
         scratch_.data() + block.worker * scratch_stride_);
  if (!product.bias) return;
  for (int64_t t = 0; t < block.n_tokens; ++t) {
    const float* bias = product.bias + block.first_row();
    for (int64_t r = 0; r < block.n_rows(product); ++r) out[t * out_stride + r] += bias[r];
  }
}

// Into product.out: straight there if nothing is to be kept of what it holds.
void Matmul::multiply_in_place(const Product& product, const Block& block, const Activations& x) {
  float* out = product.out + block.first_token * product.out_stride + block.first_row();
  const int64_t n_rows = block.n_rows(product);
  const uint8_t* next = block.tiles_behind(product);
  if (n_rows == kRowBlock && !product.accumulate) return multiply(product, block, x, next, out, product.out_stride);
  float* own = buffer(block.worker);
  multiply(product, block, x, next, own, kRowBlock);
  place(own, block.n_tokens, n_rows, out, product.out_stride, product.accumulate);
}

void Matmul::run(std::span<const Product> products, const Activations& x, int64_t n_tokens) {
  const auto tiles_of = [](const Product& product) {
    return ceil_div(product.weight->n_tiles(), kTilesPerCall) * kTilesPerCall;  // no pair spans two matrices
  };
  int64_t n_tiles = 0;
  for (const Product& product : products) n_tiles += tiles_of(product);
  for_each_block(n_tiles, x.n_cols, n_tokens, [&](Block block) {
    const Product* product = products.data();
    while (block.first_tile >= tiles_of(*product)) block.first_tile -= tiles_of(*product++);
    multiply_in_place(*product, block, x);
  });
}

void Matmul::run_gated(const Product& gate, const Product& up, const Activations& x, int64_t n_tokens,
                       float* out) {
  const int64_t n_rows = gate.weight->rows();
  for_each_block(gate.weight->n_tiles(), x.n_cols, n_tokens, [&](const Block& block) {
    float* gate_out = buffer(block.worker);
    float* up_out = gate_out + kBufferFloats;
    float* gated = up_out + kBufferFloats;
    multiply(gate, block, x, block.tiles_of(up, nullptr).first, gate_out, kRowBlock);
    multiply(up, block, x, block.tiles_behind(gate), up_out, kRowBlock);
    kernels_.silu_mul(gate_out, up_out, block.n_tokens * kRowBlock, gated);
    place(gated, block.n_tokens, block.n_rows(gate), out + block.first_token * n_rows + block.first_row(), n_rows, false);
  });
}

}  // namespace tropilla
