// Scalar access to packed tiles: the reading half of the layout that pack.h draws.
#pragma once

#include <cstdint>

#include "kernels/blocks.h"
#include "kernels/f16.h"

namespace tropilla::packed {

// weight = scale * code + minimum, for 16 columns of one row. Types without minimums have -0, which
// leaves even the sign of a zero alone.
struct Affine {
  float scale, minimum;
};

inline float half_of_row(const uint8_t* field, int row) {
  return f16_to_f32(uint16_t(field[2 * row] | field[2 * row + 1] << 8));
}

// Pairs of six bits: low nibbles in one byte, the upper bits of two pairs in another.
inline void six_bit_pair(const uint8_t* scales, int n_groups, int g, int row, int pair[2]) {
  const int low = scales[16 * g + row];
  const int high = scales[16 * n_groups + 16 * (g / 2) + row] >> 4 * (g % 2);
  pair[0] = (low & 15) | (high & 3) << 4;
  pair[1] = low >> 4 | (high >> 2 & 3) << 4;
}

inline int six_bit_single(const uint8_t* scales, int n_groups, int g, int row) {
  const int low = scales[16 * (g / 2) + row] >> 4 * (g % 2);
  const int high = scales[8 * n_groups + 16 * (g / 4) + row] >> 2 * (g % 4);
  return (low & 15) | (high & 3) << 4;
}

// Scale and minimum of columns 32 * g + 16 * half .. + 15 of a superblock's row.
inline Affine affine(const BlockFormat& f, const uint8_t* superblock, int g, int half, int row) {
  const int n_groups = f.columns / 32;
  const float d = half_of_row(superblock, row);
  const float min = f.has_min ? half_of_row(superblock + f.min_offset(), row) : -0.0f;
  const uint8_t* scales = superblock + f.scales_offset();
  const uint8_t own = scales[16 * (2 * g + half) + row];  // of the types with a byte for 16 columns
  int pair[2];
  switch (f.scales) {
    case Scales::nibble_minmax: return {d * float(own & 15), -(min * float(own >> 4))};
    case Scales::signed_bytes: return {d * float(int8_t(own)), -0.0f};
    case Scales::six_minmax:
      six_bit_pair(scales, n_groups, g, row, pair);
      return {d * float(pair[0]), -(min * float(pair[1]))};
    case Scales::six_halves:
      six_bit_pair(scales, n_groups, g, row, pair);
      return {d * float(pair[half] - 32), -0.0f};
    case Scales::six: return {d * float(six_bit_single(scales, n_groups, g, row) - 32), -0.0f};
    case Scales::none: return {d, min};
  }
  return {0.0f, -0.0f};
}

// `bits` wide part of the code in column `column` (0..31), of 64 * bits bytes that hold such parts.
inline int code_part(const uint8_t* part, int bits, int row, int column) {
  const int vectors = bits;  // 64 bytes each; see the table in pack.h
  const int i = column / 4;
  const uint8_t byte = part[64 * (i % vectors) + 4 * row + column % 4];
  return byte >> bits * (i / vectors) & ((1 << bits) - 1);
}

// The integer that scale multiplies, of one column (0..31) of a group.
inline int code(const BlockFormat& f, const uint8_t* group, int row, int column) {
  const int low = code_part(group + f.low_offset(), f.low_bits, row, column);
  if (f.codes == Codes::bytes) return int8_t(low);
  if (f.codes == Codes::codebook) return kCodebook[low];
  const int high = f.high_bits ? code_part(group, f.high_bits, row, column) : 0;
  return (low | high << f.low_bits) - f.zero;
}

}  // namespace tropilla::packed
