// Adaptive-p steers the probability of chosen tokens towards a target: it favours the candidates near
// an aim that makes up for what was chosen lately.
#pragma once

#include "sampler/candidates.h"
#include "sampler/sampler_params.h"

namespace tropilla {

// A decaying mean of chosen probabilities, as sum and weight.
struct ChosenMean {
  double sum, weight;
};

ChosenMean initial_chosen_mean(const SamplerParams& params);

// With aim A = clamp(2 target - mean, 0, 1) and d = |p - A| / 0.3, logits become 5 - 10 d^2 / (1 + d).
void aim_at_target(Candidates& candidates, const SamplerParams& params, const ChosenMean& mean);

// The mean after a token with this probability before aiming.
ChosenMean next_chosen_mean(const SamplerParams& params, const ChosenMean& mean, double probability);

}  // namespace tropilla
