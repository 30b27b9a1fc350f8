// How the keys and values that one head has in a KV block lie in memory.
//
//   keys    [head_dim][kKVBlockTokens]: a vector holds one dimension of neighbouring keys, so that
//           scores need no sum across lanes
//   values  [kKVBlockTokens][kv_width]: a vector holds neighbouring dimensions of one value
//
// Both take kv_bytes(). Quantized ones are codes in this order, one byte each for Q8_0. For Q4_0 a byte
// holds dimension 32 g + i in its low half and 32 g + 16 + i in its high one, i < 16, plus 8: there are
// half as many rows of keys, and values are half as long. Scales in f16 follow the codes, for keys and
// values alike: [head_dim / kKVGroup][kKVBlockTokens].
//
// Instruction-set files include this header: no standard library but <cstdint>.
#pragma once

#include <cstdint>

namespace tropilla {

// What keys and values are kept as.
enum class KVType : int32_t { F16 = 0, F32 = 1, Q8_0 = 2, Q4_0 = 3 };
inline constexpr int kKVTypes = 4;
constexpr bool is_quantized(KVType type) { return type == KVType::Q8_0 || type == KVType::Q4_0; }
// Four bits hold keys and values whose dimensions are alike in size: queries, keys and values are turned by
// hadamard() before, and what attention gathers is turned back.
constexpr bool is_turned(KVType type) { return type == KVType::Q4_0; }

// Tokens of a block.
inline constexpr int kKVBlockTokens = 32;
// Dimensions of one key or value that share a scale; quantized heads are a multiple of it long.
inline constexpr int kKVGroup = 32;

// Values are padded to whole vectors of every instruction set; what the padding holds is never read
// into a result.
constexpr int64_t kv_width(int64_t head_dim) { return (head_dim + 15) / 16 * 16; }

// The cells of a block's keys, or of its values, without scales.
constexpr int64_t kv_cells_bytes(KVType type, int64_t head_dim) {
  const int64_t cells = kKVBlockTokens * kv_width(head_dim);
  switch (type) {
    case KVType::F32: return 4 * cells;
    case KVType::F16: return 2 * cells;
    case KVType::Q8_0: return cells;
    case KVType::Q4_0: return cells / 2;
  }
  return 0;
}

// Of a block's keys, or of its values.
constexpr int64_t kv_bytes(KVType type, int64_t head_dim) {
  const int64_t scales = is_quantized(type) ? head_dim / kKVGroup * kKVBlockTokens : 0;
  return kv_cells_bytes(type, head_dim) + 2 * scales;
}

// Q4_0: the byte of a dimension among those of a key or value, and how far right its code is to be shifted.
constexpr int64_t nibble_byte(int64_t d) { return d / 32 * 16 + d % 16; }
constexpr int nibble_shift(int64_t d) { return d % 32 < 16 ? 0 : 4; }

}  // namespace tropilla
