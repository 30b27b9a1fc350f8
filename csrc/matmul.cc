#include "matmul.h"

#include <algorithm>

namespace tropilla {
namespace {

// Tokens whose quantized activations stay in a core's L2 while tile after tile is multiplied with
// them: at most kTokenBlock, fewer where rows are long.
constexpr int64_t kTokenBlock = 128;
constexpr int64_t kFewestTokens = 16;
constexpr int64_t kCachedBytes = 256 << 10;
// Ranges per thread: enough that a thread which is held up does not hold up the others.
constexpr int64_t kRangesPerThread = 8;
constexpr int64_t kBufferFloats = kTokenBlock * kTileRows;

int64_t ceil_div(int64_t n, int64_t by) { return (n + by - 1) / by; }

int64_t tokens_per_block(int64_t n_cols) {
  return std::clamp(kCachedBytes / n_cols, kFewestTokens, kTokenBlock);
}

// Adds the bias to a tile's outputs; rows beyond the matrix are left alone.
void add_bias(const Product& product, int64_t tile, int64_t n_tokens, float* out) {
  if (!product.bias) return;
  const int64_t first_row = tile * kTileRows;
  const int64_t n_rows = std::min<int64_t>(kTileRows, product.weight->rows() - first_row);
  for (int64_t t = 0; t < n_tokens; ++t) {
    for (int64_t r = 0; r < n_rows; ++r) out[t * kTileRows + r] += product.bias[first_row + r];
  }
}

// Moves a tile's outputs (n_tokens, kTileRows) to their place in (T, stride), which has n_cols.
void place(const float* tile_out, int64_t tile, int64_t n_tokens, int64_t n_cols, float* out, int64_t stride,
           bool accumulate) {
  const int64_t first_row = tile * kTileRows;
  const int64_t n_rows = std::min<int64_t>(kTileRows, n_cols - first_row);
  for (int64_t t = 0; t < n_tokens; ++t) {
    const float* from = tile_out + t * kTileRows;
    float* to = out + t * stride + first_row;
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

// The tokens that one kernel call covers.
struct Matmul::Block {
  int64_t first_token, n_tokens;
};

Matmul::Matmul(const Kernels& kernels, ThreadPool& pool)
    : kernels_(kernels), pool_(pool), buffers_(pool.size() * 3 * kBufferFloats) {}

float* Matmul::buffer(int worker) const { return buffers_.data() + worker * 3 * kBufferFloats; }

// Calls body(tile, block, worker) for all tiles and blocks of tokens. All tiles of a block of tokens
// come before the next block, so its activations stay in cache; with few tokens there is one block,
// and the loop streams the weights once.
template <class Body>
void Matmul::for_each_block(int64_t n_tiles, int64_t n_cols, int64_t n_tokens, const Body& body) {
  const int64_t block_size = tokens_per_block(n_cols);
  const int64_t n_items = n_tiles * ceil_div(n_tokens, block_size);
  const int64_t grain = std::max<int64_t>(1, n_items / (pool_.size() * kRangesPerThread));
  pool_.parallel_for(n_items, grain, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t first_token = item / n_tiles * block_size;
      body(item % n_tiles, Block{first_token, std::min(block_size, n_tokens - first_token)}, worker);
    }
  });
}

// out: (block.n_tokens, kTileRows).
void Matmul::tile_product(const Product& product, int64_t tile, const Activations& x, const Block& block,
                          float* out) {
  const MatmulTile kernel = kernels_.matmul[index_of(product.weight->type())];
  kernel(product.weight->tile(tile), x, block.first_token, block.n_tokens, out, kTileRows);
  add_bias(product, tile, block.n_tokens, out);
}

void Matmul::run(std::span<const Product> products, const Activations& x, int64_t n_tokens) {
  int64_t n_tiles = 0;
  for (const Product& product : products) n_tiles += product.weight->n_tiles();
  for_each_block(n_tiles, x.n_cols, n_tokens, [&](int64_t tile, const Block& block, int worker) {
    const Product* product = products.data();
    while (tile >= product->weight->n_tiles()) tile -= (product++)->weight->n_tiles();
    float* tile_out = buffer(worker);
    tile_product(*product, tile, x, block, tile_out);
    place(tile_out, tile, block.n_tokens, product->weight->rows(),
          product->out + block.first_token * product->out_stride, product->out_stride, product->accumulate);
  });
}

void Matmul::run_gated(const Product& gate, const Product& up, const Activations& x, int64_t n_tokens,
                       float* out) {
  const int64_t n_rows = gate.weight->rows();
  for_each_block(gate.weight->n_tiles(), x.n_cols, n_tokens, [&](int64_t tile, const Block& block, int worker) {
    float* gate_out = buffer(worker);
    float* up_out = gate_out + kBufferFloats;
    float* gated = up_out + kBufferFloats;
    tile_product(gate, tile, x, block, gate_out);
    tile_product(up, tile, x, block, up_out);
    kernels_.silu_mul(gate_out, up_out, block.n_tokens * kTileRows, gated);
    place(gated, tile, block.n_tokens, n_rows, out + block.first_token * n_rows, n_rows, false);
  });
}

}  // namespace tropilla
