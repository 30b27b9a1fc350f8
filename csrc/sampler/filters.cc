#include "sampler/filters.h"

#include <cmath>

namespace tropilla {
namespace {

void keep_probable(Candidates& candidates, const Weights& softmax, double threshold) {
  const double least = threshold * softmax.total;
  candidates.keep_if([&](size_t i) { return softmax.weights[i] >= least; });
}

double population_deviation(std::span<const Candidate> candidates) {
  const auto n = static_cast<double>(candidates.size());
  double sum = 0;
  for (const Candidate& c : candidates) sum += c.logit;
  const double mean = sum / n;
  double squares = 0;
  for (const Candidate& c : candidates) squares += (c.logit - mean) * (c.logit - mean);
  return std::sqrt(squares / n);
}

}  // namespace

void apply_top_n_sigma(Candidates& candidates, const Moment& moment) {
  const std::span<const Candidate> all = candidates.list();
  const double least = candidates.max_logit() - moment.params.top_n_sigma * population_deviation(all);
  candidates.keep_if([=](size_t i) { return all[i].logit >= least; });
}

void apply_top_k(Candidates& candidates, const Moment& moment) {
  candidates.keep_best(static_cast<size_t>(moment.params.top_k));
}

void apply_typical(Candidates& candidates, const Moment& moment) {
  const Weights softmax = candidates.softmax();
  const double expected = entropy(softmax);
  const double log_total = std::log(softmax.total);
  const std::span<const Candidate> all = candidates.list();
  const double max = candidates.max_logit();
  const double goal = moment.params.typical_p * softmax.total;
  candidates.keep_least(
      softmax, [=](size_t i) { return std::abs(log_total - (all[i].logit - max) - expected); },
      [=](double weight) { return weight > goal; });
}

void apply_top_p(Candidates& candidates, const Moment& moment) {
  const Weights softmax = candidates.softmax();
  const std::span<const Candidate> all = candidates.list();
  const double max = candidates.max_logit();
  const double goal = moment.params.top_p * softmax.total;
  candidates.keep_least(
      softmax, [=](size_t i) { return max - all[i].logit; }, [=](double weight) { return weight >= goal; });
}

void apply_min_p(Candidates& candidates, const Moment& moment) {
  const std::span<const Candidate> all = candidates.list();
  const double least = candidates.max_logit() + std::log(moment.params.min_p);
  candidates.keep_if([=](size_t i) { return all[i].logit >= least; });
}

void apply_top_a(Candidates& candidates, const Moment& moment) {
  const Weights softmax = candidates.softmax();
  const double largest = 1 / softmax.total;  // the best candidate's weight is exp(0)
  keep_probable(candidates, softmax, moment.params.top_a * largest * largest);
}

void apply_tail_free(Candidates& candidates, const Moment& moment) {
  candidates.sort();
  const std::span<const double> w = candidates.softmax().weights;
  if (w.size() < 2) return;
  const auto curvature = [&](size_t i) { return std::abs((w[i] - w[i + 1]) - (w[i + 1] - w[i + 2])); };
  double total = 0;
  for (size_t i = 0; i + 2 < w.size(); ++i) total += curvature(i);
  double cumulated = 0;
  size_t kept = 0;
  while (kept + 2 < w.size() && (cumulated += curvature(kept)) <= moment.params.tail_free * total) ++kept;
  candidates.cut(kept + 1);
}

void apply_epsilon(Candidates& candidates, const Moment& moment) {
  keep_probable(candidates, candidates.softmax(), moment.params.epsilon_cutoff);
}

void apply_eta(Candidates& candidates, const Moment& moment) {
  const Weights softmax = candidates.softmax();
  const double eta = moment.params.eta_cutoff;
  keep_probable(candidates, softmax, std::min(eta, std::sqrt(eta) * std::exp(-entropy(softmax))));
}

void apply_xtc(Candidates& candidates, const Moment& moment) {
  if (uniform(moment.site, Purpose::kXtc) >= moment.params.xtc_probability) return;
  const std::span<const Candidate> all = candidates.list();
  const Weights softmax = candidates.softmax();
  const double least = moment.params.xtc_threshold * softmax.total;
  const Candidate* last = nullptr;
  for (size_t i = 0; i < all.size(); ++i) {
    if (softmax.weights[i] >= least && (last == nullptr || better(*last, all[i]))) last = &all[i];
  }
  if (last == nullptr) return;
  const Candidate survivor = *last;
  candidates.keep_if([&](size_t i) { return softmax.weights[i] < least || all[i].id == survivor.id; });
}

}  // namespace tropilla
