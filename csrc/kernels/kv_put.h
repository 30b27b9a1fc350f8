// How keys and values enter a KV block; see kv_block.h for the layout.
#pragma once

#include <cstdint>

#include "kernels/kernels.h"

namespace tropilla {

// Puts one token's key, (head_dim), into a slot of a block's keys.
void put_key(const Kernels& kernels, KVType type, const float* key, int64_t head_dim, int64_t slot, uint8_t* keys);
// Puts its value, (head_dim), into a slot of the block's values.
void put_value(const Kernels& kernels, KVType type, const float* value, int64_t head_dim, int64_t slot,
               uint8_t* values);

}  // namespace tropilla
