// What each binding file offers to module.cc.
#pragma once

#include <nanobind/nanobind.h>

namespace tropilla::bindings {

void bind_sampler(nanobind::module_& module);
void bind_engine(nanobind::module_& module);
void bind_kernels(nanobind::module_& module);
void bind_limits(nanobind::module_& module);
void bind_ngram_index(nanobind::module_& module);
void bind_quantize(nanobind::module_& module);

}  // namespace tropilla::bindings
