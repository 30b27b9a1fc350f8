#include "kernels/call.h"

#include <stdexcept>
#include <string>

#include "kernels/hadamard.h"
#include "kernels/pack.h"

namespace tropilla {
namespace {

struct Arguments {
  std::span<const double> numbers;
  std::span<void* const> buffers;

  int64_t size(size_t i) const { return int64_t(numbers[i]); }
  TensorType type() const { return TensorType(int32_t(numbers[0])); }
  template <class T>
  T* array(size_t i) const {
    return static_cast<T*>(buffers[i]);
  }
};

using Call = void (*)(const Kernels&, const Arguments&);

void call_matmul(const Kernels& table, const Arguments& a) {
  const Activations x{a.size(1), a.array<float>(1), a.array<int8_t>(2), a.array<float>(3),
                      a.array<int32_t>(4)};
  const Tiles tiles{a.array<uint8_t>(0), tile_bytes(a.type(), a.size(1)), a.size(5), nullptr};
  table.matmul[index_of(a.type())](tiles, x, a.size(2), a.size(3), a.array<float>(5), a.size(4), a.array<uint8_t>(6));
}

void call_pack(const Kernels&, const Arguments& a) {
  const uint8_t* rows[kTileRows] = {};
  const int64_t row_bytes = a.size(1) / block_columns(a.type()) * block_bytes(a.type());
  for (int64_t r = 0; r < a.size(2); ++r) rows[r] = a.array<uint8_t>(0) + r * row_bytes;
  pack_tile(a.type(), rows, a.size(1), a.array<uint8_t>(1));
}

void call_unpack(const Kernels&, const Arguments& a) {
  unpack_row(a.type(), a.array<uint8_t>(0), int(a.size(2)), a.size(1), a.array<float>(1));
}

void call_quantize(const Kernels& table, const Arguments& a) {
  table.quantize(a.array<float>(0), a.size(0), a.array<int8_t>(1), a.array<float>(2), a.array<int32_t>(3));
}

void call_rms_norm(const Kernels& table, const Arguments& a) {
  table.rms_norm(a.array<float>(0), a.array<float>(1), a.size(0), float(a.numbers[1]), a.array<float>(2));
}

void call_add(const Kernels& table, const Arguments& a) {
  table.add(a.array<float>(0), a.array<float>(1), a.size(0));
}

void call_silu_mul(const Kernels& table, const Arguments& a) {
  table.silu_mul(a.array<float>(0), a.array<float>(1), a.size(0), a.array<float>(2));
}

void call_rope(const Kernels& table, const Arguments& a) {
  table.rope(a.array<float>(0), a.size(0), a.size(1), a.array<float>(1));
}

void call_to_f16(const Kernels& table, const Arguments& a) {
  table.to_f16(a.array<float>(0), a.size(0), a.array<uint16_t>(1));
}

void call_hadamard(const Kernels&, const Arguments& a) { hadamard(a.array<float>(0), a.size(0)); }

void call_attend(const Kernels& table, const Arguments& a) {
  const auto type = static_cast<KVType>(a.size(2));
  const uint8_t *k[kMaxAttendBlocks], *v[kMaxAttendBlocks];
  for (int64_t b = 0; b < a.size(3); ++b) {
    k[b] = a.array<uint8_t>(1) + b * kv_bytes(type, a.size(1));
    v[b] = a.array<uint8_t>(2) + b * kv_bytes(type, a.size(1));
  }
  table.attend[a.size(2)]({a.size(0), a.size(1), a.array<float>(0), k, v, a.array<int32_t>(3), a.array<int32_t>(4),
                           a.array<float>(5), a.array<float>(6), a.array<float>(7), a.array<float>(8)});
}

struct Entry {
  std::string_view name;
  size_t n_numbers, n_buffers;
  Call call;
};

constexpr Entry kEntries[] = {
    {"matmul", 6, 7, call_matmul},     // type, n_cols, first token, tokens, out stride, tiles
    {"pack", 3, 2, call_pack},         // type, n_cols, rows
    {"unpack", 3, 2, call_unpack},     // type, n_cols, row
    {"quantize", 1, 4, call_quantize}, // n
    {"rms_norm", 2, 3, call_rms_norm}, // n, eps
    {"add", 1, 2, call_add},           // n
    {"silu_mul", 1, 3, call_silu_mul}, // n
    {"rope", 2, 2, call_rope},         // heads, head_dim
    {"to_f16", 1, 2, call_to_f16},     // n
    {"hadamard", 1, 1, call_hadamard}, // head_dim
    {"attend", 4, 9, call_attend},     // queries, head_dim, KVType, blocks
};

}  // namespace

void call_kernel(const Kernels& table, std::string_view kernel, std::span<const double> numbers,
                 std::span<void* const> buffers) {
  for (const Entry& entry : kEntries) {
    if (entry.name != kernel) continue;
    if (entry.n_numbers != numbers.size() || entry.n_buffers != buffers.size()) {
      throw std::invalid_argument(std::string(kernel) + ": wrong number of arguments");
    }
    return entry.call(table, {numbers, buffers});
  }
  throw std::invalid_argument("no kernel is called " + std::string(kernel));
}

}  // namespace tropilla
