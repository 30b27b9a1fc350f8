#include "sampler/draw.h"

#include <cmath>

namespace tropilla {

// u^exp(-skew) falls below a cumulated probability C exactly when u falls below C^exp(skew).
void skew_weights(Weights& weights, double skew) {
  const double power = std::exp(skew);
  double cumulated = 0, before = 0;
  for (double& w : weights.weights) {
    cumulated += w;
    const double now = std::pow(cumulated / weights.total, power);
    w = now - before;
    before = now;
  }
  weights.total = before;
}

size_t draw_index(const Weights& weights, double u) {
  const double goal = u * weights.total;
  double cumulated = 0;
  size_t last_possible = 0;  // rounding may leave the last sum short of a goal near the total
  for (size_t i = 0; i < weights.weights.size(); ++i) {
    if (weights.weights[i] <= 0) continue;
    cumulated += weights.weights[i];
    last_possible = i;
    if (cumulated > goal) break;
  }
  return last_possible;
}

}  // namespace tropilla
