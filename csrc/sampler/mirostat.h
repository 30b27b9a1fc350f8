// Mirostat keeps the surprise of the text near a target by feeding each token's surprise back.
// Basu et al. 2021, "Mirostat: a neural text decoding algorithm that directly controls perplexity".
#pragma once

#include <cstdint>

#include "sampler/candidates.h"
#include "sampler/sampler_params.h"

namespace tropilla {

// Cuts the candidates for the next draw. mu: the largest surprise to allow, in bits.
// Version 2 keeps -log2 p <= mu. Version 1 estimates the exponent s of Zipf's law from the
// mirostat_m best candidates and keeps the k best for which the expected surprise is mu, k rounded
// down but at least 1.
void cut_by_mirostat(Candidates& candidates, const SamplerParams& params, double mu, int32_t vocab_size);

// The next mu, after a token that had this probability among the candidates that were left.
double next_mirostat_mu(const SamplerParams& params, double mu, double probability);

}  // namespace tropilla
