// Conversions between float32 and the 16-bit floats, a vector at a time; kernels/f16.h states them for one.
#pragma once

#include "quantize/lanes.h"

namespace tropilla {
namespace {

TROPILLA_LANES_INLINE Floats half_to_floats(Ints half) {
  const Ints sign = (half & 0x8000) << 16;
  const Ints rest = half & 0x7fff;
  const Ints finite = bits_of(from_bits(rest << 13) * 0x1p112f);
  return from_bits(sign | (rest >= 0x7c00 ? 0x7f800000 | rest << 13 : finite));
}

TROPILLA_LANES_INLINE Ints floats_to_half(Floats x) {
  const Ints bits = bits_of(x);
  const Ints rest = bits & 0x7fffffff;
  const Ints normal = (rest - 0x38000000 + 0xfff + (rest >> 13 & 1)) >> 13;
  const Ints subnormal = bits_of(from_bits(rest) + 0.5f) - 0x3f000000;
  const Ints finite = rest < 0x38800000 ? subnormal : normal;
  const Ints special = rest > 0x7f800000 ? 0x7e00 | (rest >> 13 & 0x3ff) : splat_int(0x7c00);
  return (bits >> 16 & 0x8000) | (rest >= 0x477ff000 ? special : finite);
}

// A NaN stays one even where its payload is in the bits that are cut.
TROPILLA_LANES_INLINE Ints floats_to_bf16(Floats x) {
  const Ints bits = bits_of(x);
  const Ints upper = bits >> 16 & 0xffff;
  const Ints rest = bits & 0x7fffffff;
  const Ints nearest = (rest + 0x7fff + (upper & 1)) >> 16;
  return rest > 0x7f800000 ? upper | 0x40 : (upper & 0x8000) | nearest;
}

TROPILLA_LANES_INLINE Floats through_half(Floats x) { return half_to_floats(floats_to_half(x)); }

}  // namespace
}  // namespace tropilla
