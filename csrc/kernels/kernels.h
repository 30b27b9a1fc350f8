// The table of compute kernels: one implementation per instruction set, chosen at run time.
//
// Kernels are pure functions on pointers and sizes: no allocation, threads, globals or exceptions.
// scalar.cc defines what each must compute. What one token or query row gets depends, to the last bit,
// on that row alone: not on how many rows the call has, nor on its place among them. So a sequence's
// results do not change with the batch around it.
#pragma once

#include <cstdint>

#include "kernels/kv_block.h"
#include "kernels/tensor_type.h"

namespace tropilla {

// Weights are packed into tiles of this many output rows; see pack.h.
inline constexpr int kTileRows = 16;
// Activations are quantized to int8 in blocks of this many columns...
inline constexpr int kActivationBlock = 32;
// ...with a sum for each of this many, because Q2_K, Q3_K and Q6_K scale 16 weights at a time.
inline constexpr int kSumBlock = 16;

// The input of a matrix product for several tokens, row after row. n_cols is a multiple of 32 for
// integer weights. Float weights read `f32` only, the others all but `f32`.
struct Activations {
  int64_t n_cols;
  const float* f32;      // (T, n_cols)
  const int8_t* q;       // (T, n_cols) in [-127, 127]: AVX2 negates them
  const float* scale;    // (T, n_cols / 32): x ~= q * scale
  const int32_t* sums;   // (T, n_cols / 16): sums of q
};

// The most tiles that one call multiplies with.
inline constexpr int kTilesPerCall = 2;

// Packed tiles, one behind the other; see pack.h.
struct Tiles {
  const uint8_t* first;
  int64_t stride;       // bytes from one to the next
  int64_t n;            // 1..kTilesPerCall
  const uint8_t* next;  // where the caller will read after these; may be null
};

// Room that a call needs beside its outputs: the codes of 32 columns as bytes and their scales and
// minimums as floats, for 16 or 32 columns each.
constexpr int64_t matmul_scratch_bytes(int64_t n_cols) {
  return n_cols / 32 * kTilesPerCall * (32 + 4 * 4) * kTileRows;
}

// out[t * out_stride + r] = sum over c of weight[r][c] * x[first_token + t][c], for the 16 * tiles.n
// rows r of the tiles and t < n_tokens. Overwrites out. scratch: 64-byte aligned.
using MatmulTiles = void (*)(const Tiles& tiles, const Activations& x, int64_t first_token, int64_t n_tokens,
                             float* out, int64_t out_stride, uint8_t* scratch);

// At most this many KV blocks are attended to at once.
inline constexpr int kMaxAttendBlocks = 16;
// Of these, so many lie unpacked side by side.
inline constexpr int kUnpackedBlocks = 4;

// The share in attention of some consecutive KV blocks, for query rows that read the same KV head
// (flash attention with running maximum and sum). Query row i sees keys first[i] <= j < last[i],
// counted from the first block; if there are none, its acc, row_max and row_sum stay as they are.
// Other keys may be anything, NaN included. See kv_block.h for the layout of a block.
struct AttendBlocks {
  int64_t n_queries, head_dim;
  const float* q;            // (n_queries, head_dim), already scaled by 1/sqrt(head_dim)
  const uint8_t* const* k;   // keys of each block, of the cache's KVType; at most kMaxAttendBlocks
  const uint8_t* const* v;   // values likewise
  const int32_t* first;      // (n_queries)
  const int32_t* last;       // (n_queries)
  float* scratch;            // (2, kUnpackedBlocks, kKVBlockTokens, kv_width), for the kernel's own use
  float* acc;                // (n_queries, kv_width) weighted sum of v so far, relative to row_max
  float* row_max;            // (n_queries) -inf at the start
  float* row_sum;            // (n_queries) 0 at the start
};

constexpr int64_t attend_scratch_floats(int64_t head_dim) {
  return 2 * kUnpackedBlocks * kKVBlockTokens * kv_width(head_dim);
}

struct Kernels {
  const char* name;
  MatmulTiles matmul[kTensorTypes];  // by index_of(type); null where the type is not a weight type
  void (*quantize)(const float* x, int64_t n, int8_t* q, float* scale, int32_t* sums);
  void (*rms_norm)(const float* x, const float* weight, int64_t n, float eps, float* out);
  void (*add)(float* x, const float* y, int64_t n);                           // x += y
  void (*silu_mul)(const float* gate, const float* up, int64_t n, float* out);
  // Rotates pairs (2i, 2i+1) of each head; cos_sin holds head_dim/2 pairs (cos, sin).
  void (*rope)(float* heads, int64_t n_heads, int64_t head_dim, const float* cos_sin);
  void (*to_f16)(const float* x, int64_t n, uint16_t* out);
  void (*attend[kKVTypes])(const AttendBlocks& blocks);  // by the KVType of keys and values
};

// The best table that this CPU runs, or the one that TROPILLA_ISA names. Throws std::runtime_error
// with a clear sentence if the named one does not exist or does not run here.
const Kernels& kernels();
// By name ("scalar", "avx2", "avx512", "neon"); null if this CPU or build lacks it.
const Kernels* kernels_named(const char* name);

}  // namespace tropilla
