#include "sampler/sampler.h"

#include <cmath>
#include <string>

#include "sampler/chain.h"
#include "sampler/draw.h"
#include "sampler/logprobs.h"
#include "sampler/mirostat.h"

namespace tropilla {

Sampler::Sampler(const SamplerParams& params, int32_t vocab_size, std::span<const int32_t> prompt)
    : params_(params),
      vocab_size_(vocab_size),
      history_{{prompt.begin(), prompt.end()}, prompt.size()},
      steps_(active_steps(params)),
      dry_(params),
      candidates_(vocab_size) {
  if (params.mirostat != 0 || params.adaptive_target >= 0) {
    feedback_.push_back({2 * params.mirostat_tau, initial_chosen_mean(params)});
  }
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
  if (!feedback_.empty()) pending_ = {draw.token, feedback_probability(chosen, weights)};
  if (params_.logprobs && params_.post_sampling_probs) {
    report_final(weights, chosen, draw);
  } else if (params_.logprobs) {
    report_raw(logits, draw);
  }
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
  if (feedback_.empty()) return;
  const bool drawn = pending_ && pending_->token == token;
  feedback_.push_back(drawn ? next_feedback(pending_->probability) : feedback_.back());
  pending_.reset();
}

void Sampler::rewind(int64_t n_tokens) {
  if (n_tokens < 0 || static_cast<size_t>(n_tokens) > history_.n_generated()) {
    throw std::invalid_argument("cannot rewind " + std::to_string(n_tokens) + " tokens of " +
                                std::to_string(history_.n_generated()) + " accepted");
  }
  history_.tokens.resize(history_.tokens.size() - static_cast<size_t>(n_tokens));
  if (!feedback_.empty()) feedback_.resize(history_.n_generated() + 1);
  pending_.reset();
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
  const Moment moment{params_, history_, site(), dry_};
  for (const ApplyStep apply : steps_) apply(candidates_, moment);
  if (params_.mirostat != 0) {
    cut_by_mirostat(candidates_, params_, feedback_.back().mu, vocab_size_);
  } else if (params_.adaptive_target >= 0) {
    aim();
  }
  if (params_.skew == 0) return candidates_.softmax();
  candidates_.sort();
  Weights weights = candidates_.softmax();
  skew_weights(weights, params_.skew);
  return weights;
}

void Sampler::aim() {
  const Weights softmax = candidates_.softmax();
  before_aim_.clear();
  for (const Candidate& c : candidates_.list()) {
    before_aim_.push_back({c.id, softmax.weights[before_aim_.size()] / softmax.total});
  }
  aim_at_target(candidates_, params_, feedback_.back().chosen);
}

double Sampler::feedback_probability(size_t chosen, const Weights& weights) const {
  if (params_.mirostat != 0) return weights.weights[chosen] / weights.total;
  const int32_t token = candidates_.id(chosen);
  const auto same = [=](const TokenProbability& p) { return p.token == token; };
  return std::find_if(before_aim_.begin(), before_aim_.end(), same)->probability;
}

Sampler::Feedback Sampler::next_feedback(double probability) const {
  const Feedback& now = feedback_.back();
  return {next_mirostat_mu(params_, now.mu, probability),
          next_chosen_mean(params_, now.chosen, probability)};
}

void Sampler::report_raw(std::span<const float> logits, Draw& draw) {
  const double normaliser = log_sum_exp(logits);
  draw.logprob = static_cast<float>(logits[static_cast<size_t>(draw.token)] - normaliser);
  if (*params_.logprobs == 0) return;
  select_best(logits, static_cast<size_t>(*params_.logprobs), reported_);
  for (const Candidate& c : reported_) {
    draw.top.push_back({c.id, static_cast<float>(c.logit - normaliser)});
  }
}

void Sampler::report_final(const Weights& weights, size_t chosen, Draw& draw) {
  const auto logprob = [&](size_t i) {
    return static_cast<float>(std::log(weights.weights[i] / weights.total));
  };
  draw.logprob = logprob(chosen);
  reported_.clear();
  for (size_t i = 0; i < candidates_.size(); ++i) reported_.push_back({candidates_.id(i), logprob(i)});
  const size_t n = std::min(reported_.size(), static_cast<size_t>(*params_.logprobs));
  const auto end = reported_.begin() + static_cast<std::ptrdiff_t>(n);
  std::partial_sort(reported_.begin(), end, reported_.end(), better);
  for (auto c = reported_.begin(); c != end; ++c) draw.top.push_back({c->id, c->logit});
}

}  // namespace tropilla
