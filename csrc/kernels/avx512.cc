// AVX-512 with VNNI: vectors of 16 rows, so that one vector spans a tile.
#include <immintrin.h>

#include "kernels/simd_prelude.h"

namespace tropilla {
namespace {

constexpr int kLanes = 16;
// 8 tokens: 64 dot products for 8 unpacked vectors. 12 are 3 % slower for most types (docs/log.md).
constexpr int kMaxTokens = 8;
// Attention: 8 rows by 2 vectors: 16 sums, with two vectors of keys and a broadcast for each row.
constexpr int kMaxQueries = 8;

using Floats = __m512;
using Ints = __m512i;
using Bytes = __m512i;

TROPILLA_INLINE Floats splat(float x) { return _mm512_set1_ps(x); }
TROPILLA_INLINE Floats load(const float* x) { return _mm512_loadu_ps(x); }
TROPILLA_INLINE void store(float* out, Floats x) { _mm512_storeu_ps(out, x); }
TROPILLA_INLINE Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
TROPILLA_INLINE Floats sub(Floats a, Floats b) { return _mm512_sub_ps(a, b); }
TROPILLA_INLINE Floats mul(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
TROPILLA_INLINE Floats div(Floats a, Floats b) { return _mm512_div_ps(a, b); }
TROPILLA_INLINE Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
TROPILLA_INLINE Floats min(Floats a, Floats b) { return _mm512_min_ps(a, b); }  // b if either is NaN
TROPILLA_INLINE Floats max(Floats a, Floats b) { return _mm512_max_ps(a, b); }  // b if either is NaN
TROPILLA_INLINE float sum_of(Floats x) { return _mm512_reduce_add_ps(x); }
TROPILLA_INLINE float max_of(Floats x) { return _mm512_reduce_max_ps(x); }
TROPILLA_INLINE float square_root(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }

TROPILLA_INLINE Ints splat_int(int32_t x) { return _mm512_set1_epi32(x); }
TROPILLA_INLINE Ints add_ints(Ints a, Ints b) { return _mm512_add_epi32(a, b); }
TROPILLA_INLINE Ints sub_ints(Ints a, Ints b) { return _mm512_sub_epi32(a, b); }
TROPILLA_INLINE Ints and_ints(Ints a, Ints b) { return _mm512_and_si512(a, b); }
TROPILLA_INLINE Ints or_ints(Ints a, Ints b) { return _mm512_or_si512(a, b); }
TROPILLA_INLINE Ints max_ints(Ints a, Ints b) { return _mm512_max_epi32(a, b); }
TROPILLA_INLINE int32_t max_of_ints(Ints x) { return _mm512_reduce_max_epi32(x); }
TROPILLA_INLINE int32_t sum_of_ints(Ints x) { return _mm512_reduce_add_epi32(x); }
TROPILLA_INLINE Floats to_floats(Ints x) { return _mm512_cvtepi32_ps(x); }
TROPILLA_INLINE Ints round_to_ints(Floats x) { return _mm512_cvtps_epi32(x); }  // ties to even
TROPILLA_INLINE Floats as_floats(Ints x) { return _mm512_castsi512_ps(x); }
TROPILLA_INLINE float as_float(int32_t x) { return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(x))); }
TROPILLA_INLINE Ints magnitude_bits(Floats x) { return and_ints(_mm512_castps_si512(x), splat_int(0x7fffffff)); }

// Left by n; arithmetically right by -n.
template <int n>
TROPILLA_INLINE Ints shift_ints(Ints x) {
  if constexpr (n >= 0) return _mm512_slli_epi32(x, unsigned(n));
  return _mm512_srai_epi32(x, unsigned(n < 0 ? -n : 0));
}
TROPILLA_INLINE Ints shift_ints_by(Ints x, int right) { return _mm512_sra_epi32(x, _mm_cvtsi32_si128(right)); }

TROPILLA_INLINE Ints load_u8(const uint8_t* x) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x)));
}
TROPILLA_INLINE Ints load_i8(const uint8_t* x) {
  return _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x)));
}
TROPILLA_INLINE void store_i8(int8_t* out, Ints x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm512_cvtepi32_epi8(x));
}
TROPILLA_INLINE __m256i load_halves(const uint8_t* x) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)); }
TROPILLA_INLINE Floats load_f16(const uint8_t* x) { return _mm512_cvtph_ps(load_halves(x)); }
TROPILLA_INLINE void store_f16(uint16_t* out, Floats x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}

template <TensorType type>
TROPILLA_INLINE Floats load_weights(const uint8_t* x) {
  if constexpr (type == TensorType::F32) return _mm512_loadu_ps(x);
  if constexpr (type == TensorType::F16) return load_f16(x);
  return as_floats(shift_ints<16>(_mm512_cvtepu16_epi32(load_halves(x))));
}

// turn holds pairs (cos, sin): (a, b) becomes (a cos - b sin, b cos + a sin).
TROPILLA_INLINE Floats rotate_pairs(Floats x, Floats turn) {
  const Floats swapped = _mm512_permute_ps(x, 0xb1);
  return _mm512_fmaddsub_ps(x, _mm512_moveldup_ps(turn), mul(swapped, _mm512_movehdup_ps(turn)));
}

TROPILLA_INLINE Bytes load_bytes(const uint8_t* x) { return _mm512_loadu_si512(x); }
TROPILLA_INLINE void store_bytes(uint8_t* out, Bytes x) { _mm512_storeu_si512(out, x); }
TROPILLA_INLINE Bytes load_table(const int8_t* x) {
  return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x)));
}
TROPILLA_INLINE Bytes splat_byte(int x) { return _mm512_set1_epi8(char(x)); }
TROPILLA_INLINE Bytes and_bytes(Bytes a, Bytes b) { return _mm512_and_si512(a, b); }
TROPILLA_INLINE Bytes or_bytes(Bytes a, Bytes b) { return _mm512_or_si512(a, b); }
TROPILLA_INLINE Bytes lookup(Bytes table, Bytes indices) { return _mm512_shuffle_epi8(table, indices); }

// Left by n or right by -n; bits that cross into a neighbouring byte are the caller's to mask.
template <int n>
TROPILLA_INLINE Bytes shift_bytes(Bytes x) {
  if constexpr (n == 0) return x;
  if constexpr (n > 0) return _mm512_slli_epi16(x, unsigned(n));
  return _mm512_srli_epi16(x, unsigned(n < 0 ? -n : 0));
}

// vpdpbusd wants unsigned weights: signed ones are raised by 128.
constexpr int kSignedZero = 128;
TROPILLA_INLINE Bytes signed_operand(Bytes x) { return _mm512_xor_si512(x, splat_byte(128)); }

TROPILLA_INLINE Ints splat_columns(const int8_t* q) {
  return splat_int(*reinterpret_cast<const UnalignedWord*>(q));
}

// sums + weights of 16 rows x 4 columns times 4 activations, repeated for each row.
TROPILLA_INLINE Ints dot4(Ints sums, Bytes weights, Bytes columns) {
  return _mm512_dpbusd_epi32(sums, weights, columns);
}

// start + weights of 16 rows x 16 columns times 16 activations. VNNI neither saturates nor rounds.
template <int max_code>
TROPILLA_INLINE Ints dot16(Ints start, const Bytes weights[4], const int8_t* q) {
  start = _mm512_dpbusd_epi32(start, weights[0], splat_columns(q));
  start = _mm512_dpbusd_epi32(start, weights[1], splat_columns(q + 4));
  start = _mm512_dpbusd_epi32(start, weights[2], splat_columns(q + 8));
  return _mm512_dpbusd_epi32(start, weights[3], splat_columns(q + 12));
}

#include "kernels/simd_unpack.h"
#include "kernels/simd_matmul.h"
#include "kernels/simd_gemm.h"
#define TROPILLA_PAIRS
#include "kernels/simd_math.h"
#include "kernels/simd_attend.h"
#include "kernels/simd_table.h"

}  // namespace

constinit const Kernels kAvx512Kernels = table("avx512", WeightTypes{});

}  // namespace tropilla
