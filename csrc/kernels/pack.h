// Packed weights: the rows of a matrix re-ordered into tiles of 16 so that a kernel streams them.
//
// A tile holds 16 whole rows; it takes as many bytes as the 16 source rows do, so that packed
// weights need no more memory than the file. Rows beyond the matrix are zero weights.
#pragma once

#include <cstdint>

#include "kernels/tensor_type.h"

namespace tropilla {

// Columns that a row must be a multiple of, and the bytes of that many weights; 0 for unknown types.
int64_t block_columns(TensorType type);
int64_t block_bytes(TensorType type);

// Bytes of one tile of 16 rows.
int64_t tile_bytes(TensorType type, int64_t n_cols);

// Packs 16 source rows (GGUF block layout; null = a row of zeros) into a tile, 64-byte aligned.
void pack_tile(TensorType type, const uint8_t* const rows[16], int64_t n_cols, uint8_t* tile);

// Writes row `row` (0..15) of a tile as float32: the exact dequantised weights.
void unpack_row(TensorType type, const uint8_t* tile, int row, int64_t n_cols, float* out);

}  // namespace tropilla
