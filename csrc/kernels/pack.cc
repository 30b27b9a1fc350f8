#include "kernels/pack.h"

#include <cstring>

#include "kernels/blocks.h"
#include "kernels/f16.h"
#include "kernels/packed.h"
#include "kernels/source_blocks.h"

namespace tropilla {
namespace {

constexpr int kRows = 16;

void put_word(uint8_t* vectors, int i, int row, uint32_t word) {
  std::memcpy(vectors + 64 * i + 4 * row, &word, 4);
}

// Writes `bits` of every code, from bit `shift` up, into 64 * bits bytes that 16 rows share.
template <int shift, int bits>
void put_codes(const source::Codes32& codes, int row, uint8_t* part) {
  constexpr uint32_t mask = bits == 8 ? ~0u : ((1u << bits % 8) - 1) * source::kBits;
  for (int i = 0; i < bits; ++i) {
    uint32_t word = 0;
    for (int k = 0; k < 8 / bits; ++k) {
      word |= (codes.words[i + bits * k] >> shift & mask) << bits * k;
    }
    put_word(part, i, row, word);
  }
}

void put_six_bit_pair(source::ScalePair pair, int n_groups, int g, int row, uint8_t* scales) {
  scales[16 * g + row] = uint8_t((pair.first & 15) | pair.second << 4);
  scales[16 * n_groups + 16 * (g / 2) + row] |=
      uint8_t((pair.first >> 4 | pair.second >> 4 << 2) << 4 * (g % 2));
}

void put_six_bit_single(int scale, int n_groups, int g, int row, uint8_t* scales) {
  scales[16 * (g / 2) + row] |= uint8_t((scale & 15) << 4 * (g % 2));
  scales[8 * n_groups + 16 * (g / 4) + row] |= uint8_t((scale >> 4) << 2 * (g % 4));
}

template <TensorType type>
void put_scales(source::ScalePair pair, int g, int row, uint8_t* scales) {
  constexpr BlockFormat f = format_of(type);
  constexpr int n_groups = f.columns / 32;
  switch (f.scales) {
    case Scales::none: return;
    case Scales::six_minmax:
    case Scales::six_halves: put_six_bit_pair(pair, n_groups, g, row, scales); return;
    case Scales::six: put_six_bit_single(pair.first, n_groups, g, row, scales); return;
    case Scales::nibble_minmax:
    case Scales::signed_bytes:
      scales[16 * (2 * g) + row] = pair.first;
      scales[16 * (2 * g + 1) + row] = pair.second;
      return;
  }
}

// Loading a model is packing it: with the type known to the compiler, most types come down to copying words.
template <TensorType type>
void pack_block(const uint8_t* block, int row, uint8_t* superblock) {
  constexpr BlockFormat f = format_of(type);
  constexpr source::Fields at = source::fields_of(type);
  std::memcpy(superblock + 2 * row, block + at.d, 2);
  if constexpr (f.has_min) std::memcpy(superblock + f.min_offset() + 2 * row, block + at.min, 2);
  for (int g = 0; g < f.columns / 32; ++g) {
    if constexpr (f.scales != Scales::none) {
      put_scales<type>(source::scale_pair<type>(block, g), g, row, superblock + f.scales_offset());
    }
    const source::Codes32 codes = source::codes<type>(block, g);
    uint8_t* group = superblock + f.codes_offset() + g * f.group_bytes();
    if constexpr (f.high_bits != 0) put_codes<f.low_bits, f.high_bits>(codes, row, group);
    put_codes<0, f.low_bits>(codes, row, group + f.low_offset());
  }
}

template <TensorType type>
void pack_integers(const uint8_t* const rows[kRows], int64_t n_cols, uint8_t* tile) {
  constexpr uint8_t kZeros[256] = {};
  constexpr BlockFormat f = format_of(type);
  for (int64_t s = 0; s < n_cols / f.columns; ++s, tile += f.bytes()) {
    std::memset(tile, 0, size_t(f.codes_offset()));  // scales are put in bit by bit
    for (int row = 0; row < kRows; ++row) {
      pack_block<type>(rows[row] ? rows[row] + s * f.source_bytes : kZeros, row, tile);
    }
  }
}

template <int size>
void pack_floats(const uint8_t* const rows[kRows], int64_t n_cols, uint8_t* tile) {
  for (int row = 0; row < kRows; ++row) {
    for (int64_t c = 0; c < n_cols; ++c) {
      uint8_t* to = tile + (kRows * c + row) * size;
      if (rows[row]) {
        std::memcpy(to, rows[row] + c * size, size);
      } else {
        std::memset(to, 0, size);
      }
    }
  }
}

void unpack_integers(TensorType type, const uint8_t* tile, int row, int64_t n_cols, float* out) {
  const BlockFormat f = format_of(type);
  for (int64_t c = 0; c < n_cols; c += 16) {
    const uint8_t* superblock = tile + c / f.columns * f.bytes();
    const int g = int(c % f.columns / 32);
    const int half = int(c % 32 / 16);
    const uint8_t* group = superblock + f.codes_offset() + g * f.group_bytes();
    const packed::Affine w = packed::affine(f, superblock, g, half, row);
    for (int i = 0; i < 16; ++i) {
      out[c + i] = w.scale * float(packed::code(f, group, row, 16 * half + i)) + w.minimum;
    }
  }
}

}  // namespace

int64_t block_columns(TensorType type) { return float_bytes(type) ? 1 : format_of(type).columns; }

int64_t block_bytes(TensorType type) {
  return float_bytes(type) ? float_bytes(type) : format_of(type).source_bytes;
}

int64_t tile_bytes(TensorType type, int64_t n_cols) {
  return kRows * (n_cols / block_columns(type)) * block_bytes(type);
}

void pack_tile(TensorType type, const uint8_t* const rows[16], int64_t n_cols, uint8_t* tile) {
  switch (type) {
    case TensorType::F32: return pack_floats<4>(rows, n_cols, tile);
    case TensorType::F16:
    case TensorType::BF16: return pack_floats<2>(rows, n_cols, tile);
    case TensorType::Q4_0: return pack_integers<TensorType::Q4_0>(rows, n_cols, tile);
    case TensorType::Q4_1: return pack_integers<TensorType::Q4_1>(rows, n_cols, tile);
    case TensorType::Q5_0: return pack_integers<TensorType::Q5_0>(rows, n_cols, tile);
    case TensorType::Q5_1: return pack_integers<TensorType::Q5_1>(rows, n_cols, tile);
    case TensorType::Q8_0: return pack_integers<TensorType::Q8_0>(rows, n_cols, tile);
    case TensorType::Q2_K: return pack_integers<TensorType::Q2_K>(rows, n_cols, tile);
    case TensorType::Q3_K: return pack_integers<TensorType::Q3_K>(rows, n_cols, tile);
    case TensorType::Q4_K: return pack_integers<TensorType::Q4_K>(rows, n_cols, tile);
    case TensorType::Q5_K: return pack_integers<TensorType::Q5_K>(rows, n_cols, tile);
    case TensorType::Q6_K: return pack_integers<TensorType::Q6_K>(rows, n_cols, tile);
    case TensorType::IQ4_NL: return pack_integers<TensorType::IQ4_NL>(rows, n_cols, tile);
    case TensorType::IQ4_XS: return pack_integers<TensorType::IQ4_XS>(rows, n_cols, tile);
  }
}

void unpack_row(TensorType type, const uint8_t* tile, int row, int64_t n_cols, float* out) {
  if (!float_bytes(type)) return unpack_integers(type, tile, row, n_cols, out);
  for (int64_t c = 0; c < n_cols; ++c) {
    const int64_t i = kRows * c + row;
    if (type == TensorType::F32) {
      std::memcpy(out + c, tile + 4 * i, 4);
    } else {
      const uint16_t half = source::half_at(tile + 2 * i);
      out[c] = type == TensorType::F16 ? f16_to_f32(half) : bf16_to_f32(half);
    }
  }
}

}  // namespace tropilla
