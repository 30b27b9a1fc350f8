// An orthonormal rotation that spreads a head's large dimensions over all of them.
#pragma once

#include <cstdint>

namespace tropilla {

// Multiplies a head, (head_dim), by a Hadamard matrix scaled to keep lengths; block by block where head_dim
// is no power of two. Scalar products of two heads stay as they are, and doing it twice undoes it.
void hadamard(float* head, int64_t head_dim);

}  // namespace tropilla
