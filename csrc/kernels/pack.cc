#include "kernels/pack.h"

namespace tropilla {
namespace {

struct Block {
  int64_t columns, bytes;
};

Block block_of(TensorType type) {
  switch (type) {
    case TensorType::F32: return {1, 4};
    case TensorType::F16: return {1, 2};
    case TensorType::BF16: return {1, 2};
    case TensorType::Q4_0: return {32, 18};
    case TensorType::Q4_1: return {32, 20};
    case TensorType::Q5_0: return {32, 22};
    case TensorType::Q5_1: return {32, 24};
    case TensorType::Q8_0: return {32, 34};
    case TensorType::Q2_K: return {256, 84};
    case TensorType::Q3_K: return {256, 110};
    case TensorType::Q4_K: return {256, 144};
    case TensorType::Q5_K: return {256, 176};
    case TensorType::Q6_K: return {256, 210};
    case TensorType::IQ4_NL: return {32, 18};
    case TensorType::IQ4_XS: return {256, 136};
  }
  return {0, 0};
}

}  // namespace

int64_t block_columns(TensorType type) { return block_of(type).columns; }
int64_t block_bytes(TensorType type) { return block_of(type).bytes; }

int64_t tile_bytes(TensorType type, int64_t n_cols) {
  const Block block = block_of(type);
  return 16 * (n_cols / block.columns) * block.bytes;
}

}  // namespace tropilla
