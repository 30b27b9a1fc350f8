#include "kv_cache.h"

#include "kernels/kv_put.h"

namespace tropilla {

KVCache::KVCache(KVType type, int64_t n_blocks, int64_t n_layers, int64_t n_kv_heads, int64_t head_dim)
    : type_(type),
      n_blocks_(n_blocks),
      n_layers_(n_layers),
      n_kv_heads_(n_kv_heads),
      head_dim_(head_dim),
      cells_(size_product({n_blocks, n_layers, n_kv_heads, 2, kv_bytes(type, head_dim)})) {}

void KVCache::put(const Kernels& kernels, int64_t block, int64_t layer, int64_t kv_head, int64_t slot,
                  const float* key, const float* value) const {
  uint8_t* keys = at(block, layer, kv_head);
  put_key(kernels, type_, key, head_dim_, slot, keys);
  put_value(kernels, type_, value, head_dim_, slot, keys + kv_bytes(type_, head_dim_));
}

}  // namespace tropilla
