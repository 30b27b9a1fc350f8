// How activations become int8; every instruction set gives the same bits.
//
// amax is the largest magnitude of 32 columns, compared as bit patterns, so that an infinity or a
// NaN wins and reaches the output through the scale. q = x * inverse, rounded to nearest, ties to
// even: in [-127, 127], because |x| <= amax and the two roundings cannot reach 127.5. Where inverse
// is 0, all q are 0.
//
// Instruction-set files include this header: no standard library beyond <cstdint>.
#pragma once

namespace tropilla::quantize_rule {

// Below this, 127 / amax could overflow; such a block counts as zero.
inline constexpr float kSmallest = 0x1p-100f;
inline constexpr float kLargest = 0x1.fffffep127f;

inline constexpr float scale(float amax) { return amax < kSmallest ? 0.0f : amax / 127.0f; }

// 0 for NaN and infinity too: both comparisons must hold.
inline constexpr float inverse(float amax) {
  return amax >= kSmallest && amax <= kLargest ? 127.0f / amax : 0.0f;
}

}  // namespace tropilla::quantize_rule
