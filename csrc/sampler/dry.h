// DRY, "don't repeat yourself": penalises the token that would continue a repetition, exponentially
// in the length of what is already repeated.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_set>
#include <vector>

#include "sampler/candidates.h"
#include "sampler/history.h"
#include "sampler/sampler_params.h"

namespace tropilla {

class Dry {
 public:
  explicit Dry(const SamplerParams& params);

  // Let n be the length of the longest suffix of the last dry_range tokens, not reaching back over a
  // breaker, that also occurs earlier there followed by token t. If n >= dry_allowed_length, t loses
  // dry_multiplier * dry_base^(n - dry_allowed_length). Breakers of one token are never penalised.
  // Cost: linear in the window.
  void apply(Candidates& candidates, const History& history);

 private:
  size_t tokens_since_breaker(std::span<const int32_t> window) const;
  bool breaker_ends(std::span<const int32_t> tokens) const;
  void match_suffixes(std::span<const int32_t> window);
  double penalty(int64_t repeated) const;

  double multiplier_, base_;
  int64_t allowed_length_, range_;
  std::unordered_set<int32_t> single_breakers_;
  std::vector<std::vector<int32_t>> longer_breakers_;
  std::vector<size_t> matches_;  // (window) see match_suffixes
};

}  // namespace tropilla
