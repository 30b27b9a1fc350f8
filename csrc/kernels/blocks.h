// What each integer weight type holds, and where it lies in a packed tile; see pack.h for the drawing.
//
// Instruction-set files include this header: no standard library beyond <cstdint>.
#pragma once

#include <cstdint>

#include "kernels/tensor_type.h"

namespace tropilla {

// What the stored bits of a weight stand for.
enum class Codes : uint8_t {
  offset,    // unsigned, `zero` stands for 0
  bytes,     // signed bytes
  codebook,  // unsigned indices into kCodebook
};

// The integer scales that a superblock holds beside its f16 ones.
enum class Scales : uint8_t {
  none,           // d alone
  nibble_minmax,  // per 16 columns: low nibble the scale, high nibble the minimum
  six_minmax,     // per 32 columns: six bits of scale, six bits of minimum
  six_halves,     // per 16 columns: six bits of scale, 32 stands for 0
  six,            // per 32 columns: six bits of scale, 32 stands for 0
  signed_bytes,   // per 16 columns: int8
};

struct BlockFormat {
  int columns;       // of a row that share d (and the f16 minimum)
  int source_bytes;  // of one row's block in the file
  int low_bits;      // code = low_bits | high_bits << low_bits
  int high_bits;
  Codes codes;
  int zero;
  bool has_min;      // a second f16: the minimum, or the scale of the integer minimums
  Scales scales;

  // Scale (and minimum) change every 16 columns instead of every 32.
  constexpr bool halves() const {
    return scales == Scales::nibble_minmax || scales == Scales::six_halves ||
           scales == Scales::signed_bytes;
  }
  constexpr int scale_bytes() const {  // of 16 rows
    switch (scales) {
      case Scales::none: return 0;
      case Scales::nibble_minmax:
      case Scales::signed_bytes: return columns;
      case Scales::six_minmax:
      case Scales::six_halves: return columns * 3 / 4;
      case Scales::six: return columns * 3 / 8;
    }
    return 0;
  }
  // Offsets inside a packed superblock of 16 rows.
  constexpr int min_offset() const { return 32; }
  constexpr int scales_offset() const { return has_min ? 64 : 32; }
  constexpr int codes_offset() const { return scales_offset() + scale_bytes(); }
  // Codes of 16 rows x 32 columns: first the high bits, then the low ones.
  constexpr int low_offset() const { return 64 * high_bits; }
  constexpr int group_bytes() const { return 64 * (high_bits + low_bits); }
  constexpr int bytes() const { return 16 * source_bytes; }
};

// The format of an integer type; columns = 0 for the float types and unknown ones.
constexpr BlockFormat format_of(TensorType type) {
  switch (type) {
    case TensorType::Q4_0: return {32, 18, 4, 0, Codes::offset, 8, false, Scales::none};
    case TensorType::Q4_1: return {32, 20, 4, 0, Codes::offset, 0, true, Scales::none};
    case TensorType::Q5_0: return {32, 22, 4, 1, Codes::offset, 16, false, Scales::none};
    case TensorType::Q5_1: return {32, 24, 4, 1, Codes::offset, 0, true, Scales::none};
    case TensorType::Q8_0: return {32, 34, 8, 0, Codes::bytes, 0, false, Scales::none};
    case TensorType::Q2_K: return {256, 84, 2, 0, Codes::offset, 0, true, Scales::nibble_minmax};
    case TensorType::Q3_K: return {256, 110, 2, 1, Codes::offset, 4, false, Scales::six_halves};
    case TensorType::Q4_K: return {256, 144, 4, 0, Codes::offset, 0, true, Scales::six_minmax};
    case TensorType::Q5_K: return {256, 176, 4, 1, Codes::offset, 0, true, Scales::six_minmax};
    case TensorType::Q6_K: return {256, 210, 4, 2, Codes::offset, 32, false, Scales::signed_bytes};
    case TensorType::IQ4_NL: return {32, 18, 4, 0, Codes::codebook, 0, false, Scales::none};
    case TensorType::IQ4_XS: return {256, 136, 4, 0, Codes::codebook, 0, false, Scales::six};
    default: return {0, 0, 0, 0, Codes::offset, 0, false, Scales::none};
  }
}

// Bytes of one weight of a float type; 0 for the others.
constexpr int float_bytes(TensorType type) {
  if (type == TensorType::F32) return 4;
  return type == TensorType::F16 || type == TensorType::BF16 ? 2 : 0;
}

inline constexpr TensorType kIntegerTypes[] = {
    TensorType::Q4_0, TensorType::Q4_1, TensorType::Q5_0, TensorType::Q5_1,
    TensorType::Q8_0, TensorType::Q2_K, TensorType::Q3_K, TensorType::Q4_K,
    TensorType::Q5_K, TensorType::Q6_K, TensorType::IQ4_NL, TensorType::IQ4_XS};

constexpr bool packed_size_is_source_size() {
  for (const TensorType type : kIntegerTypes) {
    const BlockFormat f = format_of(type);
    if (f.codes_offset() + f.columns / 32 * f.group_bytes() != f.bytes()) return false;
  }
  return true;
}
static_assert(packed_size_is_source_size());

// The 16 levels of the IQ4 types.
inline constexpr int8_t kCodebook[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                         1,    13,   25,  38,  53,  69,  89,  113};

}  // namespace tropilla
