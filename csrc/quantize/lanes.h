// Numbers side by side, one for each of kLanes blocks: what is done to one block is done to all of them,
// in the same order of operations, so that every vector width writes the same bytes.
//
// Instruction-set files include this header: no standard library beyond <cstdint>.
#pragma once

#include <cstdint>

#if defined(__GNUC__) || defined(__clang__)
#define TROPILLA_LANES_INLINE [[gnu::always_inline]] inline
#define TROPILLA_LANES_LAMBDA __attribute__((always_inline))
#else
#include <bit>
#include <cstring>
#define TROPILLA_LANES_INLINE inline
#define TROPILLA_LANES_LAMBDA
#endif

namespace tropilla {
namespace {

#if defined(__GNUC__) || defined(__clang__)
#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif
typedef float Floats __attribute__((vector_size(4 * kLanes)));
typedef int32_t Ints __attribute__((vector_size(4 * kLanes)));
TROPILLA_LANES_INLINE Floats to_floats(Ints x) { return __builtin_convertvector(x, Floats); }
TROPILLA_LANES_INLINE Ints to_ints(Floats x) { return __builtin_convertvector(x, Ints); }  // towards zero
TROPILLA_LANES_INLINE Ints bits_of(Floats x) { return (Ints)x; }
TROPILLA_LANES_INLINE Floats from_bits(Ints x) { return (Floats)x; }
TROPILLA_LANES_INLINE float* lanes_of(Floats& x) { return reinterpret_cast<float*>(&x); }
TROPILLA_LANES_INLINE int32_t* lanes_of(Ints& x) { return reinterpret_cast<int32_t*>(&x); }
TROPILLA_LANES_INLINE const int32_t* lanes_of(const Ints& x) { return reinterpret_cast<const int32_t*>(&x); }
#else
constexpr int kLanes = 1;
using Floats = float;
using Ints = int32_t;
inline Floats to_floats(Ints x) { return static_cast<float>(x); }
inline Ints to_ints(Floats x) { return static_cast<int32_t>(x); }
inline Ints bits_of(Floats x) { return std::bit_cast<Ints>(x); }
inline Floats from_bits(Ints x) { return std::bit_cast<Floats>(x); }
inline float* lanes_of(Floats& x) { return &x; }
inline int32_t* lanes_of(Ints& x) { return &x; }
inline const int32_t* lanes_of(const Ints& x) { return &x; }
#endif

TROPILLA_LANES_INLINE Floats splat(float x) { return Floats{} + x; }
TROPILLA_LANES_INLINE Ints splat_int(int32_t x) { return Ints{} + x; }
TROPILLA_LANES_INLINE Floats min(Floats a, Floats b) { return a < b ? a : b; }
TROPILLA_LANES_INLINE Floats max(Floats a, Floats b) { return a > b ? a : b; }
TROPILLA_LANES_INLINE Floats magnitude(Floats x) { return from_bits(bits_of(x) & 0x7fffffff); }

// To the nearest whole number, ties to even, for magnitudes below 2^22: the sum has no bits for more.
TROPILLA_LANES_INLINE Floats round(Floats x) { return (x + 0x1.8p23f) - 0x1.8p23f; }

TROPILLA_LANES_INLINE bool any(Ints x) {
  for (int lane = 0; lane < kLanes; ++lane) {
    if (lanes_of(x)[lane] != 0) return true;
  }
  return false;
}

TROPILLA_LANES_INLINE void copy_bytes(void* to, const void* from, int64_t count) {
#if defined(__GNUC__) || defined(__clang__)
  __builtin_memcpy(to, from, static_cast<decltype(sizeof 0)>(count));
#else
  std::memcpy(to, from, size_t(count));
#endif
}

constexpr float kLargestFloat = 0x1.fffffep127f;

// a / b, and 0 where b is 0.
TROPILLA_LANES_INLINE Floats ratio(Floats a, Floats b) {
  const Floats zero{};
  const Floats one = splat(1);
  return b == zero ? zero : a / (b == zero ? one : b);
}

// 1 / scale, and 0 where that is no finite number: such blocks hold nothing that float16 could scale.
TROPILLA_LANES_INLINE Floats inverse_of(Floats scale) {
  const Floats inverse = ratio(splat(1), scale);
  return magnitude(inverse) <= splat(kLargestFloat) ? inverse : Floats{};
}

}  // namespace
}  // namespace tropilla
