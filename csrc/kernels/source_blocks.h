// Readers of GGUF's block layouts: one row's block to codes and integer scales.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/blocks.h"

namespace tropilla::source {

// The codes of 32 columns: byte c of word i is column 4 * i + c.
struct Codes32 {
  uint32_t words[8];
};

inline constexpr uint32_t kNibbles = 0x0f0f0f0f;
inline constexpr uint32_t kPairs = 0x03030303;
inline constexpr uint32_t kBits = 0x01010101;

inline uint32_t word_at(const uint8_t* bytes, int i) {
  uint32_t word;
  std::memcpy(&word, bytes + 4 * i, 4);
  return word;
}

inline uint16_t half_at(const uint8_t* bytes) {
  uint16_t half;
  std::memcpy(&half, bytes, 2);
  return half;
}

// Puts bits 0..3 into the lowest bit of bytes 0..3.
inline uint32_t spread_bits(uint32_t four) { return four * 0x00204081 & kBits; }

// 16 bytes: columns 0..15 in the low nibbles, 16..31 in the high ones.
inline Codes32 split_nibbles(const uint8_t* qs) {
  Codes32 codes;
  for (int i = 0; i < 4; ++i) {
    codes.words[i] = word_at(qs, i) & kNibbles;
    codes.words[i + 4] = word_at(qs, i) >> 4 & kNibbles;
  }
  return codes;
}

// 32 bytes, one a column: `mask` of each byte, after a shift, moved up by `up`.
inline void merge_shifted(Codes32& codes, const uint8_t* bytes, int shift, uint32_t mask, int up) {
  for (int i = 0; i < 8; ++i) codes.words[i] |= (word_at(bytes, i) >> shift & mask) << up;
}

// Byte offsets of a block's fields, in the order of the file.
struct Fields {
  int d, min, scales, high, low;
};

constexpr Fields fields_of(TensorType type) {
  switch (type) {
    case TensorType::Q4_1: return {0, 2, 0, 0, 4};
    case TensorType::Q5_0: return {0, 0, 0, 2, 6};
    case TensorType::Q5_1: return {0, 2, 0, 4, 8};
    case TensorType::Q2_K: return {80, 82, 0, 0, 16};
    case TensorType::Q3_K: return {108, 0, 96, 0, 32};
    case TensorType::Q4_K: return {0, 2, 4, 0, 16};
    case TensorType::Q5_K: return {0, 2, 4, 16, 48};
    case TensorType::Q6_K: return {208, 0, 192, 128, 0};
    case TensorType::IQ4_XS: return {0, 0, 2, 0, 8};
    default: return {0, 0, 0, 0, 2};  // d, then the codes
  }
}

// Codes of columns 32 * g .. 32 * g + 31 of a block.
template <TensorType type>
inline Codes32 codes(const uint8_t* block, int g) {
  constexpr Fields at = fields_of(type);
  const uint8_t* low = block + at.low;
  const uint8_t* high = block + at.high;
  Codes32 out{};
  switch (type) {
    case TensorType::Q5_0:
    case TensorType::Q5_1:
      out = split_nibbles(low);
      for (int i = 0; i < 8; ++i) out.words[i] |= spread_bits(word_at(high, 0) >> 4 * i & 15) << 4;
      return out;
    case TensorType::Q8_0: merge_shifted(out, low, 0, ~0u, 0); return out;
    case TensorType::Q2_K: merge_shifted(out, low + 32 * (g / 4), 2 * (g % 4), kPairs, 0); return out;
    case TensorType::Q3_K:
      merge_shifted(out, low + 32 * (g / 4), 2 * (g % 4), kPairs, 0);
      merge_shifted(out, high, g, kBits, 2);
      return out;
    case TensorType::Q5_K: merge_shifted(out, high, g, kBits, 4); [[fallthrough]];
    case TensorType::Q4_K: merge_shifted(out, low + 32 * (g / 2), 4 * (g % 2), kNibbles, 0); return out;
    case TensorType::Q6_K:
      merge_shifted(out, low + 64 * (g / 4) + 32 * (g % 2), 4 * (g % 4 / 2), kNibbles, 0);
      merge_shifted(out, high + 32 * (g / 4), 2 * (g % 4), kPairs, 4);
      return out;
    default: return split_nibbles(low + 16 * g);
  }
}

// The integer scales of 32 columns, as stored: (scale, minimum), or the scales of the two halves.
struct ScalePair {
  uint8_t first, second;
};

// Six-bit pairs of Q4_K and Q5_K: the upper bits of the last four hide in the first eight bytes.
inline ScalePair minmax_pair(const uint8_t* scales, int g) {
  if (g < 4) return {uint8_t(scales[g] & 63), uint8_t(scales[g + 4] & 63)};
  const uint8_t both = scales[g + 4];
  return {uint8_t((both & 15) | scales[g - 4] >> 6 << 4), uint8_t(both >> 4 | scales[g] >> 6 << 4)};
}

inline uint8_t q3_scale(const uint8_t* scales, int s) {
  const int low = s < 8 ? scales[s] & 15 : scales[s - 8] >> 4;
  return uint8_t(low | (scales[8 + s % 4] >> 2 * (s / 4) & 3) << 4);
}

template <TensorType type>
inline ScalePair scale_pair(const uint8_t* block, int g) {
  const uint8_t* scales = block + fields_of(type).scales;
  switch (format_of(type).scales) {
    case Scales::six_minmax: return minmax_pair(scales, g);
    case Scales::six_halves: return {q3_scale(scales, 2 * g), q3_scale(scales, 2 * g + 1)};
    case Scales::six: {  // u16 of upper bits, then the low nibbles
      const int low = scales[2 + g / 2] >> 4 * (g % 2) & 15;
      return {uint8_t(low | (half_at(scales) >> 2 * g & 3) << 4), 0};
    }
    default: return {scales[2 * g], scales[2 * g + 1]};
  }
}

}  // namespace tropilla::source
