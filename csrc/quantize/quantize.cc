#include "quantize/quantize.h"

#include <algorithm>
#include <stdexcept>

#include "kernels/blocks.h"
#include "kernels/kernels.h"

namespace tropilla {
namespace {

// Weights decoded at a time: 16 KiB on the stack, whole blocks for every lane of the widest vectors.
constexpr int64_t kRunWeights = 4096;

// The kernel table says which vectors run here; a table without encoders of its own uses the portable ones.
const Encoders& encoders_for(const std::string& isa) {
  if (kernels_named(isa.c_str()) == nullptr) throw std::invalid_argument("this machine has no kernels called " + isa);
#ifdef TROPILLA_VECTOR_ENCODERS
  for (const Encoders* table : {&kAvx512Encoders, &kAvx2Encoders}) {
    if (isa == table->name) return *table;
  }
#endif
  return kPortableEncoders;
}

template <class Function>
Function known(const Function (&functions)[kTensorTypes], TensorType type, const char* what) {
  const int index = index_of(type);
  if (index < 0 || index >= kTensorTypes || functions[index] == nullptr) {
    throw std::invalid_argument("tensor type " + std::to_string(index) + " cannot be " + what);
  }
  return functions[index];
}

int64_t columns_of(TensorType type) { return std::max(1, format_of(type).columns); }

int64_t bytes_of(TensorType type, int64_t n_weights) {
  const int size = float_bytes(type);
  return size != 0 ? n_weights * size : n_weights / columns_of(type) * format_of(type).source_bytes;
}

void check_sizes(TensorType from, std::span<const uint8_t> stored, TensorType to, int64_t n_weights,
                 std::span<uint8_t> out) {
  if (n_weights < 0 || n_weights % columns_of(to) != 0) {
    throw std::invalid_argument(std::to_string(n_weights) + " weights are not whole blocks");
  }
  if (int64_t(stored.size()) != bytes_of(from, n_weights) || int64_t(out.size()) != bytes_of(to, n_weights)) {
    throw std::invalid_argument("the buffers do not hold " + std::to_string(n_weights) + " weights");
  }
}

}  // namespace

Encoding quantize(TensorType from, std::span<const uint8_t> stored, TensorType to, int64_t n_weights,
                  std::span<uint8_t> out, const std::string& isa) {
  const Encoders& encoders = encoders_for(isa);
  const ReadFloats read = known(encoders.read, from, "read");
  const EncodeBlocks encode = known(encoders.encode, to, "written");
  check_sizes(from, stored, to, n_weights, out);
  alignas(64) float weights[kRunWeights];
  Encoding worst = Encoding::ok;
  for (int64_t first = 0; first < n_weights; first += kRunWeights) {
    const int64_t n = std::min(kRunWeights, n_weights - first);
    read(stored.data() + bytes_of(from, first), n, weights);
    const Encoding outcome = encode(weights, n / columns_of(to), out.data() + bytes_of(to, first));
    if (outcome == Encoding::not_finite) return outcome;
    if (outcome != Encoding::ok) worst = outcome;
  }
  return worst;
}

}  // namespace tropilla
