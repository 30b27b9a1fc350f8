#include "sampler/sampler.h"

#include <cmath>
#include <string>

#include "sampler/logprobs.h"
#include "sampler/temperature.h"

namespace tropilla {
namespace {

struct NamedStep {
  std::string_view name;
  bool (*is_active)(const SamplerParams&);
  ApplyStep apply;
};

// In the order of rule SA-1. A step at its neutral value never runs, so it changes not a bit.
constexpr NamedStep kSteps[] = {
    {"temperature", [](const SamplerParams& p) { return p.temperature != 1; }, apply_temperature},
};

const NamedStep& step_named(std::string_view name) {
  for (const NamedStep& step : kSteps) {
    if (step.name == name) return step;
  }
  throw std::invalid_argument("unknown sampler '" + std::string(name) + "'");
}

std::vector<ApplyStep> active_steps(const SamplerParams& params) {
  std::vector<ApplyStep> active;
  const auto add = [&](const NamedStep& step) {
    if (step.is_active(params)) active.push_back(step.apply);
  };
  if (params.samplers.empty()) {
    for (const NamedStep& step : kSteps) add(step);
  } else {
    for (const std::string& name : params.samplers) add(step_named(name));
  }
  return active;
}

// Inverse of the cumulated weights, in the order of the candidates.
size_t draw_index(const Weights& weights, double u) {
  const double goal = u * weights.total;
  double cumulated = 0;
  size_t last_possible = 0;
  for (size_t i = 0; i < weights.weights.size(); ++i) {
    if (weights.weights[i] == 0) continue;
    cumulated += weights.weights[i];
    last_possible = i;
    if (cumulated > goal) break;
  }
  return last_possible;
}

}  // namespace

std::vector<std::string_view> sampler_names() {
  std::vector<std::string_view> names;
  for (const NamedStep& step : kSteps) names.push_back(step.name);
  return names;
}

Sampler::Sampler(const SamplerParams& params, int32_t vocab_size, std::span<const int32_t> prompt)
    : params_(params),
      vocab_size_(vocab_size),
      history_{{prompt.begin(), prompt.end()}, prompt.size()},
      steps_(active_steps(params)),
      candidates_(vocab_size) {
  for (const int32_t id : prompt) require_token(id);
  for (const auto& [id, bias] : params.logit_bias) require_token(id);
  for (const auto* ids :
       {&params.banned_tokens, &params.allowed_token_ids, &params.end_ids, &params.stop_token_ids}) {
    for (const int32_t id : *ids) require_token(id);
  }
}

Draw Sampler::sample(std::span<const float> logits) {
  const Weights weights = run_chain(logits);
  const size_t chosen = draw_index(weights, uniform(site(), Purpose::kDraw));
  Draw draw{candidates_.list()[chosen].id, std::numeric_limits<float>::quiet_NaN(), {}};
  if (params_.logprobs) report(logits, draw);
  return draw;
}

std::vector<TokenProbability> Sampler::probabilities(std::span<const float> logits) {
  const Weights weights = run_chain(logits);
  std::vector<TokenProbability> result;
  for (const Candidate& c : candidates_.list()) {
    result.push_back({c.id, weights.weights[result.size()] / weights.total});
  }
  return result;
}

void Sampler::accept(int32_t token) {
  require_token(token);
  history_.tokens.push_back(token);
}

void Sampler::rewind(int64_t n_tokens) {
  if (n_tokens < 0 || static_cast<size_t>(n_tokens) > history_.n_generated()) {
    throw std::invalid_argument("cannot rewind " + std::to_string(n_tokens) + " tokens of " +
                                std::to_string(history_.n_generated()) + " accepted");
  }
  history_.tokens.resize(history_.tokens.size() - static_cast<size_t>(n_tokens));
  std::erase_if(position_bans_,
                [this](const PositionBan& ban) { return ban.position > history_.tokens.size(); });
}

void Sampler::ban_next(std::span<const int32_t> ids) {
  for (const int32_t id : ids) {
    require_token(id);
    position_bans_.push_back({history_.tokens.size(), id});
  }
}

void Sampler::require_token(int32_t id) const {
  if (id < 0 || id >= vocab_size_) {
    throw std::invalid_argument("token id " + std::to_string(id) + " is outside the vocabulary of " +
                                std::to_string(vocab_size_));
  }
}

void Sampler::require_sane(std::span<const float> logits) const {
  if (logits.size() != static_cast<size_t>(vocab_size_)) {
    throw std::invalid_argument("got " + std::to_string(logits.size()) + " logits for a vocabulary of " +
                                std::to_string(vocab_size_));
  }
  const size_t bad = first_bad_logit(logits);
  if (bad < logits.size()) {
    throw BadLogits("the logit of token " + std::to_string(bad) + " at position " +
                    std::to_string(history_.tokens.size()) + " is " + std::to_string(logits[bad]) +
                    "; the model file may be damaged");
  }
}

RandomSite Sampler::site() const {
  const size_t position = history_.tokens.size();
  const auto here = [=](const PositionBan& ban) { return ban.position == position; };
  const auto bans = std::count_if(position_bans_.begin(), position_bans_.end(), here);
  return {params_.seed, position, static_cast<uint32_t>(bans)};
}

void Sampler::mask() {
  if (!params_.allowed_token_ids.empty()) candidates_.allow_only(params_.allowed_token_ids);
  for (const int32_t id : params_.banned_tokens) candidates_.ban(id);
  const bool too_short = history_.n_generated() < static_cast<size_t>(params_.min_tokens);
  if (too_short || params_.ignore_eos) {
    for (const int32_t id : params_.end_ids) candidates_.ban(id);
  }
  if (too_short) {
    for (const int32_t id : params_.stop_token_ids) candidates_.ban(id);
  }
  for (const PositionBan& ban : position_bans_) {
    if (ban.position == history_.tokens.size()) candidates_.ban(ban.id);
  }
  for (const auto& [id, bias] : params_.logit_bias) candidates_.add_bias(id, bias);
}

Weights Sampler::run_chain(std::span<const float> logits) {
  require_sane(logits);
  candidates_.start(logits);
  mask();
  const Moment moment{params_, history_, site()};
  for (const ApplyStep apply : steps_) apply(candidates_, moment);
  return candidates_.softmax();
}

void Sampler::report(std::span<const float> logits, Draw& draw) {
  const double normaliser = log_sum_exp(logits);
  draw.logprob = static_cast<float>(logits[static_cast<size_t>(draw.token)] - normaliser);
  if (*params_.logprobs == 0) return;
  select_best(logits, static_cast<size_t>(*params_.logprobs), reported_);
  for (const Candidate& c : reported_) {
    draw.top.push_back({c.id, static_cast<float>(c.logit - normaliser)});
  }
}

}  // namespace tropilla
