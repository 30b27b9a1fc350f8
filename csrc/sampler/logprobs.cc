#include "sampler/logprobs.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace tropilla {
namespace {

// The lanes keep maxima of their own, which a compiler can compare at once; a single running maximum
// it may not split.
float largest(std::span<const float> x) {
  constexpr size_t kLanes = 16;
  std::array<float, kLanes> lanes;
  lanes.fill(-std::numeric_limits<float>::infinity());
  size_t i = 0;
  for (; i + kLanes <= x.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      lanes[lane] = x[i + lane] > lanes[lane] ? x[i + lane] : lanes[lane];
    }
  }
  for (; i < x.size(); ++i) lanes[0] = std::max(lanes[0], x[i]);
  return *std::max_element(lanes.begin(), lanes.end());
}

}  // namespace

size_t first_bad_logit(std::span<const float> logits) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const auto bad = [](float x) { return !(x < kInfinity); };
  uint32_t any = 0;  // as wide as a float and without an early exit: the compiler compares many at once
  for (const float x : logits) any |= bad(x);
  if (any == 0) return logits.size();
  return static_cast<size_t>(std::find_if(logits.begin(), logits.end(), bad) - logits.begin());
}

double log_sum_exp(std::span<const float> logits) {
  const float max = largest(logits);
  double sum = 0;
  for (const float x : logits) sum += std::exp(x - max);
  return max + std::log(sum);
}

}  // namespace tropilla
