// Which kernels this machine runs, the sizes of weight blocks, and the hook that tests call kernels by.
#include <nanobind/ndarray.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bindings/bindings.h"
#include "kernels/blocks.h"
#include "kernels/call.h"
#include "kernels/kernels.h"
#include "kernels/pack.h"
#include "kernels/tables.h"

namespace nb = nanobind;

namespace tropilla::bindings {
namespace {

std::vector<std::string> isa_names() {
  std::vector<std::string> names;
  for (const char* name : {"avx512", "avx2", "neon", "scalar"}) {
    if (kernels_named(name) != nullptr) names.emplace_back(name);
  }
  return names;
}

template <TensorType... types>
std::map<int, std::pair<int64_t, int64_t>> block_sizes(TypeList<types...>) {
  return {{index_of(types), {block_columns(types), block_bytes(types)}}...};
}

void call(const std::string& isa, const std::string& kernel, const std::vector<double>& numbers,
          const std::vector<nb::ndarray<nb::c_contig, nb::device::cpu>>& arrays) {
  const Kernels* table = kernels_named(isa.c_str());
  if (table == nullptr) throw std::invalid_argument("this machine has no kernels called " + isa);
  std::vector<void*> buffers;
  for (const auto& array : arrays) buffers.push_back(array.data());
  call_kernel(*table, kernel, numbers, buffers);
}

}  // namespace

void bind_kernels(nb::module_& module) {
  module.def("isa_names", isa_names, "Name the kernel tables that this CPU runs, the fastest first.");
  module.def("isa", [] { return kernels().name; },
             "Name the kernel table in use: the fastest, or the one that TROPILLA_ISA names.");
  module.def("block_sizes", [] { return block_sizes(WeightTypes{}); },
             "Map each weight type's GGUF id to (columns, bytes) of its block.");
  module.def("matmul_scratch_bytes", matmul_scratch_bytes, nb::arg("n_cols"),
             "Size of the scratch that the kernel matmul wants, at a multiple of 64.");
  module.def("call_kernel", call, nb::arg("isa"), nb::arg("kernel"), nb::arg("numbers"), nb::arg("arrays"),
             "Call one kernel on raw arrays, for tests: nothing is checked.");
}

}  // namespace tropilla::bindings
