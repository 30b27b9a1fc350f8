// What every instruction-set file includes before its own vectors: no standard library beyond <cstdint>,
// whose inline functions, compiled with an instruction set's flags, could end up in everybody's program.
#pragma once

#include <cstdint>

#include "kernels/blocks.h"
#include "kernels/kernels.h"
#include "kernels/quantize_rule.h"
#include "kernels/tables.h"

// Register tiles exist only if the calls inside them and the loops over them are gone.
#if defined(__GNUC__) || defined(__clang__)
#define TROPILLA_INLINE [[gnu::always_inline]] inline
#else
#define TROPILLA_INLINE __forceinline
#endif
#if defined(__clang__)
#define TROPILLA_UNROLL _Pragma("unroll")
#elif defined(__GNUC__)
#define TROPILLA_UNROLL _Pragma("GCC unroll 16")
#else
#define TROPILLA_UNROLL
#endif

// Four activations as one number, wherever they lie.
#if defined(__GNUC__) || defined(__clang__)
using UnalignedWord [[gnu::may_alias, gnu::aligned(1)]] = int32_t;
#else
using UnalignedWord = int32_t;
#endif

// Asks the second-level cache for the line at an address, which need not be valid. The first level has
// room for too few lines on their way to keep memory busy.
TROPILLA_INLINE void prefetch([[maybe_unused]] const uint8_t* address) {
#if defined(__GNUC__) || defined(__clang__)
  __builtin_prefetch(address, 0, 2);
#elif defined(_M_X64)
  _mm_prefetch(reinterpret_cast<const char*>(address), _MM_HINT_T1);
#endif
}
