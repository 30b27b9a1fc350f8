// Between blocks that lie one after the other and vectors that hold one column of all of them.
#pragma once

#include "quantize/lanes.h"

namespace tropilla {
namespace {

// x[i] gets column i of n_blocks blocks of n weights, and 0 in the lanes that are left.
template <int n>
TROPILLA_LANES_INLINE void load_columns(const float* weights, int n_blocks, Floats* x) {
  if (n_blocks < kLanes) {
    for (int i = 0; i < n; ++i) x[i] = Floats{};
  }
  for (int block = 0; block < n_blocks; ++block) {
    for (int i = 0; i < n; ++i) lanes_of(x[i])[block] = weights[block * n + i];
  }
}

// The encoded blocks, to be filled byte by byte, the same byte in all of them.
struct BlockBytes {
  uint8_t* first;
  int stride, n_blocks;

  TROPILLA_LANES_INLINE void put(int at, Ints byte) const {
    for (int block = 0; block < n_blocks; ++block) first[block * stride + at] = uint8_t(lanes_of(byte)[block]);
  }
  TROPILLA_LANES_INLINE void put16(int at, Ints number) const {
    put(at, number);
    put(at + 1, number >> 8);
  }
  // count bytes, a multiple of 4, from `at` on; byte(i) gives the i-th, with nothing above its 8 bits.
  template <class Byte>
  TROPILLA_LANES_INLINE void fill(int at, int count, const Byte& byte) const {
    for (int i = 0; i < count; i += 4) {
      const Ints word = byte(i) | byte(i + 1) << 8 | byte(i + 2) << 16 | byte(i + 3) << 24;
      for (int block = 0; block < n_blocks; ++block) {
        copy_bytes(first + block * stride + at + i, lanes_of(word) + block, 4);
      }
    }
  }
};

}  // namespace
}  // namespace tropilla
