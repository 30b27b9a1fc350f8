#include "sampler/mirostat.h"

#include <algorithm>
#include <cmath>

namespace tropilla {
namespace {

// Least squares through the origin: a step of b in log-probability against one of a in log-rank.
double zipf_exponent(std::span<const Candidate> best_first) {
  double products = 0, squares = 0;
  for (size_t i = 0; i + 1 < best_first.size(); ++i) {
    const double a = std::log(static_cast<double>(i + 2) / static_cast<double>(i + 1));
    const double b = static_cast<double>(best_first[i].logit) - best_first[i + 1].logit;
    products += a * b;
    squares += a * a;
  }
  return products / squares;
}

// The limits of the formula where it has none of its own: excess / (1 - V^-excess) tends to 1 / ln V
// as excess tends to 0, and a flat distribution (s = 0) has no reason to cut.
double expected_k(double s, double mu, int32_t vocab_size) {
  const double log_v = std::log(static_cast<double>(vocab_size));
  const double excess = s - 1;
  const double ratio = excess == 0 ? 1 / log_v : excess / -std::expm1(-excess * log_v);
  const double k = std::pow(ratio * std::exp2(mu), 1 / s);
  return s > 0 && !std::isnan(k) ? k : vocab_size;
}

void cut_to_zipf(Candidates& candidates, const SamplerParams& params, double mu, int32_t vocab_size) {
  if (candidates.size() < 2) return;
  const size_t m = std::min(static_cast<size_t>(params.mirostat_m), candidates.size());
  candidates.sort_prefix(m);
  const double s = zipf_exponent(candidates.list().first(m));
  const double k = std::clamp(expected_k(s, mu, vocab_size), 1.0, static_cast<double>(vocab_size));
  candidates.keep_best(static_cast<size_t>(k));
}

void cut_surprising(Candidates& candidates, double mu) {
  const Weights softmax = candidates.softmax();
  const double least = softmax.total * std::exp2(-mu);
  candidates.keep_if([&](size_t i) { return softmax.weights[i] >= least; });
}

}  // namespace

void cut_by_mirostat(Candidates& candidates, const SamplerParams& params, double mu, int32_t vocab_size) {
  if (params.mirostat == 1) {
    cut_to_zipf(candidates, params, mu, vocab_size);
  } else {
    cut_surprising(candidates, mu);
  }
}

double next_mirostat_mu(const SamplerParams& params, double mu, double probability) {
  return mu - params.mirostat_eta * (-std::log2(probability) - params.mirostat_tau);
}

}  // namespace tropilla
