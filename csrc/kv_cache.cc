#include "kv_cache.h"

#include <cstring>

namespace tropilla {
namespace {

int64_t cell_bytes(KVType type) { return type == KVType::F32 ? sizeof(float) : sizeof(uint16_t); }

}  // namespace

KVCache::KVCache(KVType type, int64_t n_blocks, int64_t n_layers, int64_t n_kv_heads, int64_t head_dim)
    : type_(type),
      n_blocks_(n_blocks),
      n_layers_(n_layers),
      n_kv_heads_(n_kv_heads),
      head_dim_(head_dim),
      row_bytes_(head_dim * cell_bytes(type)),
      cells_(size_product({n_blocks, n_layers, 2, n_kv_heads, kKVBlockTokens, row_bytes_})) {}

void KVCache::put(const Kernels& kernels, int64_t block, int64_t layer, int64_t kv_head, int64_t slot,
                  const float* key, const float* value) const {
  put_row(kernels, key, at(block, layer, 0, kv_head, slot));
  put_row(kernels, value, at(block, layer, 1, kv_head, slot));
}

void KVCache::put_row(const Kernels& kernels, const float* row, uint8_t* out) const {
  if (type_ == KVType::F16) return kernels.to_f16(row, head_dim_, reinterpret_cast<uint16_t*>(out));
  std::memcpy(out, row, static_cast<size_t>(row_bytes_));
}

}  // namespace tropilla
