// The steps that drop unlikely candidates, or (XTC) likely ones. p is the softmax over the candidates
// that are left; each step keeps at least one.
#pragma once

#include "sampler/step.h"

namespace tropilla {

// Keeps logits within top_n_sigma population standard deviations of the largest.
void apply_top_n_sigma(Candidates& candidates, const Moment& moment);

// Keeps the top_k best; of equal logits those with the lower ids.
void apply_top_k(Candidates& candidates, const Moment& moment);

// Orders tokens by |-ln p - entropy| (ties: best first) and keeps the shortest prefix whose
// probability exceeds typical_p. Meister et al. 2022, "Locally typical sampling".
void apply_typical(Candidates& candidates, const Moment& moment);

// Keeps the shortest prefix, best first, with probability of at least top_p. Holtzman et al. 2020.
void apply_top_p(Candidates& candidates, const Moment& moment);

// Keeps p >= min_p times the largest p.
void apply_min_p(Candidates& candidates, const Moment& moment);

// Keeps p >= top_a times the square of the largest p.
void apply_top_a(Candidates& candidates, const Moment& moment);

// Cuts where the absolute second differences of the sorted probabilities, normalised and cumulated,
// exceed tail_free. The first candidate always stays and the last of several never does; where all
// second differences are zero only the last goes.
void apply_tail_free(Candidates& candidates, const Moment& moment);

// Keeps p >= epsilon_cutoff. Hewitt et al. 2022.
void apply_epsilon(Candidates& candidates, const Moment& moment);

// Keeps p >= min(eta_cutoff, sqrt(eta_cutoff) * exp(-entropy)). Hewitt et al. 2022.
void apply_eta(Candidates& candidates, const Moment& moment);

// With probability xtc_probability: of the tokens with p >= xtc_threshold drops all but the last, ends
// and line breaks like any other.
void apply_xtc(Candidates& candidates, const Moment& moment);

}  // namespace tropilla
