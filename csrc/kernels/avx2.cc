// AVX2 with FMA and F16C, without VNNI: vectors of 8 rows, two for a tile.
#include <immintrin.h>

#include "kernels/simd_prelude.h"

namespace tropilla {
namespace {

constexpr int kLanes = 8;
// 4 tokens: as many accumulators as sixteen registers hold beside four weight vectors and the sums.
constexpr int kMaxTokens = 4;
// Attention: 6 rows by 2 vectors: 12 of 16 registers hold sums, two keys and one a query.
constexpr int kMaxQueries = 6;

using Floats = __m256;
using Ints = __m256i;
using Bytes = __m256i;

TROPILLA_INLINE Floats splat(float x) { return _mm256_set1_ps(x); }
TROPILLA_INLINE Floats load(const float* x) { return _mm256_loadu_ps(x); }
TROPILLA_INLINE void store(float* out, Floats x) { _mm256_storeu_ps(out, x); }
TROPILLA_INLINE Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
TROPILLA_INLINE Floats sub(Floats a, Floats b) { return _mm256_sub_ps(a, b); }
TROPILLA_INLINE Floats mul(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
TROPILLA_INLINE Floats div(Floats a, Floats b) { return _mm256_div_ps(a, b); }
TROPILLA_INLINE Floats fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
TROPILLA_INLINE Floats min(Floats a, Floats b) { return _mm256_min_ps(a, b); }  // b if either is NaN
TROPILLA_INLINE Floats max(Floats a, Floats b) { return _mm256_max_ps(a, b); }  // b if either is NaN
TROPILLA_INLINE float square_root(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }

TROPILLA_INLINE float sum_of(Floats x) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
TROPILLA_INLINE float max_of(Floats x) {
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

TROPILLA_INLINE Ints splat_int(int32_t x) { return _mm256_set1_epi32(x); }
TROPILLA_INLINE Ints add_ints(Ints a, Ints b) { return _mm256_add_epi32(a, b); }
TROPILLA_INLINE Ints sub_ints(Ints a, Ints b) { return _mm256_sub_epi32(a, b); }
TROPILLA_INLINE Ints and_ints(Ints a, Ints b) { return _mm256_and_si256(a, b); }
TROPILLA_INLINE Ints or_ints(Ints a, Ints b) { return _mm256_or_si256(a, b); }
TROPILLA_INLINE Ints max_ints(Ints a, Ints b) { return _mm256_max_epi32(a, b); }
TROPILLA_INLINE Floats to_floats(Ints x) { return _mm256_cvtepi32_ps(x); }
TROPILLA_INLINE Ints round_to_ints(Floats x) { return _mm256_cvtps_epi32(x); }  // ties to even
TROPILLA_INLINE Floats as_floats(Ints x) { return _mm256_castsi256_ps(x); }
TROPILLA_INLINE float as_float(int32_t x) { return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(x))); }
TROPILLA_INLINE Ints magnitude_bits(Floats x) { return and_ints(_mm256_castps_si256(x), splat_int(0x7fffffff)); }

TROPILLA_INLINE __m128i low_half(Ints x) { return _mm256_castsi256_si128(x); }
TROPILLA_INLINE __m128i high_half(Ints x) { return _mm256_extracti128_si256(x, 1); }
TROPILLA_INLINE int32_t max_of_ints(Ints x) {
  const __m128i four = _mm_max_epi32(low_half(x), high_half(x));
  const __m128i two = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_max_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}
TROPILLA_INLINE int32_t sum_of_ints(Ints x) {
  const __m128i four = _mm_add_epi32(low_half(x), high_half(x));
  const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}

// Left by n; arithmetically right by -n.
template <int n>
TROPILLA_INLINE Ints shift_ints(Ints x) {
  if constexpr (n >= 0) return _mm256_slli_epi32(x, n);
  return _mm256_srai_epi32(x, n < 0 ? -n : 0);
}
TROPILLA_INLINE Ints shift_ints_by(Ints x, int right) { return _mm256_sra_epi32(x, _mm_cvtsi32_si128(right)); }

TROPILLA_INLINE Ints load_u8(const uint8_t* x) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(x)));
}
TROPILLA_INLINE Ints load_i8(const uint8_t* x) {
  return _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(x)));
}
TROPILLA_INLINE void store_i8(int8_t* out, Ints x) {
  const __m128i words = _mm_packs_epi32(low_half(x), high_half(x));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(out), _mm_packs_epi16(words, words));
}
TROPILLA_INLINE __m128i load_halves(const uint8_t* x) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(x)); }
TROPILLA_INLINE Floats load_f16(const uint8_t* x) { return _mm256_cvtph_ps(load_halves(x)); }
TROPILLA_INLINE void store_f16(uint16_t* out, Floats x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}

template <TensorType type>
TROPILLA_INLINE Floats load_weights(const uint8_t* x) {
  if constexpr (type == TensorType::F32) return _mm256_loadu_ps(reinterpret_cast<const float*>(x));
  if constexpr (type == TensorType::F16) return load_f16(x);
  return as_floats(shift_ints<16>(_mm256_cvtepu16_epi32(load_halves(x))));
}

// turn holds pairs (cos, sin): (a, b) becomes (a cos - b sin, b cos + a sin).
TROPILLA_INLINE Floats rotate_pairs(Floats x, Floats turn) {
  const Floats swapped = _mm256_permute_ps(x, 0xb1);
  return _mm256_fmaddsub_ps(x, _mm256_moveldup_ps(turn), mul(swapped, _mm256_movehdup_ps(turn)));
}

TROPILLA_INLINE Bytes load_bytes(const uint8_t* x) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)); }
TROPILLA_INLINE Bytes load_table(const int8_t* x) {
  return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x)));
}
TROPILLA_INLINE Bytes splat_byte(int x) { return _mm256_set1_epi8(char(x)); }
TROPILLA_INLINE Bytes and_bytes(Bytes a, Bytes b) { return _mm256_and_si256(a, b); }
TROPILLA_INLINE Bytes or_bytes(Bytes a, Bytes b) { return _mm256_or_si256(a, b); }
TROPILLA_INLINE Bytes lookup(Bytes table, Bytes indices) { return _mm256_shuffle_epi8(table, indices); }

// Left by n or right by -n; bits that cross into a neighbouring byte are the caller's to mask.
template <int n>
TROPILLA_INLINE Bytes shift_bytes(Bytes x) {
  if constexpr (n == 0) return x;
  if constexpr (n > 0) return _mm256_slli_epi16(x, n);
  return _mm256_srli_epi16(x, n < 0 ? -n : 0);
}

constexpr int kSignedZero = 0;
TROPILLA_INLINE Bytes signed_operand(Bytes x) { return x; }

TROPILLA_INLINE Ints splat_columns(const int8_t* q) {
  return splat_int(*reinterpret_cast<const UnalignedWord*>(q));
}

// Sums of pairs of products, 16 bits each: vpmaddubsw saturates, so every path below says why it cannot.
TROPILLA_INLINE Ints pairs(Bytes weights, Bytes q) { return _mm256_maddubs_epi16(weights, q); }
// A pair is at most 2 * 128 * 127: vpmaddubsw wants the weights unsigned, so their signs go to q.
TROPILLA_INLINE Ints signed_pairs(Bytes weights, Bytes q) {
  return pairs(_mm256_abs_epi8(weights), _mm256_sign_epi8(q, weights));
}
TROPILLA_INLINE Ints add_pairs(Ints a, Ints b) { return _mm256_add_epi16(a, b); }
TROPILLA_INLINE Ints widen(Ints pairs) { return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)); }

// start + weights of 8 rows x 16 columns times 16 activations.
template <int max_code>
TROPILLA_INLINE Ints dot16(Ints start, const Bytes weights[4], const int8_t* q) {
  const Bytes columns[4] = {splat_columns(q), splat_columns(q + 4), splat_columns(q + 8), splat_columns(q + 12)};
  if constexpr (max_code == 128) {
    for (int i = 0; i < 4; ++i) start = add_ints(start, widen(signed_pairs(weights[i], columns[i])));
    return start;
  }
  const Ints first = add_pairs(pairs(weights[0], columns[0]), pairs(weights[1], columns[1]));
  const Ints second = add_pairs(pairs(weights[2], columns[2]), pairs(weights[3], columns[3]));
  if constexpr (max_code * 127 * 2 * 4 <= 32767) return add_ints(start, widen(add_pairs(first, second)));
  static_assert(max_code == 128 || max_code * 127 * 2 * 2 <= 32767);
  return add_ints(start, add_ints(widen(first), widen(second)));
}

#include "kernels/simd_unpack.h"
#include "kernels/simd_matmul.h"
#include "kernels/simd_math.h"
#include "kernels/simd_attend.h"
#include "kernels/simd_table.h"

}  // namespace

constinit const Kernels kAvx2Kernels = table("avx2", WeightTypes{});

}  // namespace tropilla
