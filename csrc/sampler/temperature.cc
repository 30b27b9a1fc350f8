#include "sampler/temperature.h"

#include <cmath>

namespace tropilla {
namespace {

void divide_by(Candidates& candidates, double temperature) {
  if (temperature <= 0) {
    candidates.keep_best(1);
  } else if (temperature != 1) {
    candidates.transform([=](size_t, float x) { return x / temperature; });
  }
}

double dynamic_temperature(Candidates& candidates, const SamplerParams& params) {
  const double low = std::max(0.0, params.temperature - params.dynamic_temperature_range);
  const double high = params.temperature + params.dynamic_temperature_range;
  const double flatness = entropy(candidates.softmax()) / std::log(static_cast<double>(candidates.size()));
  return low + (high - low) * std::pow(flatness, params.dynamic_temperature_exponent);
}

}  // namespace

void apply_temperature(Candidates& candidates, const Moment& moment) {
  if (moment.params.dynamic_temperature_range == 0) {
    divide_by(candidates, moment.params.temperature);
  } else if (candidates.size() > 1) {
    divide_by(candidates, dynamic_temperature(candidates, moment.params));
  }
}

void apply_smoothing(Candidates& candidates, const Moment& moment) {
  const double square = moment.params.smoothing_factor * (3 - moment.params.smoothing_curve) / 2;
  const double cube = moment.params.smoothing_factor * (moment.params.smoothing_curve - 1) / 2;
  const double max = candidates.max_logit();
  candidates.transform([=](size_t, float x) {
    const double d = x - max;
    return max - square * d * d + cube * d * d * d;
  });
}

}  // namespace tropilla
