#include "sampler/chain.h"

#include <stdexcept>
#include <string>

#include "sampler/filters.h"
#include "sampler/penalties.h"
#include "sampler/temperature.h"

namespace tropilla {
namespace {

using P = SamplerParams;

struct NamedStep {
  std::string_view name;
  bool keeps_best;  // whatever else it drops
  bool (*is_active)(const P&);
  ApplyStep apply;
};

// In the order of rule SA-1. A step at its neutral value never runs, so it changes not a bit.
constexpr NamedStep kSteps[] = {
    {"repetition", false,
     [](const P& p) {
       return p.repetition_penalty != 1 && (p.repetition_window != 0 || p.repetition_decay > 0);
     },
     apply_repetition},
    {"frequency_presence", false,
     [](const P& p) { return p.frequency_penalty != 0 || p.presence_penalty != 0; },
     apply_frequency_presence},
    {"encoder_repetition", false, [](const P& p) { return p.encoder_repetition_penalty != 1; },
     apply_encoder_repetition},
    {"no_repeat_ngram", false, [](const P& p) { return p.no_repeat_ngram > 0; }, apply_no_repeat_ngram},
    {"dry", false, [](const P& p) { return p.dry_multiplier != 0; },
     [](Candidates& c, const Moment& m) { m.dry.apply(c, m.history); }},
    {"top_n_sigma", true, [](const P& p) { return p.top_n_sigma >= 0; }, apply_top_n_sigma},
    {"top_k", true, [](const P& p) { return p.top_k > 0; }, apply_top_k},
    {"typical", false, [](const P& p) { return p.typical_p < 1; }, apply_typical},
    {"top_p", true, [](const P& p) { return p.top_p < 1; }, apply_top_p},
    {"min_p", true, [](const P& p) { return p.min_p > 0; }, apply_min_p},
    {"top_a", true, [](const P& p) { return p.top_a > 0; }, apply_top_a},
    {"tail_free", true, [](const P& p) { return p.tail_free < 1; }, apply_tail_free},
    {"epsilon", true, [](const P& p) { return p.epsilon_cutoff > 0; }, apply_epsilon},
    {"eta", true, [](const P& p) { return p.eta_cutoff > 0; }, apply_eta},
    {"xtc", false, [](const P& p) { return p.xtc_probability > 0 && p.xtc_threshold <= 0.5; }, apply_xtc},
    {"temperature", true,
     [](const P& p) { return p.temperature != 1 || p.dynamic_temperature_range > 0; }, apply_temperature},
    {"smoothing", false, [](const P& p) { return p.smoothing_factor > 0; }, apply_smoothing},
};

bool is_greedy(const P& params) {
  return params.temperature <= 0 && params.dynamic_temperature_range == 0;
}

const NamedStep& step_named(std::string_view name) {
  for (const NamedStep& step : kSteps) {
    if (step.name == name) return step;
  }
  throw std::invalid_argument("unknown sampler '" + std::string(name) + "'");
}

std::vector<const NamedStep*> chain_of(const P& params) {
  std::vector<const NamedStep*> chain;
  if (params.samplers) {
    for (const std::string& name : *params.samplers) chain.push_back(&step_named(name));
  } else {
    for (const NamedStep& step : kSteps) chain.push_back(&step);
  }
  return chain;
}

}  // namespace

std::vector<std::string_view> sampler_names() {
  std::vector<std::string_view> names;
  for (const NamedStep& step : kSteps) names.push_back(step.name);
  return names;
}

std::vector<ApplyStep> active_steps(const P& params) {
  std::vector<const NamedStep*> active;
  for (const NamedStep* step : chain_of(params)) {
    const bool is_temperature = step->apply == apply_temperature;
    if (!step->is_active(params) || (params.mirostat != 0 && !is_temperature)) continue;
    if (is_temperature && is_greedy(params)) {
      // The best token is what stays: filters just before that keep it are work for nothing.
      while (!active.empty() && active.back()->keeps_best) active.pop_back();
    }
    active.push_back(step);
  }
  std::vector<ApplyStep> steps;
  for (const NamedStep* step : active) steps.push_back(step->apply);
  return steps;
}

}  // namespace tropilla
