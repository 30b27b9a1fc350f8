#include "kernels/kv_put.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "kernels/f16.h"
#include "kernels/quantize_rule.h"

namespace tropilla {
namespace {

// Some dimensions of a key or value as codes that share a scale.
struct Group {
  uint8_t codes[kKVGroup];  // of Q4_0 two in each of the first half, as kv_block.h says
  uint16_t scale;
};

Group q8_group(const Kernels& kernels, const float* x) {
  static_assert(kKVGroup == kActivationBlock);
  int8_t codes[kKVGroup];
  int32_t sums[kKVGroup / kSumBlock];
  float scale;
  kernels.quantize(x, kKVGroup, codes, &scale, sums);
  Group group;
  std::memcpy(group.codes, codes, sizeof(codes));
  group.scale = f32_to_f16(scale);
  return group;
}

// The element of the largest magnitude; NaN counts as larger than all.
float extreme(const float* x) {
  float most = 0.0f;
  for (int i = 0; i < kKVGroup; ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(x[i]) & 0x7fffffff;
    if (bits > (std::bit_cast<uint32_t>(most) & 0x7fffffff)) most = x[i];
  }
  return most;
}

// The extreme becomes code -8, so that all sixteen codes are of use. What is not finite shows in the scale.
Group q4_group(const float* x) {
  const float scale = extreme(x) / -8.0f;
  const bool usable = std::isfinite(scale) && std::fabs(scale) >= quantize_rule::kSmallest;
  const float inverse = usable ? 1.0f / scale : 0.0f;
  uint8_t codes[kKVGroup];
  for (int i = 0; i < kKVGroup; ++i) {
    const int code = usable ? static_cast<int>(x[i] * inverse + 8.5f) : 8;
    codes[i] = static_cast<uint8_t>(code < 15 ? code : 15);
  }
  Group group;
  for (int i = 0; i < kKVGroup / 2; ++i) {
    group.codes[i] = static_cast<uint8_t>(codes[i] | codes[i + kKVGroup / 2] << 4);
  }
  group.scale = f32_to_f16(std::isfinite(scale) && !usable ? 0.0f : scale);
  return group;
}

Group group_of(const Kernels& kernels, KVType type, const float* x) {
  return type == KVType::Q8_0 ? q8_group(kernels, x) : q4_group(x);
}

void put_scale(KVType type, int64_t head_dim, int64_t d, int64_t slot, uint16_t scale, uint8_t* block) {
  auto* scales = reinterpret_cast<uint16_t*>(block + kv_cells_bytes(type, head_dim));
  scales[d / kKVGroup * kKVBlockTokens + slot] = scale;
}

// Cells of a key go to one slot of neighbouring rows.
template <class Cell>
void scatter(const Cell* cells, int64_t n, int64_t slot, uint8_t* keys) {
  Cell* column = reinterpret_cast<Cell*>(keys) + slot;
  for (int64_t i = 0; i < n; ++i) column[i * kKVBlockTokens] = cells[i];
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

void put_quantized_key(const Kernels& kernels, KVType type, const float* key, int64_t head_dim, int64_t slot,
                       uint8_t* keys) {
  const int64_t rows = kv_cells_bytes(type, kKVGroup) / kKVBlockTokens;
  for (int64_t d = 0; d < head_dim; d += kKVGroup) {
    const Group group = group_of(kernels, type, key + d);
    scatter(group.codes, rows, slot, keys + kv_cells_bytes(type, d));
    put_scale(type, head_dim, d, slot, group.scale, keys);
  }
}

void put_quantized_value(const Kernels& kernels, KVType type, const float* value, int64_t head_dim, int64_t slot,
                         uint8_t* values) {
  const int64_t bytes = kv_cells_bytes(type, kKVGroup) / kKVBlockTokens;
  uint8_t* row = values + slot * kv_cells_bytes(type, head_dim) / kKVBlockTokens;
  for (int64_t d = 0; d < head_dim; d += kKVGroup, row += bytes) {
    const Group group = group_of(kernels, type, value + d);
    std::memcpy(row, group.codes, static_cast<size_t>(bytes));
    put_scale(type, head_dim, d, slot, group.scale, values);
  }
}

}  // namespace

void put_key(const Kernels& kernels, KVType type, const float* key, int64_t head_dim, int64_t slot, uint8_t* keys) {
  if (is_quantized(type)) return put_quantized_key(kernels, type, key, head_dim, slot, keys);
  if (type == KVType::F16) return put_f16_key(kernels, key, head_dim, slot, keys);
  scatter(key, head_dim, slot, keys);
}

void put_value(const Kernels& kernels, KVType type, const float* value, int64_t head_dim, int64_t slot,
               uint8_t* values) {
  if (is_quantized(type)) return put_quantized_value(kernels, type, value, head_dim, slot, values);
  uint8_t* row = values + slot * kv_cells_bytes(type, head_dim) / kKVBlockTokens;
  if (type == KVType::F16) return kernels.to_f16(value, head_dim, reinterpret_cast<uint16_t*>(row));
  std::memcpy(row, value, static_cast<size_t>(head_dim) * sizeof(float));
}

}  // namespace tropilla
