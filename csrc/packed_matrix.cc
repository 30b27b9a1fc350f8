#include "packed_matrix.h"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace tropilla {
namespace {

constexpr int64_t kAreaBytes = int64_t{64} << 20;
constexpr int64_t kTileAlignment = 64;
// Far above any model; keeps every product of sizes within 64 bits.
constexpr int64_t kLargestSide = int64_t{1} << 28;

int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

// The bytes that rows x cols weights take, which must be those given.
int64_t checked_bytes(TensorType type, int64_t rows, int64_t cols, std::span<const uint8_t> stored) {
  const int64_t expected = stored_bytes(type, rows, cols);
  if (static_cast<int64_t>(stored.size()) != expected) {
    throw std::invalid_argument("got " + std::to_string(stored.size()) + " bytes, expected " +
                                std::to_string(expected) + " for " + std::to_string(rows) + " x " +
                                std::to_string(cols) + " weights");
  }
  return expected;
}

}  // namespace

uint8_t* WeightArena::allocate(int64_t size_bytes) {
  size_bytes = round_up(size_bytes, kTileAlignment);
  if (areas_.empty() || used_of_last_ + size_bytes > areas_.back().size()) {
    areas_.emplace_back(std::max(size_bytes, kAreaBytes));
    // Streaming weights through 4 KiB pages costs one thread a fifth of its bandwidth.
    advise_huge_pages(areas_.back().data(), static_cast<size_t>(areas_.back().size()));
    used_of_last_ = 0;
  }
  uint8_t* piece = areas_.back().data() + used_of_last_;
  used_of_last_ += size_bytes;
  used_bytes_ += size_bytes;
  return piece;
}

int64_t stored_bytes(TensorType type, int64_t rows, int64_t cols) {
  const int64_t block = block_columns(type);
  if (block == 0) {
    throw std::invalid_argument("tensor type " + std::to_string(index_of(type)) + " is not a weight type");
  }
  if (rows < 1 || cols < 1 || rows > kLargestSide || cols > kLargestSide) {
    throw std::invalid_argument("a matrix of " + std::to_string(rows) + " x " + std::to_string(cols) +
                                " weights has a side outside 1.." + std::to_string(kLargestSide));
  }
  if (cols % block != 0) {
    throw std::invalid_argument("a row of " + std::to_string(cols) + " weights is no multiple of its block of " +
                                std::to_string(block));
  }
  return rows * (cols / block) * block_bytes(type);
}

PackedMatrix::PackedMatrix(TensorType type, int64_t rows, int64_t cols, std::span<const uint8_t> stored,
                           WeightArena& arena, ThreadPool& pool)
    : type_(type), rows_(rows), cols_(cols) {
  const int64_t row_bytes = checked_bytes(type, rows, cols, stored) / rows;
  tile_stride_ = round_up(tile_bytes(type, cols), kTileAlignment);
  tiles_ = arena.allocate(n_tiles() * tile_stride_);
  pool.parallel_for(n_tiles(), 4, [&](int64_t begin, int64_t end, int) {
    for (int64_t tile = begin; tile < end; ++tile) {
      const uint8_t* sources[kTileRows];
      for (int64_t i = 0; i < kTileRows; ++i) {
        const int64_t row = tile * kTileRows + i;
        sources[i] = row < rows ? stored.data() + row * row_bytes : nullptr;
      }
      pack_tile(type, sources, cols, tiles_ + tile * tile_stride_);
    }
  });
}

std::vector<float> unpack_vector(TensorType type, int64_t cols, std::span<const uint8_t> stored) {
  checked_bytes(type, 1, cols, stored);
  const PageArray<uint8_t> tile(tile_bytes(type, cols));
  const uint8_t* rows[kTileRows] = {stored.data()};
  pack_tile(type, rows, cols, tile.data());
  std::vector<float> values(static_cast<size_t>(cols));
  unpack_row(type, tile.data(), 0, cols, values.data());
  return values;
}

bool PackedMatrix::reads_floats() const {
  return type_ == TensorType::F32 || type_ == TensorType::F16 || type_ == TensorType::BF16;
}

void PackedMatrix::unpack_row(int64_t row, float* out) const {
  tropilla::unpack_row(type_, tile(row / kTileRows), static_cast<int>(row % kTileRows), cols_, out);
}

}  // namespace tropilla
