// Encoding weights, as the quantizer sees it: one call for each run of rows, on as many threads as it likes.
#include "quantize/quantize.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include "bindings/bindings.h"
#include "bindings/buffer.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace tropilla::bindings {
namespace {

Encoding encode(int from, nb::handle stored, int to, int64_t n_weights, nb::handle out, const std::string& isa) {
  const Buffer source(stored, PyBUF_SIMPLE);
  const Buffer target(out, PyBUF_WRITABLE);
  const nb::gil_scoped_release release;
  return quantize(TensorType(from), source.span(), TensorType(to), n_weights, target.writable(), isa);
}

}  // namespace

void bind_quantize(nb::module_& module) {
  nb::enum_<Encoding>(module, "Encoding", "Whether weights could be encoded, and why not.")
      .value("OK", Encoding::ok)
      .value("NOT_FINITE", Encoding::not_finite)
      .value("TOO_LARGE", Encoding::too_large);
  module.def("quantize", &encode, "from_type"_a, "stored"_a, "to_type"_a, "n_weights"_a, "out"_a, "isa"_a,
             nb::sig("def quantize(from_type: int, stored: bytes | memoryview, to_type: int, n_weights: int, "
                     "out: bytearray | memoryview, isa: str) -> Encoding"),
             "Encode weights of a float type in another type into out, on the calling thread.");
}

}  // namespace tropilla::bindings
