// What a sequence wants of its sampler. Every default here is neutral: it changes nothing, bit for
// bit. The defaults that a user sees are those of Sampling in src/tropilla/engine/sampling.py, which
// also documents each option and checks its range.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tropilla {

struct SamplerParams {
  uint64_t seed = 0;
  std::optional<std::vector<std::string>> samplers;  // the chain by name, in order; none: the default
  std::optional<int32_t> logprobs;    // how many alternatives to report; none: no logprobs at all
  bool post_sampling_probs = false;   // report the final distribution instead of the raw model's

  // Masks and bias
  std::vector<std::pair<int32_t, float>> logit_bias;  // -inf bans
  std::vector<int32_t> banned_tokens;
  std::vector<int32_t> allowed_token_ids;  // empty: all
  std::vector<int32_t> end_ids;            // the model's own: EOS, EOT, EOM
  std::vector<int32_t> stop_token_ids;     // the request's
  bool ignore_eos = false;
  int64_t min_tokens = 0;

  // Penalties. A window of -1 is the whole sequence.
  double repetition_penalty = 1.0;
  int64_t repetition_window = 64;
  double repetition_slope = 1.0;
  int64_t repetition_decay = 0;
  double frequency_penalty = 0.0;
  double presence_penalty = 0.0;
  bool penalize_prompt = true;
  double encoder_repetition_penalty = 1.0;
  int64_t no_repeat_ngram = 0;
  double dry_multiplier = 0.0;
  double dry_base = 1.75;
  int64_t dry_allowed_length = 2;
  int64_t dry_range = 64;
  std::vector<std::vector<int32_t>> dry_breakers;  // as token sequences

  // Filters
  double top_n_sigma = -1.0;
  int64_t top_k = 0;
  double typical_p = 1.0;
  double top_p = 1.0;
  double min_p = 0.0;
  double top_a = 0.0;
  double tail_free = 1.0;
  double epsilon_cutoff = 0.0;
  double eta_cutoff = 0.0;
  double xtc_probability = 0.0;
  double xtc_threshold = 0.1;

  // Temperature
  double temperature = 1.0;
  double dynamic_temperature_range = 0.0;
  double dynamic_temperature_exponent = 1.0;
  double smoothing_factor = 0.0;
  double smoothing_curve = 1.0;

  // The draw
  int32_t mirostat = 0;  // 1 or 2 replace the chain except masks, bias and temperature
  double mirostat_tau = 5.0;
  double mirostat_eta = 0.1;
  int64_t mirostat_m = 100;
  double adaptive_target = -1.0;
  double adaptive_decay = 0.9;
  double skew = 0.0;
};

}  // namespace tropilla
