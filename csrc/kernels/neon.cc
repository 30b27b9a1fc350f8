// NEON with the dot product extension: vectors of 4 rows, four for a tile.
#include <arm_neon.h>

#include "kernels/simd_prelude.h"

namespace tropilla {
namespace {

constexpr int kLanes = 4;
// 8 tokens of one vector of rows, 4 of two or 2 of four: 8 of 32 registers hold accumulators, 8 weights.
constexpr int kMaxTokens = 8;
// Attention: 8 rows by 2 vectors: 16 of 32 registers hold sums.
constexpr int kMaxQueries = 8;

using Floats = float32x4_t;
using Ints = int32x4_t;
using Bytes = uint8x16_t;

TROPILLA_INLINE Floats splat(float x) { return vdupq_n_f32(x); }
TROPILLA_INLINE Floats load(const float* x) { return vld1q_f32(x); }
TROPILLA_INLINE void store(float* out, Floats x) { vst1q_f32(out, x); }
TROPILLA_INLINE Floats add(Floats a, Floats b) { return vaddq_f32(a, b); }
TROPILLA_INLINE Floats sub(Floats a, Floats b) { return vsubq_f32(a, b); }
TROPILLA_INLINE Floats mul(Floats a, Floats b) { return vmulq_f32(a, b); }
TROPILLA_INLINE Floats div(Floats a, Floats b) { return vdivq_f32(a, b); }
TROPILLA_INLINE Floats fma(Floats a, Floats b, Floats c) { return vfmaq_f32(c, a, b); }
TROPILLA_INLINE Floats min(Floats a, Floats b) { return vminq_f32(a, b); }  // NaN if either is
TROPILLA_INLINE Floats max(Floats a, Floats b) { return vmaxq_f32(a, b); }  // NaN if either is
TROPILLA_INLINE float sum_of(Floats x) { return vaddvq_f32(x); }
TROPILLA_INLINE float max_of(Floats x) { return vmaxvq_f32(x); }
TROPILLA_INLINE float square_root(float x) { return vget_lane_f32(vsqrt_f32(vdup_n_f32(x)), 0); }

TROPILLA_INLINE Ints splat_int(int32_t x) { return vdupq_n_s32(x); }
TROPILLA_INLINE Ints add_ints(Ints a, Ints b) { return vaddq_s32(a, b); }
TROPILLA_INLINE Ints sub_ints(Ints a, Ints b) { return vsubq_s32(a, b); }
TROPILLA_INLINE Ints and_ints(Ints a, Ints b) { return vandq_s32(a, b); }
TROPILLA_INLINE Ints or_ints(Ints a, Ints b) { return vorrq_s32(a, b); }
TROPILLA_INLINE Ints max_ints(Ints a, Ints b) { return vmaxq_s32(a, b); }
TROPILLA_INLINE int32_t max_of_ints(Ints x) { return vmaxvq_s32(x); }
TROPILLA_INLINE int32_t sum_of_ints(Ints x) { return vaddvq_s32(x); }
TROPILLA_INLINE Floats to_floats(Ints x) { return vcvtq_f32_s32(x); }
TROPILLA_INLINE Ints round_to_ints(Floats x) { return vcvtnq_s32_f32(x); }  // ties to even
TROPILLA_INLINE Floats as_floats(Ints x) { return vreinterpretq_f32_s32(x); }
TROPILLA_INLINE float as_float(int32_t x) { return vget_lane_f32(vreinterpret_f32_s32(vdup_n_s32(x)), 0); }
TROPILLA_INLINE Ints magnitude_bits(Floats x) { return vreinterpretq_s32_f32(vabsq_f32(x)); }

// Left by n; arithmetically right by -n.
template <int n>
TROPILLA_INLINE Ints shift_ints(Ints x) {
  return vshlq_s32(x, vdupq_n_s32(n));
}
TROPILLA_INLINE Ints shift_ints_by(Ints x, int right) { return vshlq_s32(x, vdupq_n_s32(-right)); }

TROPILLA_INLINE uint8x8_t load_four(const uint8_t* x) {
  return vreinterpret_u8_s32(vdup_n_s32(*reinterpret_cast<const UnalignedWord*>(x)));
}
TROPILLA_INLINE Ints load_u8(const uint8_t* x) {
  return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(vmovl_u8(load_four(x)))));
}
TROPILLA_INLINE Ints load_i8(const uint8_t* x) {
  return vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_u8(load_four(x)))));
}
TROPILLA_INLINE void store_i8(int8_t* out, Ints x) {
  const int16x4_t words = vmovn_s32(x);
  const int8x8_t bytes = vmovn_s16(vcombine_s16(words, words));
  *reinterpret_cast<UnalignedWord*>(out) = vget_lane_s32(vreinterpret_s32_s8(bytes), 0);
}
TROPILLA_INLINE uint16x4_t load_halves(const uint8_t* x) { return vreinterpret_u16_u8(vld1_u8(x)); }
TROPILLA_INLINE Floats load_f16(const uint8_t* x) { return vcvt_f32_f16(vreinterpret_f16_u16(load_halves(x))); }
TROPILLA_INLINE void store_f16(uint16_t* out, Floats x) { vst1_u16(out, vreinterpret_u16_f16(vcvt_f16_f32(x))); }

template <TensorType type>
TROPILLA_INLINE Floats load_weights(const uint8_t* x) {
  if constexpr (type == TensorType::F32) return vreinterpretq_f32_u8(vld1q_u8(x));
  if constexpr (type == TensorType::F16) return load_f16(x);
  return vreinterpretq_f32_u32(vshll_n_u16(load_halves(x), 16));
}

// turn holds pairs (cos, sin): (a, b) becomes (a cos - b sin, b cos + a sin).
TROPILLA_INLINE Floats rotate_pairs(Floats x, Floats turn) {
  const Floats signs = vreinterpretq_f32_u64(vdupq_n_u64(0x3f800000bf800000));  // -1, 1
  const Floats sines = mul(vtrn2q_f32(turn, turn), signs);
  return fma(x, vtrn1q_f32(turn, turn), mul(vrev64q_f32(x), sines));
}

TROPILLA_INLINE Bytes load_bytes(const uint8_t* x) { return vld1q_u8(x); }
TROPILLA_INLINE Bytes load_table(const int8_t* x) { return vreinterpretq_u8_s8(vld1q_s8(x)); }
TROPILLA_INLINE Bytes splat_byte(int x) { return vdupq_n_u8(uint8_t(x)); }
TROPILLA_INLINE Bytes and_bytes(Bytes a, Bytes b) { return vandq_u8(a, b); }
TROPILLA_INLINE Bytes or_bytes(Bytes a, Bytes b) { return vorrq_u8(a, b); }
TROPILLA_INLINE Bytes lookup(Bytes table, Bytes indices) { return vqtbl1q_u8(table, indices); }

// Left by n or right by -n, each byte by itself.
template <int n>
TROPILLA_INLINE Bytes shift_bytes(Bytes x) {
  return vshlq_u8(x, vdupq_n_s8(n));
}

// vdotq multiplies signed by signed: codes below 128 are the same either way.
constexpr int kSignedZero = 0;
TROPILLA_INLINE Bytes signed_operand(Bytes x) { return x; }

// start + weights of 4 rows x 16 columns times 16 activations.
template <int max_code>
TROPILLA_INLINE Ints dot16(Ints start, const Bytes weights[4], const int8_t* q) {
  const int8x16_t columns = vld1q_s8(q);
  start = vdotq_laneq_s32(start, vreinterpretq_s8_u8(weights[0]), columns, 0);
  start = vdotq_laneq_s32(start, vreinterpretq_s8_u8(weights[1]), columns, 1);
  start = vdotq_laneq_s32(start, vreinterpretq_s8_u8(weights[2]), columns, 2);
  return vdotq_laneq_s32(start, vreinterpretq_s8_u8(weights[3]), columns, 3);
}

#include "kernels/simd_unpack.h"
#include "kernels/simd_matmul.h"
#include "kernels/simd_math.h"
#include "kernels/simd_attend.h"
#include "kernels/simd_table.h"

}  // namespace

constinit const Kernels kNeonKernels = table("neon", WeightTypes{});

}  // namespace tropilla
