// Log-probabilities of the raw model, whatever the chain did (rule SA-6).
#pragma once

#include <cstdint>
#include <span>

namespace tropilla {

// Returns the index of the first logit that is NaN or +inf, or logits.size().
size_t first_bad_logit(std::span<const float> logits);

// log of the sum of exp(logits): a token's logprob is its logit minus this.
double log_sum_exp(std::span<const float> logits);

}  // namespace tropilla
