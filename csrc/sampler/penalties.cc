#include "sampler/penalties.h"

namespace tropilla {
namespace {

double penalized(double x, double penalty) { return x > 0 ? x / penalty : x * penalty; }

// The share of the repetition penalty's excess over 1 that a token last seen `distance` ago gets.
double repetition_share(const SamplerParams& params, int64_t window, int64_t distance) {
  const int64_t newer_half = window - window / 2;
  if (distance <= newer_half) return 1;
  if (distance <= window) return params.repetition_slope;
  const double beyond = static_cast<double>(distance - window);
  return params.repetition_slope * (1 - beyond / static_cast<double>(params.repetition_decay));
}

}  // namespace

void apply_repetition(Candidates& candidates, const Moment& moment) {
  const SamplerParams& params = moment.params;
  const auto window = static_cast<int64_t>(moment.history.last(params.repetition_window).size());
  const bool whole = params.repetition_window < 0;
  const auto reach = moment.history.last(whole ? -1 : params.repetition_window + params.repetition_decay);
  TokenTable& table = candidates.fresh_table();
  for (size_t distance = 1; distance <= reach.size(); ++distance) {
    TokenEntry& entry = table.note(reach[reach.size() - distance]);
    if (entry.count == 1) entry.value = static_cast<int64_t>(distance);
  }
  candidates.edit_noted([&](const TokenEntry& entry, float x) {
    const double share = repetition_share(params, window, entry.value);
    return penalized(x, 1 + (params.repetition_penalty - 1) * share);
  });
}

void apply_frequency_presence(Candidates& candidates, const Moment& moment) {
  const SamplerParams& params = moment.params;
  auto window = moment.history.last(params.repetition_window);
  if (!params.penalize_prompt) {
    window = window.last(std::min(window.size(), moment.history.n_generated()));
  }
  TokenTable& table = candidates.fresh_table();
  for (const int32_t id : window) table.note(id);
  candidates.edit_noted([&](const TokenEntry& entry, float x) {
    return x - (params.frequency_penalty * entry.count + params.presence_penalty);
  });
}

void apply_encoder_repetition(Candidates& candidates, const Moment& moment) {
  TokenTable& table = candidates.fresh_table();
  for (const int32_t id : moment.history.prompt()) table.note(id);
  const double penalty = 1 / moment.params.encoder_repetition_penalty;
  candidates.edit_noted([=](const TokenEntry&, float x) { return penalized(x, penalty); });
}

void apply_no_repeat_ngram(Candidates& candidates, const Moment& moment) {
  const std::span<const int32_t> tokens = moment.history.tokens;
  const auto n = static_cast<size_t>(moment.params.no_repeat_ngram);
  if (tokens.size() < n) return;
  const auto beginning = tokens.last(n - 1);
  TokenTable& table = candidates.fresh_table();
  for (size_t i = 0; i + n <= tokens.size(); ++i) {
    if (std::equal(beginning.begin(), beginning.end(), tokens.begin() + static_cast<std::ptrdiff_t>(i))) {
      table.note(tokens[i + n - 1]);
    }
  }
  candidates.ban_noted();
}

}  // namespace tropilla
