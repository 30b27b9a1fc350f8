// The integer rate that a core reaches on registers alone: what the kernels are measured against.
#pragma once

#include <string_view>

namespace tropilla {

// Multiplications and additions a second, in 1e9, of the instructions that `isa` builds dot products
// from, with the cheapest widening there is; 0 where that is not known.
double int8_peak_gops(std::string_view isa);

}  // namespace tropilla
