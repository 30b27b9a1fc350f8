// The integer rate that cores reach on registers alone: what the kernels are measured against.
#pragma once

#include <string_view>

namespace tropilla {

// Multiplications and additions a second of n_threads at work at once, with the instructions that `isa`
// builds dot products from and the cheapest widening there is; 0 where that is not known. Each thread's
// best of many short tries counts: a core does no more than that, however busy the machine is. Throws
// std::runtime_error if the threads cannot be started.
double int8_peak(std::string_view isa, int n_threads);

}  // namespace tropilla
