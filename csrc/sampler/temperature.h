// The steps that reshape the distribution without dropping tokens, but for temperature zero.
#pragma once

#include "sampler/step.h"

namespace tropilla {

// Divides by the temperature; at zero or below only the best token stays. With
// dynamic_temperature_range r > 0 the temperature is, between low = max(0, temperature - r) and
// high = temperature + r, low + (high - low) * (entropy / ln N)^dynamic_temperature_exponent for N
// candidates; a single candidate has no entropy to go by and stays as it is.
void apply_temperature(Candidates& candidates, const Moment& moment);

// With d = x - max, factor f and curve c: x becomes max - k f d^2 + s f d^3, k = (3 - c) / 2,
// s = (c - 1) / 2.
void apply_smoothing(Candidates& candidates, const Moment& moment);

}  // namespace tropilla
