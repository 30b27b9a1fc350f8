// A weight matrix in the tiles that the kernels stream.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/kernels.h"
#include "kernels/pack.h"
#include "pages.h"
#include "thread_pool.h"

namespace tropilla {

// Memory for weights, handed out in 64-byte aligned pieces of a few large areas, so that small
// matrices share huge pages. Frees all at once.
class WeightArena {
 public:
  // Throws std::bad_alloc.
  uint8_t* allocate(int64_t size_bytes);
  int64_t size_bytes() const { return used_bytes_; }

 private:
  std::vector<PageArray<uint8_t>> areas_;
  int64_t used_of_last_ = 0;
  int64_t used_bytes_ = 0;
};

// Bytes of a matrix as a model file stores it. Throws std::invalid_argument if the type is unknown,
// a size is not positive or cols is no multiple of the type's block.
int64_t stored_bytes(TensorType type, int64_t rows, int64_t cols);

class PackedMatrix {
 public:
  PackedMatrix() = default;
  // Packs `stored`, which must hold exactly the bytes of rows x cols weights (std::invalid_argument).
  // The matrix lives as long as the arena.
  PackedMatrix(TensorType type, int64_t rows, int64_t cols, std::span<const uint8_t> stored,
               WeightArena& arena, ThreadPool& pool);

  bool empty() const { return !tiles_; }
  TensorType type() const { return type_; }
  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  int64_t n_tiles() const { return (rows_ + kTileRows - 1) / kTileRows; }
  const uint8_t* tile(int64_t i) const { return tiles_ + i * tile_stride_; }
  int64_t tile_stride() const { return tile_stride_; }  // bytes
  // Whether its products read float activations rather than quantized ones.
  bool reads_floats() const;
  // Writes one row, dequantised; out: (cols).
  void unpack_row(int64_t row, float* out) const;

 private:
  TensorType type_ = TensorType::F32;
  int64_t rows_ = 0, cols_ = 0, tile_stride_ = 0;
  uint8_t* tiles_ = nullptr;
};

// A vector of cols weights as floats; the same checks as for a matrix of one row.
std::vector<float> unpack_vector(TensorType type, int64_t cols, std::span<const uint8_t> stored);

}  // namespace tropilla
