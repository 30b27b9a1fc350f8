// The types of 32 weights a block: every weight goes to the nearest level of a range set by the extremes.
// The bytes are those of formats/quantize.py.
#pragma once

#include "quantize/columns.h"
#include "quantize/halves.h"

namespace tropilla {
namespace {

constexpr int kBlock = 32;

// Fills quants[32] and returns the scale.
template <int half>
TROPILLA_LANES_INLINE Floats round_signed(const Floats* x, Ints* quants) {
  Floats largest = x[0];
  for (int i = 1; i < kBlock; ++i) largest = magnitude(x[i]) > magnitude(largest) ? x[i] : largest;
  const Floats scale = largest / float(-half);
  const Floats inverse = inverse_of(scale);
  for (int i = 0; i < kBlock; ++i) {
    quants[i] = to_ints(min(x[i] * inverse + (half + 0.5f), splat(2 * half - 1)));
  }
  return scale;
}

struct Range {
  Floats scale, least;
};

template <int top>
TROPILLA_LANES_INLINE Range round_offset(const Floats* x, Ints* quants) {
  Floats least = x[0], greatest = x[0];
  for (int i = 1; i < kBlock; ++i) {
    least = min(x[i], least);
    greatest = max(x[i], greatest);
  }
  const Floats scale = (greatest - least) / float(top);
  const Floats inverse = inverse_of(scale);
  for (int i = 0; i < kBlock; ++i) quants[i] = to_ints(min((x[i] - least) * inverse + 0.5f, splat(top)));
  return {scale, least};
}

// Halves go away from zero. Adding 0.5 and cutting would round 0.49999997 up: the sum is inexact. x: at most
// 127 and an error in size, or not finite, and then any quant will do that has a negative.
TROPILLA_LANES_INLINE Ints nearest_away(Floats x) {
  const Floats size = min(magnitude(x), splat(127));
  const Ints whole = to_ints(size);
  const Ints rounded = size - to_floats(whole) >= splat(0.5f) ? whole + 1 : whole;
  return x < Floats{} ? -rounded : rounded;
}

TROPILLA_LANES_INLINE Floats round_bytes(const Floats* x, Ints* quants) {
  Floats most{};
  for (int i = 0; i < kBlock; ++i) most = max(magnitude(x[i]), most);
  const Floats scale = most / 127.0f;
  const Floats inverse = inverse_of(scale);
  for (int i = 0; i < kBlock; ++i) quants[i] = nearest_away(x[i] * inverse);
  return scale;
}

TROPILLA_LANES_INLINE void put_nibbles(const BlockBytes& out, int at, const Ints* quants) {
  out.fill(at, 16, [&](int i) TROPILLA_LANES_LAMBDA { return (quants[i] & 15) | (quants[i + 16] & 15) << 4; });
}

TROPILLA_LANES_INLINE void put_fifth_bits(const BlockBytes& out, int at, const Ints* quants) {
  out.fill(at, 4, [&](int byte) TROPILLA_LANES_LAMBDA {
    Ints bits{};
    for (int i = 0; i < 8; ++i) bits |= (quants[8 * byte + i] >> 4 & 1) << i;
    return bits;
  });
}

}  // namespace
}  // namespace tropilla
