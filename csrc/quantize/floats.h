// Reading and writing the float types. Included by each instruction set's file.
#pragma once

#include "quantize/encoders.h"
#include "quantize/halves.h"

namespace tropilla {
namespace {

// Calls body(first, count) for runs of at most kLanes of n numbers.
template <class Body>
TROPILLA_LANES_INLINE void for_runs(int64_t n, const Body& body) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) body(i, kLanes);
  if (i < n) body(i, int(n - i));
}

TROPILLA_LANES_INLINE Floats load_floats(const float* x, int count) {
  Floats loaded{};
  if (count == kLanes) {
    copy_bytes(&loaded, x, sizeof loaded);
  } else {
    for (int i = 0; i < count; ++i) lanes_of(loaded)[i] = x[i];
  }
  return loaded;
}

TROPILLA_LANES_INLINE Ints load_halves(const uint8_t* stored, int count) {
  uint16_t halves[kLanes] = {};
  if (count == kLanes) {
    copy_bytes(halves, stored, sizeof halves);
  } else {
    copy_bytes(halves, stored, 2 * count);
  }
  Ints loaded{};
  for (int i = 0; i < kLanes; ++i) lanes_of(loaded)[i] = halves[i];
  return loaded;
}

TROPILLA_LANES_INLINE void store_floats(Floats x, int count, float* out) {
  copy_bytes(out, &x, 4 * count);
}

TROPILLA_LANES_INLINE void store_halves(Ints x, int count, uint8_t* out) {
  uint16_t halves[kLanes];
  for (int i = 0; i < kLanes; ++i) halves[i] = uint16_t(lanes_of(x)[i]);
  copy_bytes(out, halves, 2 * count);
}

void read_f32(const uint8_t* stored, int64_t n, float* out) { copy_bytes(out, stored, 4 * n); }

void read_f16(const uint8_t* stored, int64_t n, float* out) {
  for_runs(n, [&](int64_t at, int count) TROPILLA_LANES_LAMBDA {
    store_floats(half_to_floats(load_halves(stored + 2 * at, count)), count, out + at);
  });
}

void read_bf16(const uint8_t* stored, int64_t n, float* out) {
  for_runs(n, [&](int64_t at, int count) TROPILLA_LANES_LAMBDA {
    store_floats(from_bits(load_halves(stored + 2 * at, count) << 16), count, out + at);
  });
}

Encoding encode_f32(const float* weights, int64_t n, uint8_t* out) {
  copy_bytes(out, weights, 4 * n);
  return Encoding::ok;
}

// Infinities stay; what only float16 makes infinite is too large.
Encoding encode_f16(const float* weights, int64_t n, uint8_t* out) {
  Ints too_large{};
  for_runs(n, [&](int64_t at, int count) TROPILLA_LANES_LAMBDA {
    const Floats x = load_floats(weights + at, count);
    const Ints half = floats_to_half(x);
    const Ints overflowed = (half & 0x7fff) == 0x7c00 ? splat_int(1) : Ints{};
    too_large |= magnitude(x) <= splat(kLargestFloat) ? overflowed : Ints{};
    store_halves(half, count, out + 2 * at);
  });
  return any(too_large) ? Encoding::too_large : Encoding::ok;
}

Encoding encode_bf16(const float* weights, int64_t n, uint8_t* out) {
  for_runs(n, [&](int64_t at, int count) TROPILLA_LANES_LAMBDA {
    store_halves(floats_to_bf16(load_floats(weights + at, count)), count, out + 2 * at);
  });
  return Encoding::ok;
}

}  // namespace
}  // namespace tropilla
