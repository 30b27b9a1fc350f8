#include "kv_cache.h"

namespace tropilla {

KVCache::KVCache(int64_t n_blocks, int64_t n_layers, int64_t n_kv_heads, int64_t head_dim)
    : n_blocks_(n_blocks),
      n_layers_(n_layers),
      n_kv_heads_(n_kv_heads),
      head_dim_(head_dim),
      values_(n_blocks * n_layers * 2 * n_kv_heads * kKVBlockTokens * head_dim) {}

}  // namespace tropilla
