// Binds the index that proposals are looked up in.
#include "ngram_index.h"

#include <nanobind/stl/vector.h>

#include "bindings/bindings.h"

namespace tropilla::bindings {

namespace nb = nanobind;
using namespace nb::literals;

void bind_ngram_index(nb::module_& module) {
  nb::class_<NgramIndex>(module, "NgramIndex", "Where the last tokens of a sequence occurred before.")
      .def(nb::init<>())
      .def(
          "extend",
          [](NgramIndex& self, const std::vector<int32_t>& tokens) {
            self.extend(tokens);
            return self.match();
          },
          "tokens"_a, "Append tokens; return what match() returns.")
      .def("rewind", &NgramIndex::rewind, "n_tokens"_a)
      .def("match", &NgramIndex::match)
      .def("following", &NgramIndex::following, "most"_a)
      .def("__len__", &NgramIndex::size);
}

}  // namespace tropilla::bindings
