#include "sampler/logprobs.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tropilla {

size_t first_bad_logit(std::span<const float> logits) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const auto bad = [](float x) { return !(x < kInfinity); };
  bool any = false;  // without an early exit, so that the compiler can compare many at once
  for (const float x : logits) any |= bad(x);
  if (!any) return logits.size();
  return static_cast<size_t>(std::find_if(logits.begin(), logits.end(), bad) - logits.begin());
}

double log_sum_exp(std::span<const float> logits) {
  const float max = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float x : logits) sum += std::exp(x - max);
  return max + std::log(sum);
}

}  // namespace tropilla
