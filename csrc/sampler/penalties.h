// The steps that look back at the sequence and push its tokens down, or up.
#pragma once

#include "sampler/step.h"

namespace tropilla {

// Divides positive logits of the last repetition_window tokens by the penalty and multiplies negative
// ones. With distance 1 the latest token: in the newer half of the window (rounded up) the penalty is
// full; in the older half its excess over 1 is scaled by repetition_slope; beyond the window the
// excess falls linearly to nothing over repetition_decay tokens.
void apply_repetition(Candidates& candidates, const Moment& moment);

// Subtracts frequency_penalty per occurrence in the window and presence_penalty once.
void apply_frequency_presence(Candidates& candidates, const Moment& moment);

// The repetition rule with the inverse penalty over the whole prompt: above 1 favours its words.
void apply_encoder_repetition(Candidates& candidates, const Moment& moment);

// Bans tokens that would complete an n-gram which the sequence already holds, unless none were left.
void apply_no_repeat_ngram(Candidates& candidates, const Moment& moment);

}  // namespace tropilla
