// What the machine can do at best, measured.
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include "bench/int8_peak.h"
#include "bench/read_bandwidth.h"
#include "bindings/bindings.h"

namespace tropilla::bindings {

namespace nb = nanobind;
using namespace nb::literals;

void bind_limits(nb::module_& module) {
  using ReleaseGil = nb::call_guard<nb::gil_scoped_release>;
  module.def("read_bandwidth", &read_bandwidth, ReleaseGil(), "n_threads"_a, "size_bytes"_a, "seconds"_a,
             "Return bytes read a second by all threads together, of each pass over an array.");
  module.def("int8_peak", &int8_peak, ReleaseGil(), "isa"_a, "n_threads"_a,
             "Return int8 multiplications and additions a second of all threads together; 0 if unknown.");
}

}  // namespace tropilla::bindings
