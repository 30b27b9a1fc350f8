// The definition of every kernel: plain C++, compiled without contraction of a * b + c.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

#include "kernels/kernels.h"
#include "kernels/packed.h"
#include "kernels/quantize_rule.h"
#include "kernels/tables.h"

namespace tropilla {
namespace {

// The integers that the scales of 16 columns multiply, for one row.
struct Codes16 {
  int values[kSumBlock];
};

Codes16 codes_of(const BlockFormat& f, const uint8_t* group, int half, int row) {
  Codes16 codes;
  for (int i = 0; i < kSumBlock; ++i) codes.values[i] = packed::code(f, group, row, kSumBlock * half + i);
  return codes;
}

int32_t dot(const Codes16& codes, const int8_t* q) {
  int32_t sum = 0;
  for (int i = 0; i < kSumBlock; ++i) sum += codes.values[i] * q[i];
  return sum;
}

// Adds the products of one row's columns c .. c + 15 to the outputs of all tokens.
void add_columns(const BlockFormat& f, const uint8_t* tile, int row, int64_t c, const Activations& x,
                 int64_t first_token, int64_t n_tokens, float* out, int64_t out_stride) {
  const uint8_t* superblock = tile + c / f.columns * f.bytes();
  const int g = int(c % f.columns / kActivationBlock);
  const int half = int(c % kActivationBlock / kSumBlock);
  const uint8_t* group = superblock + f.codes_offset() + g * f.group_bytes();
  const packed::Affine w = packed::affine(f, superblock, g, half, row);
  const Codes16 codes = codes_of(f, group, half, row);
  for (int64_t t = 0; t < n_tokens; ++t) {
    const int64_t at = (first_token + t) * x.n_cols + c;
    const float sum = w.scale * float(dot(codes, x.q + at)) + w.minimum * float(x.sums[at / kSumBlock]);
    out[t * out_stride + row] += sum * x.scale[at / kActivationBlock];
  }
}

template <TensorType type>
void matmul_integers(const uint8_t* tile, const Activations& x, int64_t first_token, int64_t n_tokens,
                     float* out, int64_t out_stride) {
  for (int64_t t = 0; t < n_tokens; ++t) std::fill_n(out + t * out_stride, kTileRows, 0.0f);
  for (int row = 0; row < kTileRows; ++row) {
    for (int64_t c = 0; c < x.n_cols; c += kSumBlock) {
      add_columns(format_of(type), tile, row, c, x, first_token, n_tokens, out, out_stride);
    }
  }
}

template <TensorType type>
float weight_at(const uint8_t* tile, int64_t i) {
  if constexpr (type == TensorType::F32) {
    float value;
    std::copy_n(tile + 4 * i, 4, reinterpret_cast<uint8_t*>(&value));
    return value;
  }
  const uint16_t half = uint16_t(tile[2 * i] | tile[2 * i + 1] << 8);
  return type == TensorType::F16 ? f16_to_f32(half) : bf16_to_f32(half);
}

template <TensorType type>
void matmul_floats(const uint8_t* tile, const Activations& x, int64_t first_token, int64_t n_tokens,
                   float* out, int64_t out_stride) {
  for (int64_t t = 0; t < n_tokens; ++t) {
    const float* row_of_x = x.f32 + (first_token + t) * x.n_cols;
    for (int row = 0; row < kTileRows; ++row) {
      float sum = 0.0f;
      for (int64_t c = 0; c < x.n_cols; ++c) sum += weight_at<type>(tile, kTileRows * c + row) * row_of_x[c];
      out[t * out_stride + row] = sum;
    }
  }
}

template <TensorType type>
void matmul(const Tiles& tiles, const Activations& x, int64_t first_token, int64_t n_tokens, float* out,
            int64_t out_stride, uint8_t*) {
  for (int64_t i = 0; i < tiles.n; ++i) {
    const uint8_t* tile = tiles.first + i * tiles.stride;
    if constexpr (float_bytes(type) != 0) {
      matmul_floats<type>(tile, x, first_token, n_tokens, out + i * kTileRows, out_stride);
    } else {
      matmul_integers<type>(tile, x, first_token, n_tokens, out + i * kTileRows, out_stride);
    }
  }
}

void quantize_block(const float* x, int8_t* q, float* scale, int32_t* sums) {
  uint32_t amax_bits = 0;
  for (int i = 0; i < kActivationBlock; ++i) {
    amax_bits = std::max(amax_bits, std::bit_cast<uint32_t>(x[i]) & 0x7fffffff);
  }
  const float amax = std::bit_cast<float>(amax_bits);
  *scale = quantize_rule::scale(amax);
  const float inverse = quantize_rule::inverse(amax);
  sums[0] = sums[1] = 0;
  for (int i = 0; i < kActivationBlock; ++i) {
    q[i] = inverse == 0.0f ? int8_t(0) : int8_t(std::nearbyint(x[i] * inverse));
    sums[i / kSumBlock] += q[i];
  }
}

void quantize(const float* x, int64_t n, int8_t* q, float* scale, int32_t* sums) {
  for (int64_t i = 0; i < n; i += kActivationBlock) {
    quantize_block(x + i, q + i, scale + i / kActivationBlock, sums + i / kSumBlock);
  }
}

void rms_norm(const float* x, const float* weight, int64_t n, float eps, float* out) {
  float sum = 0.0f;
  for (int64_t i = 0; i < n; ++i) sum += x[i] * x[i];
  const float scale = 1.0f / std::sqrt(sum / float(n) + eps);
  for (int64_t i = 0; i < n; ++i) out[i] = x[i] * scale * weight[i];
}

void add(float* x, const float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] += y[i];
}

void silu_mul(const float* gate, const float* up, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = gate[i] / (1.0f + std::exp(-gate[i])) * up[i];
}

void rope(float* heads, int64_t n_heads, int64_t head_dim, const float* cos_sin) {
  for (int64_t h = 0; h < n_heads; ++h, heads += head_dim) {
    for (int64_t i = 0; i < head_dim; i += 2) {
      const float a = heads[i], b = heads[i + 1];
      heads[i] = a * cos_sin[i] - b * cos_sin[i + 1];
      heads[i + 1] = a * cos_sin[i + 1] + b * cos_sin[i];
    }
  }
}

void to_f16(const float* x, int64_t n, uint16_t* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = f32_to_f16(x[i]);
}

// The scale of dimension d of the key or value in a slot.
template <KVType type>
float kv_scale(const uint8_t* block, int64_t head_dim, int64_t slot, int64_t d) {
  const uint8_t* scales = block + kv_cells_bytes(type, head_dim);
  return f16_to_f32(reinterpret_cast<const uint16_t*>(scales)[d / kKVGroup * kKVBlockTokens + slot]);
}

template <KVType type>
float key_at(const uint8_t* keys, int64_t head_dim, int64_t slot, int64_t d) {
  const int64_t i = d * kKVBlockTokens + slot;
  if constexpr (type == KVType::F32) return reinterpret_cast<const float*>(keys)[i];
  if constexpr (type == KVType::F16) return f16_to_f32(reinterpret_cast<const uint16_t*>(keys)[i]);
  const float scale = kv_scale<type>(keys, head_dim, slot, d);
  if constexpr (type == KVType::Q8_0) return float(static_cast<int8_t>(keys[i])) * scale;
  const uint8_t both = keys[nibble_byte(d) * kKVBlockTokens + slot];
  return float((both >> nibble_shift(d) & 15) - 8) * scale;
}

template <KVType type>
float value_at(const uint8_t* values, int64_t head_dim, int64_t slot, int64_t d) {
  const int64_t i = slot * kv_width(head_dim) + d;
  if constexpr (type == KVType::F32) return reinterpret_cast<const float*>(values)[i];
  if constexpr (type == KVType::F16) return f16_to_f32(reinterpret_cast<const uint16_t*>(values)[i]);
  const float scale = kv_scale<type>(values, head_dim, slot, d);
  if constexpr (type == KVType::Q8_0) return float(static_cast<int8_t>(values[i])) * scale;
  const uint8_t both = values[slot * head_dim / 2 + nibble_byte(d)];
  return float((both >> nibble_shift(d) & 15) - 8) * scale;
}

template <KVType type>
float key_score(const AttendBlocks& a, int64_t i, int64_t j) {
  const uint8_t* keys = a.k[j / kKVBlockTokens];
  float score = 0.0f;
  for (int64_t d = 0; d < a.head_dim; ++d) {
    score += a.q[i * a.head_dim + d] * key_at<type>(keys, a.head_dim, j % kKVBlockTokens, d);
  }
  return score;
}

// Moves what one query row has gathered to a larger maximum.
void raise_maximum(const AttendBlocks& a, int64_t i, float maximum) {
  if (maximum <= a.row_max[i]) return;
  const float shrink = std::exp(a.row_max[i] - maximum);
  float* acc = a.acc + i * kv_width(a.head_dim);
  for (int64_t d = 0; d < a.head_dim; ++d) acc[d] *= shrink;
  a.row_sum[i] *= shrink;
  a.row_max[i] = maximum;
}

template <KVType type>
void attend_row(const AttendBlocks& a, int64_t i) {
  const int64_t width = kv_width(a.head_dim);
  for (int64_t j = a.first[i]; j < a.last[i]; ++j) {
    const float score = key_score<type>(a, i, j);
    raise_maximum(a, i, score);
    const float p = std::exp(score - a.row_max[i]);
    a.row_sum[i] += p;
    const uint8_t* values = a.v[j / kKVBlockTokens];
    for (int64_t d = 0; d < a.head_dim; ++d) {
      a.acc[i * width + d] += p * value_at<type>(values, a.head_dim, j % kKVBlockTokens, d);
    }
  }
}

template <KVType type>
void attend(const AttendBlocks& blocks) {
  for (int64_t i = 0; i < blocks.n_queries; ++i) attend_row<type>(blocks, i);
}

template <TensorType... types>
constexpr Kernels table(TypeList<types...>) {
  Kernels kernels{.name = "scalar",
                  .matmul = {},
                  .quantize = quantize,
                  .rms_norm = rms_norm,
                  .add = add,
                  .silu_mul = silu_mul,
                  .rope = rope,
                  .to_f16 = to_f16,
                  .attend = {attend<KVType::F16>, attend<KVType::F32>, attend<KVType::Q8_0>, attend<KVType::Q4_0>}};
  ((kernels.matmul[index_of(types)] = matmul<types>), ...);
  return kernels;
}

}  // namespace

constinit const Kernels kScalarKernels = table(WeightTypes{});

}  // namespace tropilla
