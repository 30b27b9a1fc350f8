// Keys and values of all sequences, in pages that sequences share.
//
// A block holds kKVBlockTokens tokens of all layers: [layer][k|v][kv_head][slot][head_dim].
// Within a layer and head the keys of a block lie together, as attention reads them.
#pragma once

#include <cstdint>

#include "kernels/kernels.h"
#include "pages.h"

namespace tropilla {

inline constexpr int64_t kKVBlockTokens = 32;

class KVCache {
 public:
  KVCache() = default;
  KVCache(KVType type, int64_t n_blocks, int64_t n_layers, int64_t n_kv_heads, int64_t head_dim);

  KVType type() const { return type_; }
  int64_t n_blocks() const { return n_blocks_; }
  int64_t size_bytes() const { return cells_.size_bytes(); }
  // (kKVBlockTokens, head_dim) of one block, layer and head.
  const void* keys(int64_t block, int64_t layer, int64_t kv_head) const { return at(block, layer, 0, kv_head, 0); }
  const void* values(int64_t block, int64_t layer, int64_t kv_head) const { return at(block, layer, 1, kv_head, 0); }
  // Keeps one token's key and value of a head, (head_dim) each.
  void put(const Kernels& kernels, int64_t block, int64_t layer, int64_t kv_head, int64_t slot, const float* key,
           const float* value) const;

 private:
  uint8_t* at(int64_t block, int64_t layer, int64_t which, int64_t kv_head, int64_t slot) const {
    const int64_t page = ((block * n_layers_ + layer) * 2 + which) * n_kv_heads_ + kv_head;
    return cells_.data() + (page * kKVBlockTokens + slot) * row_bytes_;
  }
  void put_row(const Kernels& kernels, const float* row, uint8_t* out) const;

  KVType type_ = KVType::F16;
  int64_t n_blocks_ = 0, n_layers_ = 0, n_kv_heads_ = 0, head_dim_ = 0, row_bytes_ = 0;
  PageArray<uint8_t> cells_;
};

}  // namespace tropilla
