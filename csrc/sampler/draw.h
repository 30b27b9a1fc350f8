// Draws from weights by inverting their cumulated sum.
#pragma once

#include <cstddef>

#include "sampler/candidates.h"

namespace tropilla {

// Reshapes the weights of candidates in descending order so that drawing with a uniform u takes what
// drawing with u^exp(-skew) took before: above 0 favours the tail.
void skew_weights(Weights& weights, double skew);

// Returns the first index whose cumulated weight exceeds u times the total.
size_t draw_index(const Weights& weights, double u);

}  // namespace tropilla
