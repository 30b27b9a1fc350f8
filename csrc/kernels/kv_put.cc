#include "kernels/kv_put.h"

#include <cstring>

namespace tropilla {
namespace {

// Cells of a key go to one slot of every dimension's row.
template <class Cell>
void scatter(const Cell* cells, int64_t n, int64_t slot, uint8_t* keys) {
  Cell* column = reinterpret_cast<Cell*>(keys) + slot;
  for (int64_t d = 0; d < n; ++d) column[d * kKVBlockTokens] = cells[d];
}

void put_f16_key(const Kernels& kernels, const float* key, int64_t head_dim, int64_t slot, uint8_t* keys) {
  constexpr int64_t kAtOnce = 64;
  uint16_t cells[kAtOnce];
  for (int64_t d = 0; d < head_dim; d += kAtOnce) {
    const int64_t n = head_dim - d < kAtOnce ? head_dim - d : kAtOnce;
    kernels.to_f16(key + d, n, cells);
    scatter(cells, n, slot, keys + d * kKVBlockTokens * 2);
  }
}

}  // namespace

void put_key(const Kernels& kernels, KVType type, const float* key, int64_t head_dim, int64_t slot, uint8_t* keys) {
  switch (type) {
    case KVType::F16: return put_f16_key(kernels, key, head_dim, slot, keys);
    case KVType::F32: return scatter(key, head_dim, slot, keys);
  }
}

void put_value(const Kernels& kernels, KVType type, const float* value, int64_t head_dim, int64_t slot,
               uint8_t* values) {
  uint8_t* row = values + slot * kv_bytes(type, head_dim) / kKVBlockTokens;
  switch (type) {
    case KVType::F16: return kernels.to_f16(value, head_dim, reinterpret_cast<uint16_t*>(row));
    case KVType::F32: std::memcpy(row, value, static_cast<size_t>(head_dim) * sizeof(float)); return;
  }
}

}  // namespace tropilla
