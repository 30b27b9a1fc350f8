#include "sampler/adaptive.h"

#include <algorithm>
#include <cmath>

namespace tropilla {
namespace {

constexpr double kWidth = 0.3;  // distance from the aim at which preference falls steeply
constexpr double kPeak = 5, kSharpness = 10;

}  // namespace

ChosenMean initial_chosen_mean(const SamplerParams& params) {
  const double weight = 1 / (1 - params.adaptive_decay);
  return {params.adaptive_target * weight, weight};
}

void aim_at_target(Candidates& candidates, const SamplerParams& params, const ChosenMean& mean) {
  const double aim = std::clamp(2 * params.adaptive_target - mean.sum / mean.weight, 0.0, 1.0);
  const Weights softmax = candidates.softmax();
  candidates.transform([&](size_t i, float) {
    const double d = std::abs(softmax.weights[i] / softmax.total - aim) / kWidth;
    return kPeak - kSharpness * d * d / (1 + d);
  });
}

ChosenMean next_chosen_mean(const SamplerParams& params, const ChosenMean& mean, double probability) {
  return {probability + params.adaptive_decay * mean.sum, 1 + params.adaptive_decay * mean.weight};
}

}  // namespace tropilla
