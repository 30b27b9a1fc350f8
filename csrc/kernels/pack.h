// Packed weights: the rows of a matrix re-ordered into tiles of 16 so that a kernel streams them.
//
// A tile holds 16 whole rows; it takes as many bytes as the 16 source rows do, so that packed
// weights need no more memory than the file. Rows beyond the matrix are zero weights.
//
// Float types: column after column, 16 weights each.
//
// Integer types: superblock after superblock (32 columns, 256 for the K types and IQ4_XS):
//
//   d        f16[16]    one a row
//   min      f16[16]    where the type has one
//   scales   16 bytes a step, one a row:
//            nibble_minmax, signed_bytes: one step for each 16 columns
//            six_minmax, six_halves: low nibbles of a pair (scale, minimum) or (scale, scale), a
//              step for each 32 columns; then the pairs' upper bits, four for each 32 columns, so
//              that one step serves 64
//            six: low nibbles, a step for 64 columns; then upper bits, a step for 128
//   codes    for each 32 columns group_bytes(): the high bits, then the low ones
//
// Codes unpack to eight 64-byte vectors v0..v7 of 16 rows x 4 columns, the operand of vpdpbusd and
// vdotq: byte 4 * row + c of v[i] is column 4 * i + c. They are stored as
//
//   8 bits   v0 .. v7
//   4 bits   four vectors, vector i = v[i] | v[i + 4] << 4
//   2 bits   two vectors,  vector i = v[i] | v[i + 2] << 2 | v[i + 4] << 4 | v[i + 6] << 6
//   1 bit    one vector:   bit i of a byte belongs to v[i]
//
// so that columns 0..15 come from the low half of each byte and one shift gives the others.
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
