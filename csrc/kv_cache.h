// Keys and values of all sequences, in pages that sequences share.
//
// A block holds kKVBlockTokens tokens of all layers: [layer][kv_head][k|v], each as kv_block.h says.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/kernels.h"
#include "pages.h"

namespace tropilla {

class KVCache {
 public:
  KVCache() = default;
  KVCache(KVType type, int64_t n_blocks, int64_t n_layers, int64_t n_kv_heads, int64_t head_dim);

  KVType type() const { return type_; }
  int64_t n_blocks() const { return n_blocks_; }
  int64_t size_bytes() const { return cells_.size_bytes(); }
  // Of one block, layer and head.
  const uint8_t* keys(int64_t block, int64_t layer, int64_t kv_head) const { return at(block, layer, kv_head); }
  const uint8_t* values(int64_t block, int64_t layer, int64_t kv_head) const {
    return at(block, layer, kv_head) + kv_bytes(type_, head_dim_);
  }
  // All that one block holds; the same bytes in another block are the same keys and values.
  std::span<uint8_t> block(int64_t i) const {
    const int64_t size = n_layers_ * n_kv_heads_ * 2 * kv_bytes(type_, head_dim_);
    return {cells_.data() + i * size, static_cast<size_t>(size)};
  }
  // Keeps one token's key and value of a head, (head_dim) each.
  void put(const Kernels& kernels, int64_t block, int64_t layer, int64_t kv_head, int64_t slot, const float* key,
           const float* value) const;

 private:
  uint8_t* at(int64_t block, int64_t layer, int64_t kv_head) const {
    return cells_.data() + ((block * n_layers_ + layer) * n_kv_heads_ + kv_head) * 2 * kv_bytes(type_, head_dim_);
  }

  KVType type_ = KVType::F16;
  int64_t n_blocks_ = 0, n_layers_ = 0, n_kv_heads_ = 0, head_dim_ = 0;
  PageArray<uint8_t> cells_;
};

}  // namespace tropilla
