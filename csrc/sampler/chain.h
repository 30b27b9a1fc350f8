// The steps between the masks and the draw: which there are, which a request wants, in which order.
#pragma once

#include <string_view>
#include <vector>

#include "sampler/sampler_params.h"
#include "sampler/step.h"

namespace tropilla {

// The steps that params.samplers can name, in the order of the default chain.
std::vector<std::string_view> sampler_names();

// The steps that change something, in the order to run them. Throws std::invalid_argument for an
// unknown name.
std::vector<ApplyStep> active_steps(const SamplerParams& params);

}  // namespace tropilla
