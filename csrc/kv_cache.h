// Keys and values of all sequences, in pages that sequences share.
//
// A block holds kKVBlockTokens tokens of all layers: [layer][k|v][kv_head][slot][head_dim], f16.
// Within a layer and head the keys of a block lie together, as attention reads them.
#pragma once

#include <cstdint>

#include "pages.h"

namespace tropilla {

inline constexpr int64_t kKVBlockTokens = 32;

class KVCache {
 public:
  KVCache() = default;
  KVCache(int64_t n_blocks, int64_t n_layers, int64_t n_kv_heads, int64_t head_dim);

  int64_t n_blocks() const { return n_blocks_; }
  int64_t size_bytes() const { return values_.size_bytes(); }
  // (kKVBlockTokens, head_dim) of one block, layer and head.
  uint16_t* keys(int64_t block, int64_t layer, int64_t kv_head) const { return at(block, layer, 0, kv_head); }
  uint16_t* values(int64_t block, int64_t layer, int64_t kv_head) const { return at(block, layer, 1, kv_head); }

 private:
  uint16_t* at(int64_t block, int64_t layer, int64_t which, int64_t kv_head) const {
    const int64_t page = ((block * n_layers_ + layer) * 2 + which) * n_kv_heads_ + kv_head;
    return values_.data() + page * kKVBlockTokens * head_dim_;
  }

  int64_t n_blocks_ = 0, n_layers_ = 0, n_kv_heads_ = 0, head_dim_ = 0;
  PageArray<uint16_t> values_;
};

}  // namespace tropilla
