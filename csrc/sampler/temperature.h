// The steps that reshape the distribution without dropping tokens.
#pragma once

#include "sampler/step.h"

namespace tropilla {

// Divides by the temperature, fixed or (dynamic_temperature_range > 0) chosen by the entropy; at zero
// or below only the best token stays.
void apply_temperature(Candidates& candidates, const Moment& moment);

}  // namespace tropilla
