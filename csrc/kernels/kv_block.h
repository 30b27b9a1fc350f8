// How the keys and values that one head has in a KV block lie in memory.
//
//   keys    [head_dim][kKVBlockTokens]: a vector holds one dimension of neighbouring keys, so that
//           scores need no sum across lanes
//   values  [kKVBlockTokens][kv_width]: a vector holds neighbouring dimensions of one value
//
// Both take kv_bytes(). Instruction-set files include this header: no standard library but <cstdint>.
#pragma once

#include <cstdint>

namespace tropilla {

// What keys and values are kept as.
enum class KVType : int32_t { F16 = 0, F32 = 1 };
inline constexpr int kKVTypes = 2;

// Tokens of a block.
inline constexpr int kKVBlockTokens = 32;

// Values are padded to whole vectors of every instruction set; what the padding holds is never read
// into a result.
constexpr int64_t kv_width(int64_t head_dim) { return (head_dim + 15) / 16 * 16; }

// Of a block's keys, or of its values.
constexpr int64_t kv_bytes(KVType type, int64_t head_dim) {
  const int64_t cells = kKVBlockTokens * kv_width(head_dim);
  return type == KVType::F32 ? 4 * cells : 2 * cells;
}

}  // namespace tropilla
